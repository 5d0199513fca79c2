"""A task's docs -> training examples: token ids and loss mask, at the very boundaries that lm-eval
scores; and what is said of their number, their lengths, and rows that were cut.

Text comes from the lm-eval task object itself (`fewshot_context`, `construct_requests`), ids from
lm-eval's own encoding code, so that training and scoring cannot drift apart.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from tqdm import tqdm

from ft_harness.errors import InputError, Notice
from ft_harness.models.encoding import Encoder
from ft_harness.models.lm_eval_private.tasks import compiled_templates
from ft_harness.models.prompts import PLAIN, PromptForm
from ft_harness.storage import canonical_json, sha256_text
from ft_harness.tasks.rendering import answer_index, answer_text

_PROMPTS: WeakKeyDictionary[ConfigurableTask, dict[tuple[PromptForm, str], str]] = (
    WeakKeyDictionary()
)
_BATCH = 1000  # docs that are tokenised together
_CUT_SHARE = 0.05  # of cut prompts, above which `check` warns


@dataclass(frozen=True)
class Example:
    """One training example of an answer: token ids and loss mask.

    Attributes:
        context_ids: the prompt's tokens, BOS included where the tokenizer adds it; cut from the
            left to fit.
        answer_ids: the answer's tokens, all of which carry loss; EOS last where it is trained.
        truncated: the prompt was cut.
        on_prompt: the prompt's tokens carry loss too; its first one, BOS where there is one, is
            only read.
    """

    context_ids: list[int]
    answer_ids: list[int]
    truncated: bool
    on_prompt: bool = False

    @property
    def tokens(self) -> list[int]:
        """The prompt's and the answer's."""
        return [*self.context_ids, *self.answer_ids]

    @property
    def input_ids(self) -> list[int]:
        """What the model reads, T tokens: everything but the last token."""
        return self.tokens[:-1]

    @property
    def labels(self) -> list[int]:
        """The target of each of the T positions; -100 where no loss is due."""
        prompt = self.context_ids[1:] if self.on_prompt else [-100] * (len(self.context_ids) - 1)
        return prompt + self.answer_ids

    @property
    def trained_tokens(self) -> int:
        """Tokens that carry loss."""
        return len(self.answer_ids) + (len(self.context_ids) - 1 if self.on_prompt else 0)

    @property
    def identity(self) -> list[Any]:
        return [self.context_ids, self.answer_ids]


def prompt_of(task: ConfigurableTask, doc: dict[str, Any], form: PromptForm = PLAIN) -> str:
    """The context of a training example: the zero-shot prompt of a doc, as lm-eval builds it;
    rendered once a task object."""
    rendered = _PROMPTS.setdefault(task, {})
    key = (form, repr(doc))
    if key not in rendered:
        rendered[key] = form.render(task, doc)
    return rendered[key]


class _Row(NamedTuple):
    """Prompt and answer as text; `request` is what lm-eval scores, None for a generated answer."""

    prompt: str
    answer: str
    request: Instance | None

    def texts(self) -> tuple[str, str]:
        """What lm-eval's code will encode: it moves white space from the prompt's end into a scored
        answer."""
        return (
            self.prompt if self.request is None else self.prompt.rstrip(),
            self.prompt + self.answer,
        )


def _rows(
    task: ConfigurableTask, doc: dict[str, Any], form: PromptForm, *, both: bool
) -> list[_Row]:
    """The doc's right answer, and behind it the wrong one where both are learnt."""
    prompt = prompt_of(task, doc, form)
    # A scored answer would take the blank over (lm-eval's `_encode_pair`), a generated one not.
    if prompt != prompt.rstrip() and not form.apply_chat_template:
        raise InputError(
            f"{task.config.task}: a prompt ends in white space ({prompt[-20:]!r})",
            "a prompt that ends in text; the blank belongs to target_delimiter",
            "trim doc_to_text in the task's YAML",
        )
    if task.OUTPUT_TYPE == "generate_until":
        return [_Row(prompt, f"{form.delimiter(task)}{answer_text(task, doc)}", None)]
    requests = task.construct_requests(
        doc,
        prompt,
        metadata=(task.config.task, 0, 1),
        apply_chat_template=form.apply_chat_template,
        chat_template=form.chat_template,
    )
    if not isinstance(requests, list):
        return [_Row(prompt, requests.args[1], requests)]
    if both and len(requests) != 2:
        raise InputError(
            f"{task.config.task}: a row has {len(requests)} choices",
            "two where pairs are learnt: the right one and the wrong one",
            "set train.objective: answer, or take another task",
        )
    index = answer_index(task, doc)
    chosen = [requests[index], requests[1 - index]] if both else [requests[index]]
    return [_Row(prompt, request.args[1], request) for request in chosen]


def _encode(
    task: ConfigurableTask, rows: Sequence[_Row], encoder: Encoder
) -> list[tuple[list[int], list[int]]]:
    """(context ids, answer ids) of each row."""
    encoder.prepare(text for row in rows for text in row.texts())
    scored = [row.request for row in rows if row.request is not None]
    encoded = encoder.encode_scored(scored) or [
        encoder.encode_generated(row.prompt, row.answer) for row in rows
    ]
    for row, ids in zip(rows, encoded, strict=True):
        _check_boundary(task, encoder, (row.prompt, row.answer), ids)
    return encoded


def _check_boundary(
    task: ConfigurableTask,
    encoder: Encoder,
    texts: tuple[str, str],
    ids: tuple[list[int], list[int]],
) -> None:
    prompt, answer = texts
    context, continuation = ids
    if prompt and encoder.tok_encode(prompt + answer) != [*context, *continuation]:
        raise InputError(
            f"{task.config.task}: the tokens of prompt and answer merge at {prompt[-20:]!r} + "
            f"{answer[:20]!r}",
            "a boundary that the tokenizer keeps",
            "change the end of doc_to_text (of the chat template, if one is applied) or "
            "target_delimiter",
        )
    if not continuation:
        raise InputError(
            f"{task.config.task}: an answer has no tokens ({answer!r})",
            "a non-empty answer",
            "fix the data",
        )


def trains_eos(task: ConfigurableTask, loss_on_eos: bool | None) -> bool:
    """Whether EOS carries loss: for generated answers, not for label words scored by likelihood,
    unless overridden."""
    return task.OUTPUT_TYPE == "generate_until" if loss_on_eos is None else loss_on_eos


def _closing(task: ConfigurableTask, tokenizer: Any, form: PromptForm) -> list[int]:
    """The tokens that end a generated answer: EOS, or what the chat template and the stop of
    generation ask for."""
    if form.closing_ids is not None:
        return list(form.closing_ids)
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"{task.config.task}: answers must end in EOS, and the tokenizer has none",
            "a tokenizer with an EOS token",
            "use another model, or --set train.loss_on_eos=false",
        )
    return [int(tokenizer.eos_token_id)]


def _check_ends(
    task: ConfigurableTask, tokenizer: Any, ids: tuple[list[int], list[int]], closing: list[int]
) -> None:
    """Check that BOS comes once, at the start, and the closing token once in the answer."""
    context, answer = ids
    bos = tokenizer.bos_token_id
    if bos is not None and context[:1] == [bos] and bos in context[1:3]:
        raise InputError(
            f"{task.config.task}: a prompt starts with two BOS tokens "
            f"({tokenizer.decode(context[:6])!r})",
            "BOS once: from the tokenizer or from the chat template",
            "take BOS out of the chat template or the prompt",
        )
    if closing and answer.count(closing[-1]) > 1:
        raise InputError(
            f"{task.config.task}: an answer holds {tokenizer.decode(closing[-1:])!r} before its "
            "end",
            "answers without the token that ends them",
            "take it out of the data",
        )


def build_examples(
    task: ConfigurableTask,
    docs: Iterable[dict[str, Any]],
    tokenizer: Any,
    max_length: int,
    *,
    eos: bool,
    form: PromptForm = PLAIN,
) -> list[Example]:
    """One training example of an answer for each doc; equal prompts with equal answers share one.

    Too long rows lose tokens of the prompt, from the left, until the model reads at most
    `max_length` tokens: lm-eval's own rule. The answer is never cut.

    Args:
        eos: put EOS (a chat model: what closes its turn) behind the answer and train it.

    Raises:
        InputError: a plain prompt ends in white space, tokens merge at the boundary, BOS or EOS
            occurs twice, a label is outside the choices, or an answer has no tokens or alone
            exceeds the context.
    """
    rows = build_answers(task, docs, (tokenizer, max_length), eos=eos, form=form, both=False)
    return [right for (right,) in rows]


def build_answers(
    task: ConfigurableTask,
    docs: Iterable[dict[str, Any]],
    reader: tuple[Any, int],
    *,
    eos: bool,
    form: PromptForm,
    both: bool,
) -> list[list[Example]]:
    """As `build_examples`, in a list for each doc.

    Args:
        reader: the tokenizer, and the context in tokens.
        both: of two choices the right one, and behind it the wrong one.

    Raises:
        InputError: also where both are asked for and a doc has other than two choices.
    """
    tokenizer, max_length = reader
    encoder = Encoder(tokenizer)
    closing = _closing(task, tokenizer, form) if eos else []
    known: dict[tuple[str, str], Example] = {}
    examples: list[list[Example]] = []
    with compiled_templates():
        left = iter(tqdm(docs, desc="Building examples"))
        while batch := list(islice(left, _BATCH)):
            rows = [_rows(task, doc, form, both=both) for doc in batch]
            fresh = {row[:2]: row for each in rows for row in each if row[:2] not in known}
            for key, (context, answer) in zip(
                fresh, _encode(task, list(fresh.values()), encoder), strict=True
            ):
                _check_ends(task, tokenizer, (context, answer + closing), closing)
                if len(answer + closing) > max_length:
                    inside = [key in [row[:2] for row in each] for each in rows].index(True)
                    raise InputError(
                        f"{task.config.task}: row {len(examples) + inside}: an answer has "
                        f"{len(answer + closing)} tokens, the context {max_length}",
                        "answers that fit the context",
                        "raise model.max_length or shorten the answers",
                    )
                known[key] = _cut(context, answer + closing, max_length)
            examples += [[known[row[:2]] for row in each] for each in rows]
    return examples


def _cut(context: list[int], answer: list[int], max_length: int) -> Example:
    room = max_length + 1 - len(answer)
    return Example(context[-room:], answer, truncated=len(context) > room)


def train_prompts(examples: Sequence[Example]) -> list[Example]:
    """The same training examples with loss on the prompts too; equal rows share one, as before."""
    known: dict[int, Example] = {}
    return [known.setdefault(id(example), replace(example, on_prompt=True)) for example in examples]


class TrainingRow(Protocol):
    """What training examples of all kinds have in common: an answer, a pair of answers, a head's
    label."""

    @property
    def tokens(self) -> list[int]:
        """All tokens, read or to be learnt."""
        ...

    @property
    def input_ids(self) -> list[int]: ...

    @property
    def trained_tokens(self) -> int: ...

    @property
    def truncated(self) -> bool: ...

    @property
    def identity(self) -> list[Any]:
        """The row's ids and targets, as JSON values."""
        ...


def examples_hash(rows: Sequence[TrainingRow]) -> str:
    """Hash of the token ids of all training examples, in order: equal for equal prompts, data,
    tokenizer and truncation."""
    return sha256_text(canonical_json([row.identity for row in rows]))[:16]


def describe_lengths(rows: Sequence[TrainingRow], noun: str = "rows") -> str:
    """What is said of training examples of any kind: how many there are, and how long they are.

    Raises:
        InputError: there are none.
    """
    if not rows:
        raise InputError(
            "the training split is empty", "at least one training row", "check data.source"
        )
    lengths = [len(row.input_ids) for row in rows]
    return (
        f"{len(rows)} training {noun} of {min(lengths)} / {statistics.median(lengths):g} / "
        f"{max(lengths)} tokens (min / median / max)"
    )


def describe_examples(examples: Sequence[Example], eos: bool) -> str:
    """What is said of training examples of answers, in one line.

    Raises:
        InputError: there are no rows.
    """
    lengths = describe_lengths(examples)
    cut = sum(example.truncated for example in examples)
    where = " (prompts too)" if examples[0].on_prompt else ""
    return (
        f"{lengths}, {sum(example.trained_tokens for example in examples)} trained tokens{where}, "
        f"EOS {'trained in each' if eos else 'not trained'}, "
        f"{cut} prompts cut ({cut / len(examples):.1%})"
    )


def cut_notice(examples: Sequence[TrainingRow]) -> Notice | None:
    """What is said of training examples where many prompts were cut: a notice."""
    cut = sum(example.truncated for example in examples)
    if cut / len(examples) <= _CUT_SHARE:
        return None
    return Notice(
        f"{cut} of {len(examples)} training prompts are cut ({cut / len(examples):.1%})",
        "raise model.max_length or shorten the prompts",
    )
