"""What can go wrong, for a user: faults (one class per exit code, three lines each, no traceback),
notices, and errors of libraries in our words.

A message says what happened and where, what was expected, and what to do next. The command line
prints the three lines and exits with the class's `exit_code`; library users catch `FtHarnessError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, NamedTuple


class FtHarnessError(Exception):
    """A fault a user can act on.

    Attributes:
        what: what happened and where (file, line, field).
        expected: what would have been right.
        action: what to do now.
    """

    exit_code = 2

    def __init__(self, what: str, expected: str, action: str) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.action = action

    def lines(self) -> list[str]:
        """The three lines that a user reads."""
        return [f"error: {self.what}", f"expected: {self.expected}", f"do: {self.action}"]

    def __str__(self) -> str:
        return "\n".join(self.lines())


class ConfigError(FtHarnessError):
    """Usage, recipe or an output folder that can't be written; nothing ran."""

    exit_code = 2


class InputError(FtHarnessError):
    """Data, task, model or adapter that can't be used, mostly found before a model is loaded."""

    exit_code = 3


class NotComparableError(InputError):
    """Two numbers that were not measured the same way.

    Attributes:
        differences: one line each, with the values of both sides.
    """

    def __init__(self, what: str, differences: Sequence[str], expected: str, action: str) -> None:
        super().__init__(what, expected, action)
        self.differences = differences

    def lines(self) -> list[str]:
        """The differences follow what happened."""
        what, *others = super().lines()
        return [f"{what}:", *self.differences, *others]


class PolicyError(FtHarnessError):
    """Refused for safety; the message names the flag that allows it."""

    exit_code = 4


class ResourceError(FtHarnessError):
    """Memory or disk ran out; state is saved."""

    exit_code = 5


class IncompleteError(FtHarnessError):
    """Finished, but some items have no score; results are saved and marked."""

    exit_code = 6


class StorageLostError(FtHarnessError):
    """The output folder was lost during the run; the message names the emergency copy."""

    exit_code = 7


class NonFiniteError(FtHarnessError):
    """NaN or infinity instead of a number; no score is made from it."""

    exit_code = 8


class UnexpectedError(FtHarnessError):
    """A fault of the program itself; the message names the file with its traceback."""

    exit_code = 70  # EX_SOFTWARE of sysexits.h; 1 means that a regression was found


class ProblemsError(FtHarnessError):
    """Several faults found by one check, reported together; the exit code is the smallest of
    theirs."""

    def __init__(self, problems: Sequence[FtHarnessError]) -> None:
        first = problems[0]
        super().__init__(first.what, first.expected, first.action)
        self.problems = list(problems)
        self.exit_code = min(problem.exit_code for problem in problems)

    def lines(self) -> list[str]:
        return [line for problem in self.problems for line in problem.lines()]


class Notice(NamedTuple):
    """Next to errors: what is allowed but doubtful, a warning with what to do about it; the run
    continues.

    Attributes:
        what: what was found, with counts and places.
        action: the way out.
    """

    what: str
    action: str


@dataclass
class Findings:
    """What checks gather as they go: faults, notices, and facts about what they checked."""

    faults: list[FtHarnessError] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    def add(self, found: Findings) -> None:
        """Append what another check found."""
        self.faults += found.faults
        self.notices += found.notices
        self.facts += found.facts


def raise_problems(problems: Sequence[FtHarnessError]) -> None:
    """Raise the problems found, if any: one as itself, several as a `ProblemsError`."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ProblemsError(problems)


def suggest(word: str, known: Iterable[str]) -> str:
    """ "; did you mean X?" for the nearest known word, or nothing: by its letters, by its initials
    (lr for learning_rate), or as a part of it (epochs for num_train_epochs)."""
    names = list(known)
    found = get_close_matches(word, names, n=1, cutoff=0.6)
    found += [name for name in names if "".join(part[:1] for part in name.split("_")) == word]
    found += [name for name in names if name.endswith(f"_{word}")]
    found += [name for name in names if f"_{word}_" in f"_{name}_"]
    return f"; did you mean {found[0]}?" if found and word else ""


def message_of(error: BaseException) -> str:
    """What an error of a library says; nothing where that fails too."""
    try:
        return str(error).strip()
    except Exception:
        return ""


def first_line(error: BaseException, most: int = 200) -> str:
    """The message of a library's error, short enough for our own; its type if it has none."""
    lines = message_of(error).splitlines()
    return lines[0][:most] if lines else type(error).__name__


def find_within(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """The error of this kind, such as a signal's, of which a library made another one."""
    found: BaseException | None = error
    # A fault that was found while the program ended says more than the signal.
    ours, seen = isinstance(error, FtHarnessError | OSError | MemoryError), set[int]()
    while found is not None and not isinstance(found, kind) and id(found) not in seen:
        seen.add(id(found))
        found = found.__cause__ or (None if ours else found.__context__)
    return found if isinstance(found, kind) else None


def is_panic(error: BaseException) -> bool:
    """Whether a library written in Rust has stopped; the class can't be imported."""
    return type(error).__name__ == "PanicException"


@contextmanager
def panics_named(place: object) -> Iterator[None]:
    """Context in which the panic of a library written in Rust is a fault of a file.

    Raises:
        InputError: the library has stopped.
    """
    try:
        yield
    except BaseException as error:
        if not is_panic(error):
            raise
        raise panic_fault(place, error) from error


def panic_fault(place: object, error: BaseException) -> InputError:
    """The error of a library that has stopped."""
    return InputError(
        f"{place}: the library that reads it stopped ({first_line(error)})",
        "undamaged files that the library can read",
        "fetch the tokenizer and the model again from a place you trust",
    )


# pydantic's names of what is wrong -> what is right, as a person who wrote a value would say it
_RIGHT = {
    **dict.fromkeys(["model_type", "model_attributes_type", "dict_type"], "a mapping of fields"),
    **dict.fromkeys(["list_type", "tuple_type"], "a list"),
    "string_type": "text",
    **dict.fromkeys(["int_type", "int_parsing", "int_from_float"], "a whole number"),
    **dict.fromkeys(["float_type", "float_parsing"], "a number"),
    **dict.fromkeys(["bool_type", "bool_parsing"], "true or false"),
    "string_too_short": "a text that is not empty",
    "too_short": "one value or more",
    "invalid_key": "keys that are text",
}


_SIZE = re.compile(r"^\w+ should have (at (?:least|most) \d+ \w+).*")


def expected_values(faults: Sequence[Mapping[str, Any]]) -> str:
    """pydantic's error in our words: what a field may hold, one for each type it may have."""
    # A list whose items are wrong is reported as one that is too short, too.
    told = [each for each in faults if each["type"] != "too_short"] or faults
    said = (each["msg"].removeprefix("Value error, ") for each in told)
    words = (text.removeprefix("Input should be ") for text in said)
    # "List should have at least 2 items after validation, not 1"
    words = (_SIZE.sub(r"\1", text) for text in words)
    right = [_RIGHT.get(each["type"], text) for each, text in zip(told, words, strict=True)]
    return " or ".join(dict.fromkeys(right))
