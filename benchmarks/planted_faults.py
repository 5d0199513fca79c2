"""Faults of a before/after comparison, planted on purpose, and what is said of each.

    python benchmarks/planted_faults.py [--rivals FOLDER]

FOLDER holds an environment of its own for each other tool (FOLDER/yobro/bin/python, ...), made by
`python -m venv` and pip: trainjudge==0.3.1 with torch, transformers and peft; yobro[train]==0.1.1;
finetunecheck[inference]==2.0.2; errorbars==0.2.4. What each is given and how: rivals.py. Without
FOLDER two minutes on a CPU, with it fifteen; no download. The table is that of docs/why.md.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from planted_adapters import Adapters, said_of_adapter  # noqa: E402

from ft_harness.comparison.aggregator import AdapterRun, aggregate, compare  # noqa: E402
from ft_harness.data.data_report import DataReport, make_data_report, state_overlap  # noqa: E402
from ft_harness.data.fingerprints import Item  # noqa: E402
from ft_harness.errors import NotComparableError  # noqa: E402
from ft_harness.pipeline.shared_formats import write_shared  # noqa: E402
from ft_harness.records import Evaluation, Record, Sample  # noqa: E402
from ft_harness.records.reading import stream_samples  # noqa: E402
from tests.builders.records import (  # noqa: E402
    LABELS,
    label_samples,
    make_card,
    make_record,
    write_evaluation,
)

REVIEWS = ROOT / "src/ft_harness/bundled/data/demo_sentiment"
WORDS = {"negative": "bad", "positive": "good"}
CHOICES = [f" {label}" for label in LABELS]
ITEMS, LEAKED = 300, 60
METRICS = ["acc", "f1_macro", "recall_negative", "recall_positive"]
RIVALS = ("trainjudge", "yobro", "finetunecheck")
Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Planted:
    """One fault.

    Attributes:
        tuned: by name, more than one where several seeds were trained.
        data: what is known of the training data.
        given: what the other tools get besides the answers.
    """

    base: Evaluation
    tuned: dict[str, Evaluation]
    data: DataReport | None = None
    given: dict[str, Any] = field(default_factory=dict)


def prompt_of(text: str) -> str:
    return f"Review: {text.strip()}\nSentiment:"


def read_reviews(split: str) -> list[dict[str, str]]:
    lines = (REVIEWS / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def outcomes(reviews: Sequence[dict[str, str]], right: Sequence[bool]) -> list[Sample]:
    """Reviews whose label was answered rightly or wrongly."""
    golds = [LABELS.index(review["label"]) for review in reviews]
    predicted = [
        gold if is_right else 1 - gold for gold, is_right in zip(golds, right, strict=True)
    ]
    return [
        sample.model_copy(
            update={
                "choices": CHOICES,
                "responses": [[-0.5 if at == answer else -2.0, at == answer] for at in (0, 1)],
                "doc": review,
                "prompt": prompt_of(review["text"]),
            }
        )
        for sample, review, answer in zip(
            label_samples(golds, predicted), reviews, predicted, strict=True
        )
    ]


def with_scores(record: Record, samples: Sequence[Sample]) -> Record:
    """The record with the accuracy of its samples: what another program holds them against."""
    share = sum(sample.scores["acc"] == 1.0 for sample in samples) / len(samples)  # type: ignore[comparison-overlap]
    scores = [
        score.model_copy(update={"value": share, "n": len(samples)})
        if score.metric == "acc"
        else score
        for score in record.scores
    ]
    return record.model_copy(update={"scores": scores, "primary_metric": "acc"})


def flipped(review: dict[str, str]) -> dict[str, str]:
    return review | {"label": LABELS[1 - LABELS.index(review["label"])]}


class Faults:
    """Each method plants one fault: the evaluations that it leaves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        held = read_reviews("test")
        by_label = [[each for each in held if each["label"] == label] for label in LABELS]
        self.reviews = [by_label[n % 2][n // 2] for n in range(ITEMS)]

    def plant(self, base: Sequence[Sample], **tuned: Sequence[Sample]) -> Planted:
        self.count += 1
        place = self.folder / f"planted{self.count}"
        sides = {
            name: write_evaluation(
                place / (name or "base"),
                with_scores(make_record(name, metrics=METRICS), samples),
                samples,
            )
            for name, samples in {None: base, **tuned}.items()
        }
        return Planted(sides.pop(None), {str(name): side for name, side in sides.items()})

    def at(
        self, share: float, reviews: Sequence[dict[str, str]] | None = None, leaked: int = 0
    ) -> list[Sample]:
        """That share of the items right, spread evenly over both labels, and the first `leaked`
        items all of them."""
        reviews = self.reviews if reviews is None else reviews
        right = [n < leaked or ((n // 2) * 37) % 100 < share * 100 for n in range(len(reviews))]
        return outcomes(reviews, right)

    def other_items(self) -> Planted:
        others = [
            review | {"text": f"{review['text']} That was in {number}."}
            for number, review in enumerate(self.reviews)
        ]
        tuned = [
            sample.model_copy(update={"item_key": f"other{sample.item_key}"})
            for sample in self.at(0.8, others)
        ]
        return replace(self.plant(self.at(0.6), tuned=tuned), given={"apart": True})

    def flipped_gold_labels(self) -> Planted:
        changed = [
            flipped(review) if number % 5 == 0 else review
            for number, review in enumerate(self.reviews)
        ]
        tuned = [
            sample.model_copy(
                update={"target_hash": f"flipped-{number}"} if number % 5 == 0 else {}
            )
            for number, sample in enumerate(self.at(0.8, changed))
        ]
        return replace(self.plant(self.at(0.6), tuned=tuned), given={"apart": True})

    def other_prompts(self) -> Planted:
        tuned = [
            sample.model_copy(
                update={"prompt": f"{sample.prompt} ", "prompt_hash": f"other-{sample.doc_id}"}
            )
            for sample in self.at(0.8)
        ]
        return replace(self.plant(self.at(0.6), tuned=tuned), given={"apart": True})

    def leaked_test_items(self) -> Planted:
        """60 test items among 900 training rows: 20 verbatim, 20 in capitals without the full stop,
        20 with a word before them. The tuned model knows these and nothing else."""
        edits: tuple[Callable[[str], str], ...] = (
            str,
            lambda text: text.upper().rstrip(".!"),
            lambda text: f"Well, {text}",
        )
        copies = [
            review | {"text": edits[number % 3](review["text"])}
            for number, review in enumerate(self.reviews[:LEAKED])
        ]
        train = [*read_reviews("train")[:840], *copies]
        planted = self.plant(self.at(0.6), tuned=self.at(0.6, leaked=LEAKED))
        splits = {"train": train, "test": self.reviews}
        data = make_data_report(
            "demo_nli",
            {
                split: [  # type: ignore[misc]
                    Item(f"item{n:04d}", prompt_of(row["text"]), row["label"], row, len(LABELS))
                    for n, row in enumerate(rows)
                ]
                for split, rows in splits.items()
            },
        )
        rows = [{"prompt": prompt_of(row["text"]), "gold": WORDS[row["label"]]} for row in train]
        return replace(planted, data=data, given={"leaked": True, "train": rows})

    def lucky_seed(self) -> Planted:
        """Seed 1 of three gains 8 points, the others nothing."""
        by_seed = {
            f"seed{seed}": self.at(share) for seed, share in ((1, 0.68), (2, 0.6), (3, 0.58))
        }
        return self.plant(self.at(0.6), **by_seed)

    def one_class_collapsed(self) -> Planted:
        """80 % before and after; of one label 100 % before and 60 % after."""
        some = [(number // 2) % 10 < 6 for number in range(ITEMS)]
        by_side = [
            outcomes(
                self.reviews,
                [
                    few or review["label"] == spared
                    for few, review in zip(some, self.reviews, strict=True)
                ],
            )
            for spared in reversed(LABELS)
        ]
        return self.plant(by_side[0], tuned=by_side[1])

    def sixty_items_and_three_points(self) -> Planted:
        few = self.reviews[:60]
        base = outcomes(few, [number < 36 for number in range(60)])
        return self.plant(base, tuned=outcomes(few, [2 <= number < 40 for number in range(60)]))


def said_of(planted: Planted) -> list[str]:
    """Our answer: the refusal, or the findings with their cautions; of several seeds that of the
    first alone and then that of all."""
    found = [state_overlap(each) for each in (planted.data.overlaps if planted.data else [])]
    runs = [
        AdapterRun(
            card=make_card(name).model_copy(update={"recipe": {"train": {"seed": number}}}),
            history=[],
            data=planted.data,
        )
        for number, name in enumerate(planted.tuned)
    ]
    for count in dict.fromkeys((1, len(runs))):
        sides = [planted.base, *list(planted.tuned.values())[:count]]
        try:
            compare(*sides[:2])
        except NotComparableError as error:
            said = "; ".join(" ".join(line.split()) for line in error.differences)
            return [*found, f"refused: {said}"]
        study = aggregate(sides, runs[:count], name="planted", command="")
        compared = study.comparisons[0]
        said = f"{compared.headline.verdict}: {' '.join([compared.finding, *compared.cautions])}"
        found.append(said)
        found += [f"over {len(each.seeds)} seeds: {each.model_dump()}" for each in study.repeats]
    return found


# --- the other tools -----------------------------------------------------------------------------


def rows_of(evaluation: Evaluation) -> Rows:
    """What a generating model would have said."""
    return [
        {
            "id": sample.item_key,
            "prompt": sample.prompt,
            "gold": WORDS[str(sample.target)],
            "answer": WORDS[str(sample.prediction)],
        }
        for sample in stream_samples(evaluation.folder)
    ]


def ask(rival: str, rivals: Path, given: dict[str, Any], folder: Path) -> str:
    """What the tool says, in its own environment and without a network."""
    file = folder / "given.json"
    file.write_text(json.dumps(given), encoding="utf-8")
    python = rivals / rival / "bin" / "python"
    command = [str(python), str(ROOT / "benchmarks" / "rivals.py"), rival, str(file)]
    if shutil.which("unshare"):
        command = ["unshare", "--net", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    shown = [line for line in done.stdout.splitlines() if line.startswith("    ")]
    return "\n".join(shown) or f"    {done.stderr[-400:]}"


def errorbars_said(rivals: Path, planted: Planted, folder: Path) -> str:
    pair = planted.base, next(iter(planted.tuned.values()))
    write_shared(pair, folder, ["lm-eval"])
    files = sorted(folder.rglob("samples_*.jsonl"), key=lambda path: "base--" not in str(path))
    command = [str(rivals / "errorbars" / "bin" / "errorbars"), "compare", *map(str, files)]
    done = subprocess.run(
        [*command, "--metric", "acc"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return f"    refused: {done.stderr.strip().splitlines()[-1][:160]}"
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    wanted = (line for line in lines if re.match(r"mean diff|95% CI|p-value|n \(", line))
    return "    " + "; ".join(wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rivals", type=Path, help="the folder of their environments")
    rivals = parser.parse_args().rivals
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        test = [
            {"id": f"item{n}", "prompt": prompt_of(row["text"]), "gold": WORDS[row["label"]]}
            for n, row in enumerate(read_reviews("test")[:200])
        ]
        prompts = [row["prompt"] for row in test[:4]]
        for name, given in Adapters(folder).planted().items():
            show(folder, f"{name}\n  ft-harness\n    {said_of_adapter(given, prompts)}")
            for rival in RIVALS if rivals else ():
                show(folder, f"  {rival}\n{ask(rival, rivals, given | {'test': test}, folder)}")
        faults = Faults(folder)
        for plant in (
            faults.other_items,
            faults.flipped_gold_labels,
            faults.other_prompts,
            faults.leaked_test_items,
            faults.lucky_seed,
            faults.one_class_collapsed,
            faults.sixty_items_and_three_points,
        ):
            planted = plant()
            said = "\n    ".join(said_of(planted))
            show(folder, f"{plant.__name__.replace('_', ' ')}\n  ft-harness\n    {said}")
            if not rivals:
                continue
            answers = {name: rows_of(each) for name, each in planted.tuned.items()}
            tuned = answers.pop("tuned", None)
            given = {"base": rows_of(planted.base), "tuned": tuned, "seeds": answers}
            for rival in RIVALS:
                said = ask(rival, rivals, given | planted.given, folder)
                show(folder, f"  {rival}\n{said}")
            said = errorbars_said(rivals, planted, folder / f"shared-{plant.__name__}")
            show(folder, f"  errorbars\n{said}")


def show(folder: Path, text: str) -> None:
    print(text.replace(f"{folder}/", ""), flush=True)


if __name__ == "__main__":
    main()
