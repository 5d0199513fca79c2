"""A task's docs -> token ids and loss mask, at the very boundaries that lm-eval scores.

Text comes from the lm-eval task object itself (`fewshot_context`, `construct_requests`), ids from lm-eval's own
encoding code, so that training and scoring cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ft_harness.errors import InputError
from ft_harness.storage import canonical_json, sha256_text

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.task import ConfigurableTask

_PROMPTS: WeakKeyDictionary[ConfigurableTask, dict[str, str]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Example:
    """One training row.

    Attributes:
        context_ids: the prompt's tokens, BOS included where the tokenizer adds it; cut from the left to fit.
        answer_ids: the answer's tokens, all of which carry loss; EOS last where it is trained.
        truncated: the prompt was cut.
    """

    context_ids: list[int]
    answer_ids: list[int]
    truncated: bool

    @property
    def input_ids(self) -> list[int]:
        """What the model reads, T tokens: everything but the last token."""
        return [*self.context_ids, *self.answer_ids][:-1]

    @property
    def labels(self) -> list[int]:
        """The target of each of the T positions; -100 where no loss is due."""
        return [-100] * (len(self.context_ids) - 1) + self.answer_ids


class Encoder:
    """lm-eval's own tokenisation of requests, without a model.

    The methods are those of lm-eval's `hf` model, called on this object in its place.
    """

    backend = "causal"
    add_bos_token = None

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    @property
    def prefix_token_id(self) -> int:
        """The token that stands for an empty context: BOS, else EOS, as lm-eval chooses."""
        bos = self.tokenizer.bos_token_id
        return int(bos if bos is not None else self.tokenizer.eos_token_id)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None) -> list[int]:
        from lm_eval.models.huggingface import HFLM

        ids: list[int] = HFLM.tok_encode(self, string, add_special_tokens=add_special_tokens)
        return ids

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        from lm_eval.api.model import TemplateLM

        pair: tuple[list[int], list[int]] = TemplateLM._encode_pair(self, context, continuation)
        return pair

    def _loglikelihood_tokens(self, requests: list[Any], disable_tqdm: bool = False) -> list[Any]:
        return [(context, continuation) for _, context, continuation in requests]

    def encode_scored(self, request: Instance) -> tuple[list[int], list[int]]:
        """(context ids, continuation ids) of a log-likelihood request, exactly as lm-eval scores them."""
        from lm_eval.api.model import TemplateLM

        encoded: list[tuple[list[int], list[int]]] = TemplateLM.loglikelihood(self, [request], disable_tqdm=True)
        return encoded[0]

    def encode_generated(self, prompt: str, answer: str) -> tuple[list[int], list[int]]:
        """(prompt ids, ids that the answer adds to them)."""
        context, whole = self.tok_encode(prompt), self.tok_encode(prompt + answer)
        return context, whole[len(context) :]


def prompt_of(task: ConfigurableTask, doc: dict[str, Any]) -> str:
    """The zero-shot prompt of a doc, as lm-eval builds it; rendered once (lm-eval compiles the template each time)."""
    rendered = _PROMPTS.setdefault(task, {})
    key = repr(doc)
    if key not in rendered:
        rendered[key] = task.fewshot_context(doc, 0, gen_prefix=task.doc_to_prefix(doc))
    return rendered[key]


def answer_text(task: ConfigurableTask, doc: dict[str, Any]) -> str:
    """The first right answer of a doc, as text.

    Raises:
        InputError: the gold label is outside the choices.
    """
    target = task.doc_to_target(doc)
    target = target[0] if isinstance(target, list) else target
    if task.config.doc_to_choice is None:
        return str(target)
    choices = task.doc_to_choice(doc)
    if isinstance(target, str) and target in choices:
        return target
    if isinstance(target, int) and 0 <= target < len(choices):
        return str(choices[target])
    raise InputError(
        f"{task.config.task}: label {target!r} is not among the choices",
        f"one of {choices}, or an index",
        "mend the data, or name the labels in data.labels",
    )


def _gold_request(task: ConfigurableTask, doc: dict[str, Any], prompt: str) -> Instance:
    requests = task.construct_requests(doc, prompt, metadata=(task.config.task, 0, 1))
    if not isinstance(requests, list):
        return requests
    delimiter = task.config.target_delimiter
    wanted = f"{delimiter}{answer_text(task, doc)}"
    return next(request for request in requests if request.args[1] == wanted)


def _encode(task: ConfigurableTask, doc: dict[str, Any], encoder: Encoder) -> tuple[list[int], list[int]]:
    prompt = prompt_of(task, doc)
    if prompt != prompt.rstrip():
        raise InputError(
            f"{task.config.task}: a prompt ends in white space ({prompt[-20:]!r})",
            "a prompt that ends in text; the blank belongs to target_delimiter",
            "trim doc_to_text in the task's YAML",
        )
    if task.OUTPUT_TYPE == "generate_until":
        answer = f"{task.config.target_delimiter}{answer_text(task, doc)}"
        context, continuation = encoder.encode_generated(prompt, answer)
    else:
        request = _gold_request(task, doc, prompt)
        answer = request.args[1]
        context, continuation = encoder.encode_scored(request)
    _check_boundary(task, encoder, (prompt, answer), (context, continuation))
    return context, continuation


def _check_boundary(
    task: ConfigurableTask, encoder: Encoder, texts: tuple[str, str], ids: tuple[list[int], list[int]]
) -> None:
    prompt, answer = texts
    context, continuation = ids
    if prompt and encoder.tok_encode(prompt + answer) != [*context, *continuation]:
        raise InputError(
            f"{task.config.task}: the tokens of prompt and answer merge at {prompt[-20:]!r} + {answer[:20]!r}",
            "a boundary that is one for the tokenizer too",
            "change the end of doc_to_text or target_delimiter",
        )
    if not continuation:
        raise InputError(
            f"{task.config.task}: an answer has no tokens ({answer!r})", "a non-empty answer", "mend the data"
        )


def trains_eos(task: ConfigurableTask, loss_on_eos: bool | None) -> bool:
    """Whether EOS carries loss: for generated answers, not for label words scored by likelihood, unless overridden."""
    return task.OUTPUT_TYPE == "generate_until" if loss_on_eos is None else loss_on_eos


def build_examples(
    task: ConfigurableTask, docs: Iterable[dict[str, Any]], tokenizer: Any, max_length: int, *, eos: bool
) -> list[Example]:
    """One training row for each doc.

    Too long rows lose tokens of the prompt, from the left, until the model reads at most `max_length` tokens: lm-eval's
    own rule. The answer is never cut.

    Args:
        eos: put EOS behind the answer and train it.

    Raises:
        InputError: a prompt ends in white space, tokens merge at the boundary, a label is outside the choices, or an
            answer alone exceeds the context.
    """
    from tqdm import tqdm

    encoder = Encoder(tokenizer)
    examples: list[Example] = []
    for doc in tqdm(docs, desc="Building examples"):
        context, answer = _encode(task, doc, encoder)
        answer = [*answer, tokenizer.eos_token_id] if eos else answer
        room = max_length + 1 - len(answer)
        if room < 1:
            raise InputError(
                f"{task.config.task}: an answer has {len(answer)} tokens, the context {max_length}",
                "answers that fit the context",
                "raise model.max_length or shorten the answers",
            )
        examples.append(Example(context[-room:], answer, truncated=len(context) > room))
    return examples


def examples_hash(examples: Sequence[Example]) -> str:
    """Hash of all token ids, in order: equal for equal prompts, data, tokenizer and truncation."""
    return sha256_text(canonical_json([[e.context_ids, e.answer_ids] for e in examples]))[:16]


def mark_trained(example: Example, tokenizer: Any) -> str:
    """The row's text with every token that carries loss in square brackets."""
    trained = "".join(f"[{tokenizer.decode([token])}]" for token in example.answer_ids)
    return f"{tokenizer.decode(example.context_ids)}{trained}"
