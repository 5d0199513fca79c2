"""The samples that lm-eval wrote, one line per doc and filter, as ours: repaired once, here.

Numbers are written as texts, NaN is bare, requests are objects with numbered keys. Anything else
than a number becomes null. There may be a million lines, so a sample is a plain mapping of its
fields here, each of the type that `Sample` wants.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ft_harness.records.lm_eval.files import parse_json
from ft_harness.records.schema import item_hash
from ft_harness.storage import sha256_text

LONGEST_LINE = 10_000_000  # bytes
_TICK = 1 << 20  # bytes
Fields = dict[str, Any]  # of a `Sample`, in their order
Scores = dict[str, float | list[float] | None]
_GREEDY = {"True": True, "False": False}
_NOT_FINITE = "a log-likelihood is not a finite number"


@dataclass
class Lines:
    """The lines of lm-eval's samples file that have one filter; iterating reads the file from the
    start.

    Attributes:
        output_type: lm-eval's; None: each line shows it.
        gold_field: doc field that `doc_to_target` names; None: it is a template, a function, or
            not known.
        tick: is given the bytes that were read, a mebibyte or more at a time.
        filters: the filters met so far, in their order.
        odd_metrics: metric -> why it can't be compared, met so far.
        several_right: items with more than one right answer, met so far.
        unscored: items whose metric failed, met so far.
        digest: of all lines, after they were read.
    """

    path: Path
    wanted: str | None
    output_type: str | None
    tick: Callable[[int], object]
    gold_field: str | None = None
    filters: dict[str, None] = field(default_factory=dict)
    odd_metrics: dict[str, str] = field(default_factory=dict)
    several_right: int = 0
    unscored: int = 0
    digest: str = ""

    def __iter__(self) -> Iterator[Fields]:
        """The fields of the samples, in the order of the file.

        Raises:
            ValueError: a line that is no sample, with its number.
        """
        occurrences = _Occurrences()
        hashed = hashlib.sha256()
        number = ticked = read = 0
        with self.path.open("rb") as file:
            for line in iter(lambda: file.readline(LONGEST_LINE + 1), b""):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise ValueError(f"line {number} has more than {LONGEST_LINE:,} bytes")
                hashed.update(line)
                read += len(line)
                if read - ticked >= _TICK:
                    self.tick(read - ticked)
                    ticked = read
                if not line.strip():
                    continue
                try:
                    item = parse_json(line)
                    if rb"\u" in line and rb"\ud" in line.lower():
                        _check_unicode(item)
                    sample = self._read(item, occurrences)
                except (ValueError, RecursionError) as error:
                    raise ValueError(f"line {number}: {error or 'nested too deeply'}") from error
                if sample is not None:
                    yield sample
        self.tick(read - ticked)
        self.digest = hashed.hexdigest()

    def _read(self, item: Any, occurrences: _Occurrences) -> Fields | None:
        if (
            not isinstance(item, dict)
            or not isinstance(item.get("doc_id"), int)
            or "doc" not in item
        ):
            raise ValueError("not a sample of lm-eval: it has no doc_id and doc")
        name = str(item.get("filter", "none"))
        self.filters.setdefault(name)
        if self.wanted is None:
            self.wanted = name
        if name != self.wanted:
            return None
        return self._make(item, occurrences)

    def _make(self, item: Mapping[str, Any], occurrences: _Occurrences) -> Fields:
        doc = item["doc"] if isinstance(item["doc"], dict) else {"doc": item["doc"]}
        requests = _requests(item.get("arguments"))
        responses, failed = _responses(item.get("filtered_resps"))
        # `ft-harness lm-eval` says so of a doc whose metric failed
        if item.get("metrics") == [] and (unscored := _text(item, "failed")):
            failed = unscored
            self.unscored += 1
        target, scores = str(item.get("target")), self._scores(item)
        output_type = self.output_type or _guess_type(responses)
        if output_type == "multiple_choice":
            choices = _choices(requests, responses)
            count = len(choices)
            values = [
                each[0] if isinstance(each, list) else -math.inf for each in responses[:count]
            ]
            best = values.index(max(values)) if values else None
            prediction = None if best is None else choices[best]
            given = doc.get(self.gold_field) if self.gold_field else None
            golds = _right_choices(target, given, choices, best, scores.get("acc"))
        else:
            generated = output_type == "generate_until" and responses
            first = responses[0] if generated else None
            prediction = first.strip() if isinstance(first, str) else None
            golds = _right_texts(target)
        self.several_right += len(golds) > 1
        prompt = requests[0][0] if requests else ""
        chosen = output_type == "multiple_choice"
        return {
            "item_key": occurrences.key(item_hash(doc)),
            "doc_id": int(item["doc_id"]),
            "doc": doc,
            "prompt": prompt,
            "prompt_hash": _text(item, "prompt_hash") or sha256_text(prompt),
            "target": golds[0],
            "target_hash": _text(item, "target_hash") or sha256_text(target),
            "responses": responses,
            "prediction": prediction,
            "invalid": scores.get("invalid") == 1.0,
            "truncated": False,
            "scores": dict.fromkeys(scores) if failed else scores,
            "targets": golds if len(golds) > 1 else None,
            "choices": [choice for _, choice in requests] if chosen else None,
            "tokens": None,
            "unfinished": None,
            "failed": failed,
        }

    def _scores(self, item: Mapping[str, Any]) -> Scores:
        names = item.get("metrics")
        if not isinstance(names, list):
            # written before lm-eval 0.4.5: every other key is a metric
            names = [name for name in item if name not in _FIELDS]
        scores: Scores = {}
        for name in map(str, names):
            try:
                scores[name] = _score(item.get(name))
            except ValueError as error:
                self.odd_metrics.setdefault(name, str(error))
        return scores


_FIELDS = (
    *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"),
    *("doc_hash", "prompt_hash", "target_hash"),
)


def _check_unicode(item: Any) -> None:
    """
    Raises:
        ValueError: half of a pair of surrogates is alone, so that the text can't be written.
    """
    try:
        json.dumps(item, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("text that is not Unicode") from error


class _Occurrences:
    """Numbers the docs of equal content."""

    def __init__(self) -> None:
        self._seen: set[int] = set()  # numbers take less than texts, and most docs come once
        self._again: Counter[int] = Counter()

    def key(self, doc_hash: str) -> str:
        number = int(doc_hash, 16)
        if number in self._seen:
            self._again[number] += 1
            return f"{doc_hash}-{self._again[number] + 1}"
        self._seen.add(number)
        return f"{doc_hash}-1"


def _text(item: Mapping[str, Any], name: str) -> str | None:
    value = item.get(name)
    return value if isinstance(value, str) else None


def _requests(arguments: Any) -> list[tuple[str, str]]:
    """(context, continuation or arguments of the generation as text) of each request."""
    given = list(arguments.values()) if isinstance(arguments, dict) else arguments
    requests: list[tuple[str, str]] = []
    for each in given if isinstance(given, list) else []:
        parts = [*each.values()] if isinstance(each, dict) else each
        if isinstance(parts, list) and parts:
            requests.append((str(parts[0]), str(parts[1]) if len(parts) > 1 else ""))
    return requests


def _responses(given: Any) -> tuple[list[Any], str | None]:
    """([log-likelihood, is_greedy] of each choice or the texts, why there are none)."""
    responses: list[Any] = []
    for each in given if isinstance(given, list) else [given]:
        if isinstance(each, list) and len(each) == 2 and (said := str(each[1])) in _GREEDY:
            value = _number(each[0])
            if value is None:
                return [], _NOT_FINITE
            responses.append([value, _GREEDY[said]])
        elif each is not None:
            responses.append(each if isinstance(each, str) else str(each))
    return responses, None


def _guess_type(responses: Sequence[Any]) -> str:
    several = len(responses) > 1 and all(isinstance(each, list) for each in responses)
    return "multiple_choice" if several else "generate_until"


def _choices(requests: Sequence[tuple[str, str]], responses: Sequence[Any]) -> list[str]:
    """The choices as text; numbers where each has a context of its own."""
    choices = [choice.strip() for context, choice in requests if context == requests[0][0]]
    return choices if len(choices) > 1 else [str(number) for number in range(len(responses))]


def _right_choices(
    target: str, given: Any, choices: Sequence[str], best: int | None, accuracy: Any
) -> list[str]:
    """The right choices as text, as lm-eval itself decides them: a number is an index, a text is a
    choice's own text, a list is a set of indices.

    Args:
        target: lm-eval's text of what `doc_to_target` gave.
        given: the doc's own value, which still knows its type; None: not known.
        best: index of the likeliest choice.
        accuracy: of this item, which settles what a digit means where its type is not known.

    Source: `ConfigurableTask.doc_to_target` and `process_results` of lm-eval 0.4.
    """
    if isinstance(given, str):
        return [given.strip()]
    value = given if isinstance(given, (int, list)) else _literal(target)
    indices, several = value if isinstance(value, list) else [value], len(choices)
    of_index = [choices[i] for i in indices if isinstance(i, int) and 0 <= i < several]
    if not of_index or len(of_index) < len(indices):
        return [target.strip()]
    # "1" may be the second choice or the choice "1": lm-eval scored one of the two
    is_ambiguous = given is None and target in choices and accuracy in (0.0, 1.0)
    if is_ambiguous and best is not None and (choices[best] in of_index) != (accuracy == 1.0):
        return [target]
    return list(dict.fromkeys(of_index))


def _right_texts(target: str) -> list[str]:
    """One text, or those of a list of texts."""
    value = _literal(target)
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return [each.strip() for each in dict.fromkeys(value)]
    return [target.strip()]


def _literal(text: str) -> Any:
    """A number or a list that a text spells; else the text."""
    if text.isdecimal():
        return int(text)
    if not (text.startswith("[") and text.endswith("]")):
        return text
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return text


def _score(value: Any) -> float | list[float] | None:
    """A number, a list of them, or null for what is none.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, list):
        if not value:
            return None
        numbers = [_number(part) for part in value if isinstance(part, int | float)]
        if len(numbers) < len(value):
            raise ValueError(
                "lm-eval keeps no number for each item, only what it scores all items by later"
            )
        known = [number for number in numbers if number is not None]
        return known if len(known) == len(numbers) else None
    if value is None or isinstance(value, (int, float, str)):
        return _number(value)
    raise ValueError("lm-eval keeps no number for each item")


def _number(value: Any) -> float | None:
    """A finite number; None for NaN, infinity, "N/A" and integers that no float can hold."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
