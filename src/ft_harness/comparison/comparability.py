"""Which evaluations may be compared: declared factors may differ, everything else must be equal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ft_harness.comparison.amounts import shorten
from ft_harness.errors import ConfigError, NotComparableError, suggest
from ft_harness.records import Record, Settings, describe_record

EXECUTION = ("batch_size", "device")  # may differ, and is noted: changes scores by rounding only


# Hashes of the docs in their order and of a part of the task: items, prompts and targets are
# compared one by one.
_MAY_DIFFER = {*EXECUTION, "data_hash", "request_hash"}

FACTORS: dict[str, tuple[str, ...]] = {
    "shots": ("num_fewshot", "fewshot_ids", "fewshot_hash", "fewshot_as_multiturn", "prompt_hash"),
    "decoding": ("generation_kwargs", "generation_hash"),
    "quantization": ("quantization",),
    "prompt": (
        *("task", "task_version", "task_hash", "chat_template_hash", "system_instruction"),
        *("fewshot_as_multiturn", "prompt_hash"),
    ),
    "model": ("model",),
    "head": ("head", "text_fields", "back_end", "prompt_hash"),
}  # what a study may vary on purpose -> the fields that may differ then
_OF_ITEMS = ("items", "prompt_hash", "target_hash")
# parts of a signature that are compared as settings
_IN_SIGNATURES = {"task", "shots", "back-end", "dtype", "max_length"}
_SHOWN = 48  # characters of a value in a message


@dataclass(frozen=True)
class Mismatch:
    """A field in which two records differ, so that they can't be compared."""

    field: str
    base: str
    tuned: str

    def __str__(self) -> str:
        return f"{self.field}: base {self.base}, tuned {self.tuned}"


@dataclass(frozen=True)
class Terms:
    """The terms on which evaluations may be compared: the differences that are tolerated.

    Attributes:
        factors: of `FACTORS`, what the study varies on purpose.
        allow_mismatch: further fields that may differ; `metric` stands for the signatures of all
            metrics.
    """

    factors: tuple[str, ...] = ()
    allow_mismatch: tuple[str, ...] = ()

    def factor_of(self, key: str) -> str | None:
        """The declared factor that a field belongs to."""
        return next((factor for factor in self.factors if key in FACTORS[factor]), None)

    def allows(self, key: str) -> bool:
        # "metric" accepts the signatures of all metrics, "metric acc" those of one.
        named = key in self.allow_mismatch or key.partition(" ")[0] in self.allow_mismatch
        return named or self.factor_of(key) is not None

    def footnotes(
        self, base: Record, tuned: Record, mismatches: dict[str, Mismatch]
    ) -> Iterator[str]:
        """A line for each tolerated difference, and one for what neither side states."""
        for key, mismatch in mismatches.items():
            factor = self.factor_of(key)
            yield (
                f"declared factor {factor}, {mismatch}"
                if factor
                else f"accepted difference, {mismatch}"
            )
        unknown = find_unknown(base, tuned)
        if unknown and base.foreign:
            said = f"{base.foreign.program} does not record {', '.join(unknown)}"
            yield f"{said}, so it was not checked that they are the same for base and tuned"


STRICT = Terms()


def check_terms(terms: Terms) -> None:
    """Check that every factor is one of `FACTORS`, and every accepted field one that is compared.

    Raises:
        ConfigError: one is not.
    """
    given: list[tuple[str, str, str, Collection[str]]] = [
        ("--factor", "factor", name, FACTORS) for name in terms.factors
    ]
    fields = _fields()
    given += [
        ("--allow-mismatch", "field", name.partition(" ")[0], fields)
        for name in terms.allow_mismatch
    ]
    for option, what, name, known in given:
        if name not in known:
            raise ConfigError(
                f"unknown {what} {name!r}{suggest(name, known)}",
                f"one of {', '.join(known)}",
                f"correct {option}",
            )


def _fields() -> Collection[str]:
    """What may be accepted as different by name."""
    settings = [field for field in Settings.model_fields if field not in _MAY_DIFFER]
    return [
        *_OF_ITEMS,
        "metric",
        "status",
        "model",
        "dtype",
        "quantization",
        "head",
        "filter",
        *settings,
    ]


def filter_of(record: Record) -> str | None:
    """What must be equal for two records to be compared: the filter of lm-eval that its scores rest
    on; None for a record of our own."""
    return record.foreign.filter if record.foreign else None


def conditions_of(record: Record) -> dict[str, Any]:
    """What must be equal for two records to be compared: everything that makes a record's scores,
    besides the adapter; what is not known is None."""
    # A field that another program does not state holds a default in the record, which must not pass
    # for its value.
    found = _stated(record)
    return found | dict.fromkeys(set(_unknown(record)) & found.keys())


def _unknown(record: Record) -> list[str]:
    return record.foreign.unknown if record.foreign else []


def find_unknown(base: Record, tuned: Record) -> list[str]:
    """Fields that neither record states, if one version of one program made both: they probably
    don't differ."""
    if not base.foreign or not tuned.foreign or base.foreign.program != tuned.foreign.program:
        return []
    return [key for key in base.foreign.unknown if key in tuned.foreign.unknown]


def _stated(record: Record) -> dict[str, Any]:
    model = record.model
    precision = {
        "model": model.identity,
        "dtype": model.dtype,
        "quantization": model.quantization,
        "head": model.head,
    }
    return precision | record.settings.model_dump() | {"filter": filter_of(record)}


def find_mismatches(base: Record, tuned: Record) -> dict[str, Mismatch]:
    """The mismatches between two records, by field; a value that one side does not state equals
    nothing."""
    left, right = (
        _stated(record)
        | {f"metric {score.metric}": _own_signature(score.signature) for score in record.scores}
        for record in (base, tuned)
    )
    # Unknown is not equal: the value might be anything. Only where the same version of one program
    # left it out on both sides is it taken as the same, and footnoted.
    unknown, same = (set(_unknown(base)), set(_unknown(tuned))), set(find_unknown(base, tuned))
    found: dict[str, Mismatch] = {}
    for key in left | right:
        sides = zip((left, right), unknown, strict=True)
        before, after = (
            "unknown" if key in hidden else repr(side.get(key)) for side, hidden in sides
        )
        if key not in _MAY_DIFFER | same and (before != after or before == "unknown"):
            found[key] = Mismatch(key, before, after)
    # A partial evaluation holds the items that were scored first.
    if {base.status, tuned.status} != {"complete"}:
        found["status"] = Mismatch("status", repr(base.status), repr(tuned.status))
    return found


def _own_signature(signature: str) -> str:
    """A signature without the settings in it, which are compared by themselves."""
    return "|".join(
        part for part in signature.split("|") if part.partition(":")[0] not in _IN_SIGNATURES
    )


def check_comparable(base: Record, tuned: Record, refused: Sequence[Mismatch]) -> None:
    """Refuse to compare two records that were not measured the same way.

    Raises:
        NotComparableError: there are mismatches; it lists them, with one column per side.
    """
    if refused:
        sides = f"{describe_record(base)} and {describe_record(tuned)}"
        raise NotComparableError(
            f"{sides} were not measured the same way",
            _show(refused),
            "equal settings, items, prompts, targets and metric signatures on both sides",
            "evaluate both again with the same settings, or name each difference to accept with "
            "--allow-mismatch, or what the study varies with --factor",
        )


def _show(mismatches: Sequence[Mismatch]) -> list[str]:
    """One line per field, its values in two columns."""
    table = [
        ("", "base", "tuned"),
        *(
            (each.field, shorten(each.base, _SHOWN), shorten(each.tuned, _SHOWN))
            for each in mismatches
        ),
    ]
    first, second = (max(len(row[column]) for row in table) for column in (0, 1))
    return [f"  {field:{first}}  {base:{second}}  {tuned}" for field, base, tuned in table]
