"""lm-eval's task with one check on what its templates give: prompts and answers are texts, labels
are indices of choices, and what can't be rendered is a fault of a row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from datasets import Dataset
from jinja2 import UndefinedError
from jinja2.exceptions import SecurityError
from lm_eval.api.task import ConfigurableTask

from ft_harness.data.values import is_blank
from ft_harness.errors import FtHarnessError, InputError, PolicyError, first_line
from ft_harness.storage.escaping import visible

Doc = Mapping[str, Any]
_SHOWN = 80
_ONE_TEXT = ("loglikelihood", "loglikelihood_rolling")  # what lm-eval scores is the target itself


class RenderedTask(ConfigurableTask):  # type: ignore[misc]
    """A task whose fields of any type are rendered alike, zero-shot and in examples, whatever its
    output type.

    Numbers are rendered as they are written. Of several references likelihoods take the first;
    generated answers are compared with all where the metric takes several. White space around an
    answer that a field brings along is left out.
    """

    def __init__(self, **options: Any) -> None:
        self._loaded = False
        self._ready = False  # lm-eval decides by the first doc whether there are several answers
        try:
            super().__init__(**options)
        except (InputError, PolicyError) as error:
            raise (_at_row(self, 0, error) if self._loaded else error) from error
        self._ready = True

    def download(self, *arguments: Any, **options: Any) -> None:
        """Load the data; what is wrong afterwards is wrong with a row."""
        super().download(*arguments, **options)
        self._loaded = True

    def fewshot_docs(self) -> Any:
        """What examples are drawn from. lm-eval lists them all, which takes a data set a minute for
        a million docs, and a tenth of that at once."""
        docs = super().fewshot_docs()
        if not isinstance(docs, Dataset):
            return docs
        columns = docs[:]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def doc_to_text(self, doc: Any, doc_to_text: Any = None) -> Any:
        """The question as text; an index of the choices where whole prompts are compared."""
        text = render_field("doc_to_text", super().doc_to_text, doc, doc_to_text)
        if isinstance(text, str) or (
            isinstance(text, int) and self.config.doc_to_choice is not None
        ):
            return text
        if _is_number(text):
            return str(text)
        raise _unusable("doc_to_text", text, "a text or a number")

    def doc_to_prefix(self, doc: Any) -> Any:
        """What an answer begins with; None: nothing."""
        if self.config.gen_prefix is None:
            return None
        return render_field(
            "gen_prefix", lambda *_: super(RenderedTask, self).doc_to_prefix(doc), doc, None
        )

    @staticmethod
    def resolve_field(doc: Any, field: str | None = None) -> Any:
        """The description, or the prefix of an example's answer; None: nothing."""
        resolve = ConfigurableTask.resolve_field
        return render_field("description or gen_prefix", resolve, doc, field) if field else None

    def doc_to_choice(self, doc: Any, doc_to_choice: Any = None) -> list[str]:
        """The choices as texts."""
        choices = render_field("doc_to_choice", super().doc_to_choice, doc, doc_to_choice)
        if not isinstance(choices, list | tuple) or not choices:
            raise _unusable("doc_to_choice", choices, "a list of choices")
        if all(type(choice) is str for choice in choices):
            return choices if isinstance(choices, list) else list(choices)
        for choice in choices:
            if not isinstance(choice, str) and not _is_number(choice):
                raise _unusable("doc_to_choice", choices, "texts or numbers as choices, none null")
        return [str(choice) for choice in choices]

    def doc_to_target(self, doc: Any, doc_to_target: Any = None) -> Any:
        """The right answer: a text or several; with choices the index of the right one, or of
        several."""
        template = self.config.doc_to_target if doc_to_target is None else doc_to_target
        target = render_field("doc_to_target", super().doc_to_target, doc, doc_to_target)
        listed = list(target) if isinstance(target, list | tuple) else [target]
        if not listed:
            raise _unusable("doc_to_target", target, "at least one right answer")
        if self.config.doc_to_choice is not None and self.OUTPUT_TYPE not in _ONE_TEXT:
            return self._indices(doc, template, target, listed)
        if self.OUTPUT_TYPE == "loglikelihood_rolling" and isinstance(target, str):
            return target  # no answer: every character of a running text is scored
        texts = [_as_text(each, template) for each in listed]
        self._check_list_as_text(doc, template, texts)
        if self.OUTPUT_TYPE in _ONE_TEXT:
            return texts[0]
        several = isinstance(target, list | tuple)
        if several and any(map(is_blank, texts)):
            raise _unusable("doc_to_target", target, "right answers that are not empty")
        if self._ready and several and not self.multiple_target:
            # lm-eval's own scoring would compare with the whole list as one text
            self._check_alone(texts, target)
            several = self.config.process_results is not None
        return texts if several or self.multiple_target else texts[0]

    def _check_alone(self, listed: Sequence[Any], target: Any) -> None:
        if len(listed) > 1 and self.config.process_results is None:
            raise InputError(
                f"several right answers ({_shown(target)}), where the first row has one",
                "a list of right answers in every row, or one in every row",
                "write single ones as lists of one",
            )

    def _indices(self, doc: Any, template: Any, target: Any, listed: Sequence[Any]) -> Any:
        choices = self.doc_to_choice(doc)
        found: list[int] = []
        for each in listed:
            index = _index_of(each, choices, rendered=self._is_rendered(template))
            if index is None:
                # Where whole prompts are compared, doc_to_text has the index and the target is
                # what follows each of them.
                if isinstance(self.doc_to_text(doc), int):
                    return target if isinstance(target, str) else str(target)
                raise InputError(
                    f"label {each!r} is not among the choices",
                    f"one of {_shown(choices)}, or an index",
                    "fix the data, or name the labels in data.labels",
                )
            found.append(index)
        if self.OUTPUT_TYPE == "generate_until":
            return found[0]
        several = isinstance(target, list | tuple)
        if self._ready and several and not self.multiple_target:
            self._check_alone(found, target)
            several = False
        return found if several or self.multiple_target else found[0]

    def _is_rendered(self, template: Any) -> bool:
        return isinstance(template, str) and template not in self.features

    def _check_list_as_text(self, doc: Doc, template: Any, texts: Sequence[str]) -> None:
        """A list that a template writes out is an answer in Python's notation, not one of its
        elements."""
        if not self._is_rendered(template):
            return
        for name, value in doc.items():
            if isinstance(value, list) and value and any(str(value) in text for text in texts):
                raise InputError(
                    f"doc_to_target writes out the list {name} ({_shown(value)})",
                    f"one answer, such as {{{{{name}[0]}}}}, or doc_to_target: {name}",
                    "fix doc_to_target in the task's YAML",
                )

    def build_qa_turn(self, *, c: Any = None, a: Any = None, **parts: Any) -> Any:
        """A question with its answer: of several right ones the first, as when trained on."""
        first = a[0] if isinstance(a, list) and a else a
        return super().build_qa_turn(c=c, a=first, **parts)


def render_field(name: str, render: Callable[..., Any], doc: Any, template: Any) -> Any:
    """Render one field or template of lm-eval's task for a doc, and check it.

    Raises:
        InputError: it can't be rendered, or gives nothing.
        PolicyError: it reaches into Python.
    """
    try:
        value = render(doc, template)
    except (FtHarnessError, MemoryError):
        raise
    except SecurityError as error:
        raise PolicyError(
            f"{name}: a template reaches into Python ({first_line(error)})",
            "templates over the data's fields; no flag allows more",
            "fix doc_to_text, doc_to_target or doc_to_choice",
        ) from error
    except UndefinedError as error:
        raise InputError(
            f"{name}: a template names a field that the data lacks ({first_line(error)})",
            f"templates over the data's own fields ({', '.join(map(str, doc))})",
            f"fix {name}, or map the column in data.columns",
        ) from error
    except Exception as error:  # jinja, Python's literals, and a task's own functions raise all
        raise InputError(
            f"{name} can't be rendered ({type(error).__name__}: {first_line(error)})",
            "a template that suits every row",
            f"fix {name} or this row",
        ) from error
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise _unusable(name, value, "a value in every row")
    return value


def _unusable(name: str, value: Any, expected: str) -> InputError:
    return InputError(f"{name} gives {_shown(value)}", expected, f"fix {name} or this row")


def _shown(value: Any) -> str:
    text = repr(value)
    return visible(text[:_SHOWN], _SHOWN) + ("..." if len(text) > _SHOWN else "")


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))


def _as_text(value: Any, template: Any) -> str:
    """An answer as text, without the white space that a field brings along; what a template itself
    begins or ends with stays."""
    if not isinstance(value, str):
        if not _is_number(value):
            raise _unusable("doc_to_target", value, "texts or numbers as answers")
        return str(value)
    if not isinstance(template, str):  # a function of the task: it means what it says
        return value
    text = value if template[:1].isspace() or _starts_blank(template) else value.lstrip()
    return text if template[-1:].isspace() else text.rstrip()


def _starts_blank(template: str) -> bool:
    """Whether the first expression of a template begins with a quoted blank, as `{{' ' ~ x}}`."""
    inner = template.removeprefix("{{").lstrip()
    return template.startswith("{{") and inner[:1] in ("'", '"') and inner[1:2].isspace()


def _index_of(target: Any, choices: Sequence[str], *, rendered: bool) -> int | None:
    """The index of the choice that a target means; None where it means none.

    Raises:
        InputError: it is the text of one choice and the index of another.
    """
    if isinstance(target, bool):
        return choices.index(str(target)) if str(target) in choices else int(target)
    if isinstance(target, float) and target.is_integer():
        target = int(target)
    text = str(target)
    by_text = choices.index(text) if text in choices else None
    is_index = text.isascii() and text.isdecimal() and int(text) < len(choices)
    by_index = int(text) if is_index else None
    if by_text is None or by_index is None or by_text == by_index:
        return by_index if by_text is None else by_text
    if rendered and isinstance(target, int):
        raise InputError(
            f"label {text} is choice {by_text} by its text and choice {by_index} by its number",
            "labels that can be read in one way",
            "write the labels as words, or doc_to_target as the name of a field with indices",
        )
    return by_text if isinstance(target, str) else by_index


@contextmanager
def rendering_row(task: ConfigurableTask, number: int) -> Iterator[None]:
    """Context in which one row is rendered: a fault is reported with the split and the row."""
    try:
        yield
    except (InputError, PolicyError) as error:
        raise _at_row(task, number, error) from error


def _at_row(task: ConfigurableTask, number: int, error: FtHarnessError) -> FtHarnessError:
    row = _shown(dict(task.eval_docs[number]))
    what = f"{task.config.task}, row {number} (counted from 0): {error.what}; the row: {row}"
    return type(error)(what, error.expected, error.action)


def answer_text(task: ConfigurableTask, doc: dict[str, Any]) -> str:
    """The first right answer of a doc as lm-eval's task renders it, as text.

    Raises:
        InputError: the answer can't be rendered, or is not among the choices.
    """
    target = task.doc_to_target(doc)
    first = target[0] if isinstance(target, list) else target
    return first if isinstance(first, str) else str(task.doc_to_choice(doc)[first])


def answer_index(task: ConfigurableTask, doc: dict[str, Any]) -> int:
    """The number of the first right choice of a doc as lm-eval's task renders it.

    Raises:
        InputError: as in `answer_text`.
    """
    target = task.doc_to_target(doc)
    return int(target[0] if isinstance(target, list) else target)
