"""The data report of a run: sizes, labels, lengths, and items that occur in several splits or
twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from tqdm import tqdm

from ft_harness.data.answer_pairs import is_pair
from ft_harness.data.duplicates import Index, SplitOverlap, compare
from ft_harness.data.files import Split
from ft_harness.data.fingerprints import Item, Items, find_fields, find_shingler
from ft_harness.errors import Notice
from ft_harness.records import Frozen, read_kept
from ft_harness.storage import canonical_json, sha256_text
from ft_harness.storage.escaping import visible

DATA_REPORT_FILE = "data_report.json"
_BINS = 10
_LABEL_LIMIT = 40
_SAMPLE = 100  # docs that are asked for their text fields


class Lengths(Frozen):
    """In the data report: lengths of a split's prompts in characters; quantiles are lengths that
    occur."""

    shortest: int
    p5: int
    median: int
    p95: int
    longest: int
    edges: list[float] = Field(description="of the 10 bins of equal width")
    counts: list[int] = Field(description="prompts in each bin")


class SplitData(Frozen):
    """In the data report: one split."""

    split: Split
    n: int
    data_hash: str = Field(
        description="hash of the docs in order, as evaluations of the whole split have it"
    )
    labels: dict[str, int] | None = Field(
        description="docs of each label, most frequent first; null: no fixed labels"
    )
    majority_share: float | None = Field(
        description="score of always answering the most frequent label"
    )
    random_share: float | None = Field(
        description="score of answering at random; null: answers in free text"
    )
    n_repeated: int = Field(description="docs whose prompt an earlier doc of the split has")
    lengths: Lengths | None = Field(description="null: no docs")


class LostRows(Frozen):
    """In the data report: rows of one file or hub split that did not become docs."""

    where: str = Field(description="name of the file, or the hub's data set and split")
    rows: int = Field(description="rows read")
    dropped: int = Field(description="rows left out for their label")
    bad: int = Field(description="rows left out for a null or empty field, or equal answers")


class DataReport(Frozen):
    """`data_report.json` in an adapter's folder: the data that the adapter was trained on and is
    scored on."""

    schema_version: Literal[1] = 1
    fingerprint: str | None = Field(default=None, description="the card's; null: not known")
    task: str
    splits: list[SplitData] = Field(description="train, validation, test, as far as they are used")
    overlaps: list[SplitOverlap] = Field(description="each split against those before it")
    lost: list[LostRows] = Field(description="files of which rows were left out")

    def overlap(self, split: str) -> SplitOverlap | None:
        """The overlap of a split with the training split; None for the training split itself."""
        found = (each for each in self.overlaps if (each.split, each.against) == (split, "train"))
        return next(found, None)

    def split_data(self, split: str) -> SplitData | None:
        return next((each for each in self.splits if each.split == split), None)


@dataclass
class _Tally:
    """Counts of a split, taken while its docs are read for comparison."""

    keys: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    choices: list[int | None] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    pairs: int = 0  # docs of a chosen and a rejected answer

    def watch(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            self.keys.append(item.key)
            self.lengths.append(len(item.prompt))
            self.choices.append(item.choices)
            self.answers[item.answer] += 1
            self.pairs += is_pair(item.doc)
            yield item

    def labels(self) -> dict[str, int] | None:
        """Docs of each label; None for answers in free text and for choices that differ from doc to
        doc."""
        most = max((count for count in self.choices if count is not None), default=0)
        # Chosen answers may be few and the same, but they are no labels: none is right everywhere.
        fixed = not self.pairs and None not in self.choices and 0 < len(self.answers) <= most
        if not fixed:
            return None
        return dict(sorted(self.answers.items(), key=lambda pair: (-pair[1], pair[0])))

    def split_data(self, split: Split, n_repeated: int) -> SplitData:
        n, labels = len(self.keys), self.labels()
        counts = [count for count in self.choices if count]
        return SplitData(
            split=split,
            n=n,
            data_hash=sha256_text(canonical_json(self.keys))[:16],
            labels=labels,
            majority_share=max(labels.values()) / n if labels else None,
            random_share=sum(1 / count for count in counts) / n if n and len(counts) == n else None,
            n_repeated=n_repeated,
            lengths=measure_lengths(self.lengths) if n else None,
        )


def measure_lengths(lengths: Sequence[int]) -> Lengths:
    """For the data report: quantiles (the smallest length that at least this share of the prompts
    does not exceed) and a histogram."""
    p5, median, p95 = (
        int(value) for value in np.quantile(lengths, [0.05, 0.5, 0.95], method="inverted_cdf")
    )
    counts, edges = np.histogram(lengths, bins=_BINS)
    return Lengths(
        shortest=min(lengths),
        p5=p5,
        median=median,
        p95=p95,
        longest=max(lengths),
        edges=edges.tolist(),
        counts=counts.tolist(),
    )


def make_data_report(
    task: str, splits: Mapping[Split, Items], lost: Sequence[LostRows] = ()
) -> DataReport:
    """The report on these splits; each is compared with those before it."""
    shingler = find_shingler(splits.values())
    indexed: dict[Split, Index] = {}
    found: list[SplitData] = []
    overlaps: list[SplitOverlap] = []
    for split, items in splits.items():
        tally = _Tally()
        prints = shingler.read(
            tally.watch(tqdm(items, desc=f"Reading {split} prompts", total=len(items)))
        )
        found.append(tally.split_data(split, prints.n_repeated))
        overlaps += [compare(split, prints, against, index) for against, index in indexed.items()]
        # Nothing is looked up in the last one.
        if len(found) < len(splits):
            indexed[split] = Index(prints)
    return DataReport(
        task=task,
        splits=found,
        overlaps=overlaps,
        lost=[each for each in lost if each.dropped or each.bad],
    )


def read_data_report(folder: Path) -> DataReport | None:
    """The data report in an adapter's folder; None if it has none (an adapter of another trainer).

    Raises:
        InputError: it is damaged.
    """
    action = "delete it and run the same command again"
    return read_kept(folder / DATA_REPORT_FILE, DataReport, "a data report", action)


def describe_data(report: DataReport) -> list[str]:
    """The data report as lines, for `check`, without what `data_notices` warns about."""
    warned = {notice.what for notice in data_notices(report)}
    found = [line for line in describe_findings(report) if line not in warned]
    return [*map(_describe_split, report.splits), *found]


def data_notices(report: DataReport) -> list[Notice]:
    """What is doubtful by the data report: items in several splits, rows that were left out."""
    overlaps = [
        Notice(
            state_overlap(overlap),
            "leave them out of one of the two; the report gives scores with and without them"
            if overlap.against == "train"
            else "leave them out of one of the two",
        )
        for overlap in report.overlaps
        if overlap.n_affected
    ]
    lost = [
        Notice(_state_lost(lost), "fix these rows, or have them refused: data.skip_bad_rows=false")
        for lost in report.lost
        if lost.bad
    ]
    return [*overlaps, *lost]


def _state_lost(lost: LostRows) -> str:
    return (
        f"{lost.where}: of {lost.rows} rows {lost.dropped} were left out for their label, "
        f"{lost.bad} for bad fields"
    )


def describe_findings(report: DataReport) -> list[str]:
    """The data report's findings as lines: overlap with the training split (stated even if zero),
    repeated docs, rows left out."""
    shown = [
        overlap for overlap in report.overlaps if overlap.against == "train" or overlap.n_affected
    ]
    repeated = [data for data in report.splits if data.n_repeated]
    return [
        *(state_overlap(overlap) for overlap in shown),
        *(
            f"{data.n_repeated} of {data.n} {data.split} docs repeat an earlier {data.split} doc"
            for data in repeated
        ),
        *map(_state_lost, report.lost),
    ]


def state_overlap(overlap: SplitOverlap) -> str:
    """One line of the data report: how many docs of a split occur in another."""
    if not overlap.n_affected:
        return f"no {overlap.split} item occurs in {overlap.against}, exactly or nearly"
    against = "training" if overlap.against == "train" else overlap.against
    return (
        f"{overlap.n_affected} of {overlap.n} {overlap.split} docs also occur among the {against} "
        f"docs: {overlap.n_exact} exact ({overlap.n_same_answer} with the same answer), "
        f"{overlap.n_near} near"
    )


def _describe_split(data: SplitData) -> str:
    parts = [f"{data.split}: {data.n} docs"]
    if data.labels:
        counts = ", ".join(
            f"{visible(label, _LABEL_LIMIT)} {count}"
            for label, count in list(data.labels.items())[:_BINS]
        )
        more = f", ... {len(data.labels) - _BINS} more" if len(data.labels) > _BINS else ""
        parts.append(f"answers {counts}{more}")
    shares = {"majority": data.majority_share, "random": data.random_share}
    parts += [f"{name} {100 * share:.1f} %" for name, share in shares.items() if share is not None]
    if data.lengths:
        sizes = data.lengths
        parts.append(
            f"prompts of {sizes.p5} / {sizes.median} / {sizes.p95} characters (5 % / median / 95 %)"
        )
        parts.append(f"longest {sizes.longest}")
    return ", ".join(parts)


def describe_baseline(train: Items, test: Items) -> str:
    """In a line of the data report: how well the prompt's last text field alone predicts the
    answer."""
    if not len(train) or not len(test) or any(item.choices is None for item in (train[0], test[0])):
        return "no baseline of the last text field: answers in free text, or a split without docs"
    names = find_fields(train[number] for number in range(min(_SAMPLE, len(train))))
    if len(names) < 2:
        return "no baseline of the last text field: the prompts show fewer than two"
    share = last_field_accuracy(train, test, names[-1])
    field = f"a bag of words of the field {names[-1]} alone"
    return f"{field}, trained on train: {100 * share:.1f} % right"


def last_field_accuracy(train: Items, test: Items, name: str) -> float:
    """For the data report: how well one field alone predicts the answer: share of test docs that
    multinomial naive Bayes on its words gets right.

    Source: scikit-learn's `CountVectorizer` and `MultinomialNB` (add-one smoothing), with default
        settings.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    words = CountVectorizer(token_pattern=r"\w+")
    model = MultinomialNB().fit(
        words.fit_transform(str(item.doc[name]) for item in train), [item.answer for item in train]
    )
    guesses = model.predict(words.transform(str(item.doc[name]) for item in test))
    return float(np.mean([guess == item.answer for guess, item in zip(guesses, test, strict=True)]))
