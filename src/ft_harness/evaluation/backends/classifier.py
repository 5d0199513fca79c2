"""The lm-eval model `ft-seqcls`: multiple-choice items answered by a classification head, each doc
computed once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from ft_harness.errors import ConfigError, InputError, NonFiniteError, ResourceError, raise_problems
from ft_harness.evaluation.backends.answer_types import ScoredAnswer
from ft_harness.evaluation.backends.causal import named_base
from ft_harness.evaluation.backends.distributed import DistributedLM
from ft_harness.evaluation.backends.head_batches import try_batches
from ft_harness.evaluation.backends.memory import budget_of
from ft_harness.evaluation.backends.planning import Size, rows_at_most
from ft_harness.evaluation.backends.recovery import Allowance, Effort, complete
from ft_harness.evaluation.backends.store import Ledger, ResponseStore
from ft_harness.models import adapters
from ft_harness.models.adapters import AdapterFolder
from ft_harness.models.base_model import BaseModel, load_base_model, load_config, problems
from ft_harness.models.encoding import refuse_beyond
from ft_harness.models.heads import (
    HEAD_FILE,
    HeadInput,
    HeadPlan,
    check_labels,
    claims_head,
    class_names,
    drawn_labels,
    encode_texts,
    label_names,
    read_logits,
    read_texts,
)
from ft_harness.models.lm_eval_private.models import chat_template_of, render_chat
from ft_harness.recipe import ModelSection
from ft_harness.records import SEQ_CLS

HEAD_BACK_END = "ft-seqcls (softmax float32)"
# of model_args
_OPTIONS = ("peft", "text_fields", "max_length", "dtype", "quantization", "revision")
_PROOF = ("The film was good.", "It was a good film.")


class _HeadWork:
    """Numbered rows on their way through the model, as `complete` computes them."""

    def __init__(
        self, base: BaseModel, rows: Sequence[HeadInput], most: int | None, allowance: Allowance
    ) -> None:
        """`most`: rows of a batch at most, None: as many as memory holds."""
        self.pads = True  # rows of several lengths may share a batch
        self._base = base
        self._rows = rows
        self._most = most
        self._budget = budget_of(base.model)
        self._allowance = allowance

    def numbers(self, batch: list[int]) -> list[int]:
        return batch

    def cost(self, batch: list[int]) -> tuple[int, int]:
        size = Size(len(batch), max(len(self._rows[number].ids) for number in batch), 0, 0)
        return size.width, self._budget.needs(size)

    def compute(self, batch: list[int]) -> dict[int, list[float]]:
        """Log-probability of each label."""
        base = self._base
        if base.head is None:
            raise AssertionError("ft-seqcls is made of a base with a head")
        logits = read_logits(
            base.model, base.head, base.tokenizer, [self._rows[number] for number in batch]
        )
        scores: list[list[float]] = logits.log_softmax(dim=-1).tolist()
        if not all(math.isfinite(value) for row in scores for value in row):
            raise NonFiniteError(
                f"{base.info.pretrained}: a head's logit is NaN or infinite",
                "finite logits",
                "check the weights, or score in float32: --set model.dtype=float32",
            )
        return dict(zip(batch, scores, strict=True))

    def split(self, batch: list[int]) -> list[list[int]]:
        return self.anew(batch) if len(batch) > 1 else []

    def anew(self, numbers: Sequence[int]) -> list[list[int]]:
        """Batches of rows of similar length, longest first."""
        batches: list[list[int]] = []
        # The longest first: what does not fit is known at once, and not after an hour.
        for number in sorted(numbers, key=lambda number: len(self._rows[number].ids), reverse=True):
            wider = [*batches[-1], number] if batches else []
            alike = self.pads or len({len(self._rows[each].ids) for each in wider}) == 1
            few = self._most is None or len(wider) <= self._most
            if wider and alike and few and self._fits(wider):
                batches[-1].append(number)
            else:
                batches.append([number])
        return batches

    def _fits(self, batch: list[int]) -> bool:
        width, needed = self.cost(batch)
        return needed <= self._budget.free and self._allowance.allows(width, needed)


class ClassifierLM(DistributedLM):
    """Answers log-likelihood requests of multiple-choice items by the log-softmax of a head's
    logits.

    Attributes:
        truncated_prompts: prompts of docs whose texts were cut.
        scored_tokens: tokens read, each doc counted once.
        fallback: None; there is one way only.
        effort: what was done to answer so far.
        store: responses that are not computed again; see `ft-causal`.
    """

    fallback: str | None = None

    def __init__(
        self,
        pretrained: str | BaseModel | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
        **options: Any,
    ) -> None:
        """As lm-eval calls it, or over a loaded base.

        Args:
            pretrained: a model folder or hub id, None: the base that `peft` names; or a base loaded
                with a head.
            batch_size: docs of a batch at most; None or "auto": as memory allows.
            max_batch_size: lm-eval passes it; without meaning here.
            device: where to score; None: the device of the loaded model.
            options: peft, text_fields (names joined by +), max_length, dtype, quantization,
                revision.
        """
        # lm-eval's `LM` keeps rank and cache hook, which its evaluator reads.
        super().__init__()
        # `--model_args peft=FOLDER` alone is enough: the adapter names its base.
        name = named_base(options.get("peft")) if pretrained is None else pretrained
        base = name if isinstance(name, BaseModel) else _load(name, options)
        self.base = (
            replace(base, model=base.model.to(device), device=device)
            if device and _is_there(device)
            else base
        )
        if self.base.head is None:
            raise InputError(
                f"{self.base.info.pretrained}: no classification head, which ft-seqcls needs",
                "a base that was loaded with a head",
                f"use ft-causal, or adapter.task_type: {SEQ_CLS}",
            )
        self.head = self.base.head
        self.tokenizer = self.base.tokenizer
        self.most = rows_at_most(batch_size)
        self.truncated_prompts: set[str] = set()
        self.scored_tokens = 0
        self.effort = Effort()
        self.store: ResponseStore | None = None
        self._allowance = Allowance(self.effort)
        self._tried, self._pads = False, True

    @property
    def device(self) -> torch.device:
        """Where lm-eval puts what several processes gather."""
        device: torch.device = self.base.model.device
        return device

    @property
    def budget_bytes(self) -> int:
        """Bytes that a batch may take on top of the weights."""
        return budget_of(self.base.model).free

    # --- requests

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[ScoredAnswer]:
        """(log-probability of the choice, whether it is the likeliest) of each request; a doc is
        computed once.

        Raises:
            InputError: not one request for each label of the head, or other labels.
            NonFiniteError: a logit is NaN or infinite.
            ResourceError: memory is not enough for a doc alone, and nothing takes note of failures.
        """
        items: dict[tuple[Any, Any], dict[int, Any]] = {}
        for request in requests:
            # lm-eval asks one request per choice; a head answers all of them by one pass over the
            # doc.
            items.setdefault((request.task_name, request.doc_id), {}).setdefault(
                request.idx, request
            )
        rows = self._rows([self._first(choices) for choices in items.values()])
        # Once per model: whether its answers depend on padding is a trait of the architecture.
        if not self._tried and self.most != 1:
            self._pads, shares = try_batches(self.base, rows)
            self._tried, self.most = True, self.most if shares else 1
        work = _HeadWork(self.base, rows, self.most, self._allowance)
        work.pads = self._pads
        # By what the head reads: two prompts that are cut to the same tokens have the same answer.
        ledger = Ledger(self.store, (f"head|{row.ids}|{row.types}" for row in rows))
        responses = complete(work.anew(range(len(rows))), work, ledger, self._allowance)
        number = {item: i for i, item in enumerate(items)}
        return [
            self._answer(request, rows, number[request.task_name, request.doc_id], responses)
            for request in requests
        ]

    def _answer(
        self,
        request: Any,
        rows: Sequence[HeadInput],
        number: int,
        responses: dict[int, list[float] | None],
    ) -> ScoredAnswer:
        scores = responses[number]
        if scores is None and self.store is None:
            raise ResourceError(
                f"{self.base.info.pretrained}: out of memory with one doc "
                f"of {len(rows[number].ids)} tokens",
                "memory for each doc alone",
                "lower model.max_length, or set model.quantization",
            )
        best = scores is not None and scores.index(max(scores)) == request.idx
        result = ScoredAnswer((scores[request.idx] if scores else 0.0, best))
        result.tokens = 1  # a label
        result.failed = (
            None
            if scores
            else f"out of memory with {len(rows[number].ids)} tokens; lower model.max_length"
        )
        return result

    def _first(self, choices: dict[int, Any]) -> Any:
        """The first request of an item that has one for each label.

        Raises:
            InputError: it hasn't, or asks about something else than its doc's choices.
        """
        first = next(iter(choices.values()))
        labels, prompts = self.head.plan.labels, {request.args[0] for request in choices.values()}
        if sorted(choices) != list(range(len(labels))) or len(prompts) > 1:
            raise InputError(
                f"{first.task_name}: an item asks about {len(choices)} answers "
                f"after {len(prompts)} prompts, "
                f"the head has {len(labels)} labels ({', '.join(labels)})",
                "multiple-choice items with one request for each label",
                "use a multiple_choice task with as many choices (and without acc_mutual_info)",
            )
        # The head's outputs have no text: that choice 0 is output 0 must be checked by name, or a
        # score is of shuffled labels.
        answers, names = class_names(first.doc, (choices[i].args[1] for i in range(len(labels))))
        check_labels(labels, HeadPlan(names, answers), "the head")
        return first

    def _rows(self, requests: Sequence[Any]) -> list[HeadInput]:
        """What the head reads of each doc, counted."""
        fields = self.head.plan.text_fields
        texts = [read_texts(request.doc, fields, request.args[0]) for request in requests]
        rows = encode_texts(self.tokenizer, texts, self.base.max_length, from_left=fields is None)
        known = self.base.model.get_input_embeddings().weight.shape[0]
        for row in rows:
            refuse_beyond(self.tokenizer, row.ids, known)
        self.scored_tokens += sum(len(row.ids) for row in rows)
        pairs = zip(requests, rows, strict=True)
        self.truncated_prompts |= {request.args[0] for request, row in pairs if row.truncated}
        return rows

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Refused."""
        raise self._refused("running text")

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Refused."""
        raise self._refused("generated answers")

    def _refused(self, what: str) -> InputError:
        return InputError(
            f"{self.base.info.pretrained}: ft-seqcls can't score {what}",
            "a multiple_choice task",
            "use ft-causal for it",
        )

    # --- chat templates: lm-eval's own

    @property
    def tokenizer_name(self) -> str:
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        return chat_template_of(self, chat_template)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        return render_chat(self.tokenizer, chat_history, add_generation_prompt)


# --- from lm-eval's model_args


def _is_there(device: str) -> bool:
    """Whether torch has a device; lm-eval names `cuda` where the user names none."""
    return not device.startswith("cuda") or torch.cuda.is_available()


def _load(pretrained: str, options: dict[str, Any]) -> BaseModel:
    """A base with its head, and an adapter if one is named.

    Raises:
        ConfigError: an unknown option, or neither a trained head nor an adapter that has one.
        InputError: the adapter doesn't fit.
    """
    if unknown := sorted(options.keys() - set(_OPTIONS)):
        raise ConfigError(
            f"ft-seqcls: unknown model argument {unknown[0]}",
            f"pretrained, batch_size, device, {', '.join(_OPTIONS)}",
            "remove it",
        )
    # What is left are fields of the recipe's model section.
    fields = options.pop("text_fields", None)
    peft = options.pop("peft", None)
    adapter = AdapterFolder(adapters.adapter_folder(peft)) if peft else None
    section = ModelSection(pretrained=pretrained, **options)
    raise_problems(problems(section, head=True))
    plan = _plan_of(section, adapter)
    plan = replace(plan, text_fields=tuple(fields.split("+"))) if fields else plan
    base = load_base_model(section, plan)
    if adapter is None:
        return base
    proof = [_PROOF[: len(plan.text_fields or _PROOF[:1])]]
    tuned, _ = adapters.attach(adapter, base, proof, form=None)
    return tuned


def _plan_of(section: ModelSection, adapter: AdapterFolder | None) -> HeadPlan:
    """The head that a model folder or an adapter's folder holds, by what they say of it.

    Raises:
        ConfigError: neither has one.
    """
    config = load_config(section)
    if adapter is None:
        if not claims_head(config):
            raise ConfigError(
                f"{section.pretrained}: a model without a trained classification head",
                "a sequence classification model, or an adapter that has a head",
                "name one with peft=FOLDER, or use ft-causal",
            )
        return HeadPlan(label_names(config), label_names(config))
    init = adapter.path / HEAD_FILE
    fields = adapter.card.recipe["task"].get("text_fields") if adapter.card else None
    labels = _labels_of(adapter, config)
    return HeadPlan(
        labels, labels, tuple(fields) if fields else None, init=init if init.is_file() else None
    )


def _labels_of(adapter: AdapterFolder, config: Any) -> tuple[str, ...]:
    """Label names of an adapter's head; LABEL_0, LABEL_1, ... where nothing names them."""
    init = adapter.path / HEAD_FILE
    if init.is_file() and (names := drawn_labels(init)):
        return names
    if claims_head(config):
        return label_names(config)
    return tuple(f"LABEL_{i}" for i in range(_count_outputs(adapter)))


def _count_outputs(adapter: AdapterFolder) -> int:
    """Outputs of the head in an adapter's file: the fewest rows of the matrices that are saved
    whole.

    Raises:
        InputError: no such matrix, or the file is damaged.
    """
    # What PEFT saves whole besides LoRA's matrices is the head (`modules_to_save`).
    shapes = (info.shape for key, info in adapter.held.items() if ".lora_" not in key)
    outputs = [shape[0] for shape in shapes if len(shape) == 2]
    if not outputs:
        raise InputError(
            f"{adapter.weights}: no classification head in it",
            f"an adapter of the task type {SEQ_CLS}",
            "use ft-causal for it",
        )
    return min(outputs)
