"""Check every row of a split: its prompt, answer and choices. Faults stop a run, notices don't;
both have counts and places."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from jinja2 import TemplateError
from lm_eval.api.task import ConfigurableTask
from tqdm import tqdm

from ft_harness.data.answer_pairs import CHOSEN, REJECTED, is_pair
from ft_harness.data.docs import LABEL_NAMES
from ft_harness.data.files import Split
from ft_harness.data.fingerprints import plain, text_digest
from ft_harness.data.values import is_blank
from ft_harness.errors import Findings, FtHarnessError, InputError, Notice, suggest
from ft_harness.models.lm_eval_private.tasks import compiled_templates, names_used
from ft_harness.models.prompts import PLAIN, PromptForm
from ft_harness.tasks.examples import prompt_of
from ft_harness.tasks.privacy import find_private
from ft_harness.tasks.rendering import answer_text, rendering_row

_LISTED = 5  # places that a notice names
_SHOWN = 60
_MOST_UNREADABLE = 100  # rows; a template that suits none would fail as often as there are rows
_BRACES = re.compile(r"(?<![{%#])\{\s*(\w+)\s*\}(?!\})")
# a list or object of texts as Python writes it (JSON has other quotes): a table that was saved from
# columns of lists
_NOTATION = re.compile(r"\[['\"].*['\"]\]|\{'.*\}", re.DOTALL)
# what a wrong decoding leaves: U+FFFD, and two or three Latin-1 letters within a word for one
_DAMAGED = re.compile(
    "\ufffd|[a-z](?:[\xc2\xc3][\x80-\xbf]|\xe2[\x80\u20ac])|[\xc2\xc3][\xa1-\xa9\xab-\xb9\xbb-\xbf][a-z]"
)
_NEARLY_ALL = 0.9  # share of rows from which a trait of some is one of all
_TEMPLATES = ("doc_to_text", "doc_to_target", "doc_to_choice")


def places(rows: Sequence[int]) -> str:
    """Where a check of rows found something, as a message names it: the first rows of a list."""
    more = ", ..." if len(rows) > _LISTED else ""
    listed = ", ".join(map(str, rows[:_LISTED]))
    return f"{'row' if len(rows) == 1 else 'rows'} {listed}{more}, counted from 0"


def cluster_problems(task: ConfigurableTask) -> list[InputError]:
    """Checked on the first row: a field by which docs belong together (`metadata.cluster`) must be
    there."""
    name, doc = (task.config.metadata or {}).get("cluster"), task.eval_docs[0]
    if name is None or (isinstance(name, str) and name in doc):
        return []
    return [
        InputError(
            f"{task.config.task}: metadata.cluster is {name!r}, a field that the docs lack"
            f"{suggest(str(name), doc)}",
            f"one of {', '.join(doc)}",
            "fix metadata.cluster in the task's YAML",
        )
    ]


def template_problems(task: ConfigurableTask) -> list[InputError]:
    """Checked on rows: faults of templates that put nothing from them into the text: a mistyped
    field, or single braces."""
    fields = list(task.features)
    found: list[InputError] = []
    for name in _TEMPLATES:
        template = getattr(task.config, name)
        if not isinstance(template, str) or template in fields:
            continue
        single = [word for word in _BRACES.findall(template) if word in fields]
        if single:
            found.append(
                InputError(
                    f"{task.config.task}: {name} has {single[0]} in single braces, which stay as "
                    "they are",
                    f"{{{{{single[0]}}}}}",
                    f"double the braces in {name}",
                )
            )
        elif template.strip() and not template.isdecimal() and "{" not in template:
            if name == "doc_to_choice":  # a list in Python's notation, the same in each row
                continue
            found.append(
                InputError(
                    f"{task.config.task}: {name} is {template!r}, neither a field nor a template"
                    f"{suggest(template, fields)}",
                    f"a field ({', '.join(fields)}), or a template such as {{{{{fields[0]}}}}}",
                    f"fix {name} in the task's YAML",
                )
            )
    return found


def _unknown_names(task: ConfigurableTask) -> Iterator[Notice]:
    """Names in templates that no row has, where the template itself says what is used in their
    place (`default`, `is defined`)."""
    for name in _TEMPLATES:
        template = getattr(task.config, name)
        if not isinstance(template, str) or template in task.features:
            continue
        with suppress(TemplateError):  # a fault of each row, or of none
            for unknown in sorted(names_used(template) - set(task.features)):
                yield Notice(
                    f"{name} names {unknown}, a field that the data lacks"
                    f"{suggest(unknown, task.features)}: no row shows anything there",
                    f"correct the name, or take it out of {name}",
                )


class SplitCheck:
    """One check of all rows of a split."""

    def __init__(self, split: Split, task: ConfigurableTask, *, privacy: bool) -> None:
        self.split, self.task = split, task
        self._rolling = task.OUTPUT_TYPE == "loglikelihood_rolling"
        self._chosen = task.OUTPUT_TYPE == "multiple_choice" and not task.multiple_input
        self._privacy = privacy
        # Digests, not texts: a corpus of a million rows is checked in one pass.
        self._answers: dict[bytes, tuple[int, bytes]] = {}  # prompt -> its first row and answer
        self._different_answers: set[bytes] = set()
        self._different_prompts: set[bytes] = set()
        self._contradictory: list[tuple[int, int]] = []
        self._private: defaultdict[str, list[int]] = defaultdict(list)
        self._bad_choices: defaultdict[str, list[int]] = defaultdict(list)
        self._counts: defaultdict[int, list[int]] = defaultdict(list)
        self._trimmed: list[int] = []
        self._given_away: list[int] = []
        # Whole numbers as targets among choices that are numbers, by how they can be read.
        self._numbers: defaultdict[str, list[int]] = defaultdict(list)
        self._damaged: list[int] = []
        self._written_out: defaultdict[str, list[int]] = defaultdict(list)
        self._lengths: Counter[str] = Counter()  # of pairs alone: which answer is the longer one
        self._unreadable: list[FtHarnessError] = []

    def read(self, form: PromptForm) -> Findings:
        """Render every prompt and answer once; rows that can't be rendered are counted, and the
        first is named."""
        task = self.task
        with compiled_templates():
            for row, doc in enumerate(tqdm(task.eval_docs, desc=f"Checking {task.config.task}")):
                try:
                    with rendering_row(task, row):
                        self._read_row(row, doc, form)
                except FtHarnessError as error:
                    self._unreadable.append(error)
                    if len(self._unreadable) == _MOST_UNREADABLE:
                        break
        if not self._unreadable:
            return Findings([*self._faults()], [*self._notices()])
        first, *others = self._unreadable
        if others:
            more = "or more " if len(self._unreadable) == _MOST_UNREADABLE else ""
            what = f"{first.what} ({len(self._unreadable)} {more}such rows)"
            first = type(first)(what, first.expected, first.action)
        return Findings([first, *self._choice_faults()])

    def _read_row(self, row: int, doc: dict[str, Any], form: PromptForm) -> None:
        prompt = "" if self._rolling else prompt_of(self.task, doc, form)
        if not isinstance(prompt, str):  # lm-eval takes a number for that of a whole prompt
            raise InputError(
                "doc_to_text gives a number, and doc_to_target one of the choices",
                "a prompt; where whole prompts are compared, what follows each of them as target",
                "fix doc_to_text in the task's YAML",
            )
        if not form.apply_chat_template and prompt != prompt.rstrip():
            raise InputError(
                f"a prompt ends in white space ({prompt[-20:]!r})",
                "a prompt that ends in text; the blank belongs to target_delimiter",
                "trim doc_to_text in the task's YAML",
            )
        answer = answer_text(self.task, doc)
        if self._chosen:
            self._read_choices(row, self.task.doc_to_choice(doc))
        source = self.task.config.doc_to_target
        written = doc.get(source) if isinstance(source, str) else None
        # with names for its labels (data.labels) the loader has made places of them
        if self._chosen and type(written) is int and LABEL_NAMES not in doc:
            self._note_number(row, written, self.task.doc_to_choice(doc))
        if isinstance(written, str) and written != written.strip():
            self._trimmed.append(row)
        if not self._chosen and _NOTATION.fullmatch(answer):
            self._written_out["answers"].append(row)
        nested = (value for value in doc.values() if isinstance(value, list | dict) and value)
        if any(str(value) in prompt for value in nested):
            self._written_out["prompts"].append(row)
        if is_pair(doc):
            sizes = len(doc[CHOSEN]), len(doc[REJECTED])
            longer = CHOSEN if sizes[0] > sizes[1] else REJECTED if sizes[1] > sizes[0] else "tie"
            self._lengths[longer] += 1
        if not (text := f"{prompt}\n{answer}").isascii() and _DAMAGED.search(text):
            self._damaged.append(row)
        if self._privacy and self.split == "train":
            for kind in find_private(text):
                self._private[kind].append(row)
        if answer.strip() and _ends_in(prompt, answer.strip()):
            self._given_away.append(row)
        if not self._rolling:
            question = text_digest(plain(prompt))
            given = text_digest(*self._right_answers(doc, answer))
            if self._chosen:  # the same question with other choices is another item
                question = text_digest(plain(prompt), *sorted(self.task.doc_to_choice(doc)))
            self._different_prompts.add(question)
            self._different_answers.add(given)
            first, known = self._answers.setdefault(question, (row, given))
            if known != given:
                self._contradictory.append((row, first))

    def _right_answers(self, doc: dict[str, Any], first: str) -> list[str]:
        """All of them, in one order whatever the row's is."""
        if not self.task.multiple_target:
            return [first]
        target = self.task.doc_to_target(doc)
        listed = target if isinstance(target, list) else [target]
        choices = self.task.doc_to_choice(doc) if self._chosen else ()
        return sorted(each if isinstance(each, str) else choices[each] for each in listed)

    def _read_choices(self, row: int, choices: Sequence[str]) -> None:
        self._counts[len(choices)].append(row)
        if len(choices) == 1:
            self._bad_choices["a single choice, which is always right,"].append(row)
        if any(map(is_blank, choices)):
            self._bad_choices["an empty choice"].append(row)
        if len(set(choices)) < len(choices):
            self._bad_choices["equal choices"].append(row)
        elif len(set(map(str.strip, choices))) < len(choices):
            self._bad_choices["choices that differ in white space alone"].append(row)
        if self.task.config.target_delimiter.endswith(" ") and any(
            choice.startswith(" ") for choice in choices
        ):
            self._bad_choices["a choice that begins with a blank after another one"].append(row)

    def _note_number(self, row: int, number: int, choices: Sequence[str]) -> None:
        is_text, is_place = str(number) in choices, 0 <= number < len(choices)
        if is_text and is_place and choices[number] != str(number):
            self._numbers["both"].append(row)
        elif is_text != is_place:
            self._numbers["text" if is_text else "place"].append(row)

    def _choice_faults(self) -> Iterator[InputError]:
        name, rows = self.task.config.task, len(self.task.eval_docs)
        for what, bad in self._bad_choices.items():
            choices = self.task.doc_to_choice(self.task.eval_docs[bad[0]])
            yield InputError(
                f"{name}: {what} in {len(bad)} of {rows} rows ({places(bad)}): "
                f"{repr(choices)[:_SHOWN]}",
                "two or more choices in every row, not empty and different",
                "fix doc_to_choice or these rows",
            )

    def _faults(self) -> Iterator[InputError]:
        yield from self._choice_faults()
        name, rows = self.task.config.task, len(self.task.eval_docs)
        if rows < 2 or self._rolling:
            return
        if len(self._different_prompts) == 1:
            yield InputError(
                f"{name}: all {rows} prompts are equal",
                "a prompt that shows what differs between the rows",
                "name the row's fields in doc_to_text: {{field}}",
            )
        if self._is_answer_constant and self.split == "train":
            yield InputError(
                f"{name}: all {rows} right answers are equal",
                "training rows with different answers",
                "check doc_to_target and the data: a model learns only to repeat this answer",
            )

        if self._numbers["both"] and self._numbers["text"]:
            yield InputError(
                f"{name}: {len(self._numbers['both'])} targets are the text of one choice and the "
                f"place of another ({places(self._numbers['both'])}), next to "
                f"{len(self._numbers['text'])} that can only be texts "
                f"({places(self._numbers['text'])})",
                "targets that are all texts of choices, or all places counted from 0",
                'write the targets as texts ("2"), or as places',
            )

    @property
    def _is_answer_constant(self) -> bool:
        """Whether one answer is right everywhere; a chosen one may be, such as a refusal, since the
        rejected ones differ."""
        return len(self._different_answers) == 1 and not self._lengths

    def _notices_of_texts(self) -> Iterator[Notice]:
        rows, split = len(self.task.eval_docs), self.split
        for kind, private in sorted(self._private.items()):
            yield Notice(
                f"{kind} in {len(private)} of {rows} training rows ({places(private)})",
                "remove or replace them: a model may repeat what it was trained on; "
                "--no-privacy-check skips this search",
            )
        if self._damaged:
            yield Notice(
                f"{len(self._damaged)} of {rows} {split} rows hold what a wrong decoding leaves, "
                f"U+FFFD or two letters for one ({places(self._damaged)})",
                "write the texts again from where they came, in UTF-8",
            )
        if self._trimmed:
            yield Notice(
                f"white space around {len(self._trimmed)} of {rows} {split} answers is left "
                f"out ({places(self._trimmed)})",
                "nothing to do, or trim them in the data",
            )
        for what, written in self._written_out.items():
            yield Notice(
                f"{len(written)} of {rows} {split} {what} hold a list or an object as Python "
                f"writes it ({places(written)})",
                "name what is within it (data.columns takes paths such as a.0.b), and keep "
                "lists in .jsonl or .parquet",
            )

    def _notices(self) -> Iterator[Notice]:
        rows, split = len(self.task.eval_docs), self.split
        yield from self._notices_of_texts()
        if self._is_answer_constant and split != "train" and rows > 1:
            yield Notice(
                f"all {rows} right answers of {split} are equal",
                "check doc_to_target and the data: a constant answer scores 100 %",
            )
        if self._numbers["both"] and not self._numbers["place"]:
            yield Notice(
                f"{len(self._numbers['both'])} of {rows} {split} targets are read as places among "
                f"the choices, counted from 0, and are also texts of other ones "
                f"({places(self._numbers['both'])})",
                'nothing to do if they are places; else write them as texts ("2")',
            )
        if len(self._given_away) >= _NEARLY_ALL * rows:
            yield Notice(
                f"{len(self._given_away)} of {rows} {split} prompts end in their right answer "
                f"({places(self._given_away)})",
                "take the answer out of doc_to_text: a model need only repeat it",
            )
        if self._contradictory:
            pairs = ", ".join(f"{row} and {first}" for row, first in self._contradictory[:_LISTED])
            more = ", ..." if len(self._contradictory) > _LISTED else ""
            yield Notice(
                f"{len(self._contradictory)} of {rows} {split} rows have the prompt of an "
                f"earlier row and another answer (rows {pairs}{more}, counted from 0)",
                "keep one answer for each prompt: no model can get both right",
            )
        for which in (CHOSEN, REJECTED):
            if (longer := self._lengths[which]) >= _NEARLY_ALL * rows:
                yield Notice(
                    f"the {which} answer is the longer one in {longer} of {rows} {split} rows "
                    f"({longer / rows:.1%})",
                    "balance the lengths, or read the report's row 'longer answer wins': a "
                    "model may learn nothing else",
                )
        if len(self._counts) > 1:
            usual = max(self._counts, key=lambda count: len(self._counts[count]))
            other = sorted(row for n, at in self._counts.items() if n != usual for row in at)
            yield Notice(
                f"{len(other)} of {rows} {split} rows have another number of choices than "
                f"{usual} ({places(other)})",
                "check these rows; the chance of guessing right differs between rows",
            )


def _ends_in(prompt: str, answer: str) -> bool:
    """Whether the last words of a prompt are the answer."""
    before = prompt.rstrip().removesuffix(answer)
    return before != prompt.rstrip() and not before[-1:].isalnum()


def check_rows(
    tasks: Mapping[Split, ConfigurableTask], form: PromptForm = PLAIN, *, privacy: bool = True
) -> Findings:
    """Every row of every split.

    Args:
        privacy: look for personal data and keys in the training text.
    """
    # A template that shows nothing of a row makes every row wrong: said once.
    findings = Findings([*template_problems(next(iter(tasks.values())))])
    if not findings.faults:
        for split, task in tasks.items():
            findings.add(SplitCheck(split, task, privacy=privacy).read(form))
        findings.notices += _unknown_names(next(iter(tasks.values())))
    return findings
