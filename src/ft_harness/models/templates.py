"""Templates from untrusted sources: jinja's sandbox, with limits on time, numbers and lengths.

A prompt is text: its template can neither reach into Python nor take all memory or time.
"""

from __future__ import annotations

import os
import re
import resource
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, wraps
from typing import Any

from jinja2 import Template
from jinja2.compiler import CodeGenerator, Frame
from jinja2.nodes import Concat, Node
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ft_harness.errors import InputError, PolicyError, first_line
from ft_harness.models import watcher

RENDER_SECONDS = 5.0  # of one text; ours take a tenth of a millisecond
LONGEST = 10_000_000  # characters or elements of what one operation gives
_MOST_MEMORY = 1 << 30  # bytes: what many operations make of many such texts
_MOST_BITS = 10_000  # of a number
_WIDTH = re.compile(r"\d{6,}")  # in a format: more characters than any prompt has
_deadline = threading.local()


def _refused(what: str) -> PolicyError:
    return PolicyError(
        f"a template {what}",
        f"one that renders a doc within {RENDER_SECONDS:g} seconds; no flag allows more",
        "fix the template of the task or of the model's chat",
    )


@cache
def _memory_file(_process: int) -> int:
    """The open memory file; kept open as templates are rendered hundreds of thousands of times."""
    return os.open("/proc/self/statm", os.O_RDONLY)


@contextmanager
def _bounded_memory() -> Iterator[None]:
    """Context in which the process may take at most `_MOST_MEMORY` more memory (on Linux only).

    Raises:
        MemoryError: it is used up.
    """
    # Address space, since Linux enforces no limit of resident memory.
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(OSError):
        pages = int(os.pread(_memory_file(os.getpid()), 64, 0).split()[0])
        most = pages * resource.getpagesize() + _MOST_MEMORY
        if soft == resource.RLIM_INFINITY or most < soft:
            resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def _limits() -> Iterator[None]:
    """Context that limits a template's time and memory.

    Raises:
        InputError: memory is not enough, or it recurses without end.
    """
    _deadline.value = time.monotonic() + RENDER_SECONDS
    watcher.begin()
    try:
        with _bounded_memory():
            yield
    except (MemoryError, RecursionError, OverflowError) as error:
        raise InputError(
            f"a template can't be rendered ({type(error).__name__}: {first_line(error)})",
            "a template that suits every row",
            "fix the template, or this row",
        ) from error
    finally:
        watcher.end()
        del _deadline.value


class LimitedTemplate(Template):
    """A template with limits."""

    def render(self, *args: Any, **kwargs: Any) -> str:
        """The text.

        Raises:
            InputError: memory is not enough, or it recurses without end.
            PolicyError: it takes too long, or makes something too long.
        """
        with _limits():
            text = super().render(*args, **kwargs)
        _check_length(len(text))
        return text


class _LimitedCode(CodeGenerator):
    """Each block, and so each turn of a loop, checks the clock; texts are joined within limits."""

    def blockvisit(self, nodes: Iterable[Node], frame: Frame) -> None:
        self.writeline("environment.check_time()")
        super().blockvisit(nodes, frame)

    def visit_Concat(self, node: Concat, frame: Frame) -> None:  # noqa: N802
        self.write("environment.join((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """jinja's sandbox, in which time, numbers and lengths are bounded."""

    code_generator_class = _LimitedCode
    template_class = LimitedTemplate
    intercepted_binops = frozenset(("*", "**", "%", "+"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("center", "indent", "format", "replace", "join"):
            self.filters[name] = _limited(self.filters[name])

    def from_string(self, *args: Any, **kwargs: Any) -> Any:
        """A template; what doesn't depend on a doc is computed here already.

        Raises:
            InputError: memory is not enough.
            PolicyError: it makes something too long.
        """
        with _limits():
            return super().from_string(*args, **kwargs)

    def check_time(self) -> None:
        """Called by the templates' code.

        Raises:
            PolicyError: the time is over.
        """
        deadline = getattr(_deadline, "value", None)
        if deadline is not None:
            watcher.begin()  # again, as another thread may have ended its own
            if time.monotonic() > deadline:
                raise _refused(f"takes more than {RENDER_SECONDS:g} seconds")

    def join(self, parts: Sequence[Any]) -> str:
        """Called by the templates' code for `~`."""
        texts = list(map(str, parts))
        _check_length(sum(map(len, texts)))
        return "".join(texts)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            for many, times in ((left, right), (right, left)):
                if hasattr(many, "__len__") and isinstance(times, int):
                    _check_length(len(many) * times)
            if isinstance(left, int) and isinstance(right, int):
                _check_bits(left.bit_length() + right.bit_length())
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            _check_bits(left.bit_length() * right)
        elif operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
            _check_length(len(left) + len(right))
        elif operator == "%" and isinstance(left, str):
            _check_widths(left, right if isinstance(right, tuple) else (right,))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.check_time()
        if isinstance(owner := getattr(obj, "__self__", None), str):  # str.center, str.format ...
            _check_widths(owner, (*args, *kwargs.values()))
        return _checked(super().call(context, obj, *args, **kwargs))


def _check_length(length: int) -> None:
    if length > LONGEST:
        raise _refused(f"makes something of {length:,} characters or elements")


def _check_bits(bits: int) -> None:
    if bits > _MOST_BITS:
        raise _refused("makes a number of thousands of digits")


def _check_widths(text: str, arguments: Sequence[Any]) -> None:
    """Formats and arguments that would fill up a text."""
    if "%" in text or "{" in text:
        for width in _WIDTH.findall(text):
            _check_length(int(width[:20]))
    for argument in arguments:
        if isinstance(argument, int):
            _check_length(argument)


def _checked(value: Any) -> Any:
    """A value that is no text of millions of characters."""
    if isinstance(value, str):
        _check_length(len(value))
    return value


def _limited(render: Any) -> Any:
    """A filter whose numbers and result are bounded."""

    @wraps(render)  # with what jinja notes on it, an environment or a context before the value
    def bounded(*args: Any, **kwargs: Any) -> Any:
        text = next((each for each in args if isinstance(each, str)), "")
        _check_widths(text, (*args, *kwargs.values()))
        return _checked(render(*args, **kwargs))

    return bounded
