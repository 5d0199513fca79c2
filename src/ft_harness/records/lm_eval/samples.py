"""The samples that lm-eval wrote, one line a doc and filter, as ours: repaired once, here.

Numbers are written as texts, NaN is bare, requests are objects with numbered keys. What is no
number becomes null.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ft_harness.records.lm_eval.files import parse_json
from ft_harness.records.schema import Sample, item_hash
from ft_harness.storage import sha256_text

LONGEST_LINE = 10_000_000  # bytes
Scores = dict[str, float | list[float] | None]
_NOT_FINITE = "a log-likelihood is not a finite number"


@dataclass
class Lines:
    """The lines of a samples file that have one filter; iterating reads the file from the start.

    Attributes:
        output_type: lm-eval's; None: each line shows it.
        tick: is given the bytes of each line.
        filters: the filters met so far, in their order.
        odd_metrics: metric -> why it can't be compared, met so far.
        digest: of all lines, after they were read.
    """

    path: Path
    wanted: str | None
    output_type: str | None
    tick: Callable[[int], object]
    filters: dict[str, None] = field(default_factory=dict)
    odd_metrics: dict[str, str] = field(default_factory=dict)
    digest: str = ""

    def __iter__(self) -> Iterator[Sample]:
        """The samples, in the order of the file.

        Raises:
            ValueError: a line that is no sample, with its number.
        """
        occurrences = _Occurrences()
        hashed = hashlib.sha256()
        number = 0
        with self.path.open("rb") as file:
            for line in iter(lambda: file.readline(LONGEST_LINE + 1), b""):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise ValueError(f"line {number} has more than {LONGEST_LINE:,} bytes")
                hashed.update(line)
                self.tick(len(line))
                if not line.strip():
                    continue
                try:
                    item = parse_json(line)
                    if rb"\ud" in line.lower():
                        _check_unicode(item)
                    sample = self._read(item, occurrences)
                except ValidationError as error:
                    (first, *_) = error.errors()
                    where = ".".join(map(str, first["loc"]))
                    raise ValueError(f"line {number}: {where}: {first['msg']}") from error
                except (ValueError, RecursionError) as error:
                    raise ValueError(f"line {number}: {error or 'brackets too deep'}") from error
                if sample is not None:
                    yield sample
        self.digest = hashed.hexdigest()

    def _read(self, item: Any, occurrences: _Occurrences) -> Sample | None:
        if (
            not isinstance(item, dict)
            or not isinstance(item.get("doc_id"), int)
            or "doc" not in item
        ):
            raise ValueError("no sample of lm-eval: it has no doc_id and doc")
        name = str(item.get("filter", "none"))
        self.filters.setdefault(name)
        if self.wanted is None:
            self.wanted = name
        if name != self.wanted:
            return None
        return self._make(item, occurrences)

    def _make(self, item: Mapping[str, Any], occurrences: _Occurrences) -> Sample:
        doc = item["doc"] if isinstance(item["doc"], dict) else {"doc": item["doc"]}
        requests = _requests(item.get("arguments"))
        responses, failed = _responses(item.get("filtered_resps"))
        target = str(item.get("target"))
        prediction, gold = _answers(
            requests, responses, target, self.output_type or _guess_type(responses)
        )
        scores = self._scores(item)
        prompt = requests[0][0] if requests else ""
        return Sample(
            item_key=occurrences.key(item_hash(doc)),
            doc_id=item["doc_id"],
            doc=doc,
            prompt=prompt,
            prompt_hash=_text(item, "prompt_hash") or sha256_text(prompt),
            target=gold,
            target_hash=_text(item, "target_hash") or sha256_text(target),
            responses=responses,
            prediction=prediction,
            invalid=scores.get("invalid") == 1.0,
            truncated=False,
            scores=dict.fromkeys(scores) if failed else scores,
            failed=failed,
        )

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
        raise ValueError("text that is no Unicode") from error


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
        parts = list(each.values()) if isinstance(each, dict) else each
        if isinstance(parts, list) and parts:
            requests.append((str(parts[0]), str(parts[1]) if len(parts) > 1 else ""))
    return requests


def _responses(given: Any) -> tuple[list[Any], str | None]:
    """([log-likelihood, is_greedy] of each choice or the texts, why there are none)."""
    responses: list[Any] = []
    for each in given if isinstance(given, list) else [given]:
        if isinstance(each, list) and len(each) == 2 and str(each[1]) in ("True", "False"):
            value = _number(each[0])
            if value is None:
                return [], _NOT_FINITE
            responses.append([value, str(each[1]) == "True"])
        elif each is not None:
            responses.append(each if isinstance(each, str) else str(each))
    return responses, None


def _guess_type(responses: Sequence[Any]) -> str:
    several = len(responses) > 1 and all(isinstance(each, list) for each in responses)
    return "multiple_choice" if several else "generate_until"


def _answers(
    requests: Sequence[tuple[str, str]], responses: Sequence[Any], target: str, output_type: str
) -> tuple[str | None, str]:
    """(what the model answered, what was right), as text; a number of a choice becomes its text,
    likelihoods are no answer."""
    if output_type != "multiple_choice":
        generated = (
            output_type == "generate_until" and bool(responses) and isinstance(responses[0], str)
        )
        return (responses[0].strip() if generated else None), target.strip()
    same = [(context, choice) for context, choice in requests if context == requests[0][0]]
    choices = [choice.strip() for _, choice in same]
    if len(choices) < 2:  # each choice has a context of its own
        choices = [str(number) for number in range(len(responses))]
    gold = (
        choices[int(target)]
        if target.isdecimal() and int(target) < len(choices)
        else target.strip()
    )
    values = [
        each[0] if isinstance(each, list) else -math.inf for each in responses[: len(choices)]
    ]
    return (choices[values.index(max(values))] if values else None), gold


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
                "lm-eval keeps no number for each item but what it scores all items by later"
            )
        known = [number for number in numbers if number is not None]
        return known if len(known) == len(numbers) else None
    if value is None or isinstance(value, int | float | str):
        return _number(value)
    raise ValueError("lm-eval keeps no number for each item")


def _number(value: Any) -> float | None:
    """A finite number; None for NaN, infinity, "N/A" and integers that no float can hold."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
