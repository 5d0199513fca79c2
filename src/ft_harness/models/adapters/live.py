"""An adapter on its base: attached, proven to change the base's output, and removed without a
trace."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from ft_harness.errors import FtHarnessError, InputError, NonFiniteError, raise_problems
from ft_harness.models.adapters import fit, tokens, whole
from ft_harness.models.adapters.configuration import peft_config
from ft_harness.models.adapters.integrity import (
    BaseName,
    other_base,
    problems,
    unchecked,
    weight_problems,
)
from ft_harness.models.adapters.merging import merged
from ft_harness.models.adapters.originals import Originals, put_back, remember
from ft_harness.models.adapters.targets import dora_problems
from ft_harness.models.base_model import BaseModel
from ft_harness.models.encoding import Encoder
from ft_harness.models.heads import Texts, check_adapter, encode_texts, read_logits
from ft_harness.models.lora_product import quick_products
from ft_harness.models.prompts import PLAIN, PromptForm
from ft_harness.records import AdapterInfo, LiveProof
from ft_harness.records.adapter_folder import AdapterFolder
from ft_harness.storage import redact

logger = logging.getLogger(__name__)

_LABEL_ORDER = "which label each output of the head means: taken in the task's order"
_MOST_DRIFT = 0.5  # of what the adapter changes, that merging alone may change without a warning


def _reading(base: BaseModel, model: Any, prompt: str | Texts) -> Callable[[], Any]:
    """What gives the logits of the token after a prompt, or those of a head for it (or for texts in
    its place)."""
    if base.head is None:
        ids = torch.tensor(
            [Encoder(base.tokenizer).tok_encode(str(prompt))[-base.max_length :]],
            device=model.device,
        )
        last = (
            {"logits_to_keep": 1}
            if "logits_to_keep" in signature(base.model.forward).parameters
            else {}
        )
        return lambda: model(input_ids=ids, **last).logits[0, -1].float()
    texts = (prompt,) if isinstance(prompt, str) else prompt
    rows = encode_texts(base.tokenizer, [texts], base.max_length, from_left=isinstance(prompt, str))
    return partial(read_logits, model, base.head, base.tokenizer, rows)


def _read_all(base: BaseModel, model: Any, prompts: Sequence[str | Texts]) -> list[Any]:
    """The logits of `_reading` for each prompt."""
    with torch.inference_mode():
        return [_reading(base, model, prompt)() for prompt in prompts]


def _prove_live(untuned: Sequence[Any], tuned: Sequence[Any]) -> LiveProof:
    """Compare logits on real prompts, the next token's or a classification head's, of the base and
    with the adapter.

    Raises:
        InputError: the adapter changes nothing.
        NonFiniteError: a logit is NaN.
    """
    changes = [
        float((after - before).abs().max()) for before, after in zip(untuned, tuned, strict=True)
    ]
    if not all(change == change for change in changes):
        raise NonFiniteError(
            "the adapter's logits are NaN",
            "finite logits",
            "train again with a lower learning rate",
        )
    proof = LiveProof(
        prompts=len(changes),
        max_logit_change=max(changes),
        changed_prompts=sum(change > 0 for change in changes),
    )
    if proof.changed_prompts == 0:
        raise InputError(
            "the adapter changes no logit of the base model",
            "an adapter that was trained (B not zero) and is loaded",
            "train it with a higher learning rate or more steps",
        )
    return proof


def _drift(base: BaseModel, model: Any, prompts: Sequence[str | Texts]) -> tuple[float, ExitStack]:
    """Merge the adapter: (the largest change of a logit that merging alone makes, what unmerges it
    again)."""
    # Made once, so that merging is all that differs between the two passes.
    readings = [_reading(base, model, prompt) for prompt in prompts]
    stack = ExitStack()
    with torch.inference_mode(), quick_products(model):
        apart = [read() for read in readings]
    stack.enter_context(merged(model))
    with torch.inference_mode():
        changes = [
            float((read() - before).abs().max())
            for read, before in zip(readings, apart, strict=True)
        ]
    return max(changes), stack


def _problems(
    adapter: AdapterFolder, base: BaseModel, form: PromptForm | None
) -> list[FtHarnessError]:
    """Faults of the adapter for the base that is loaded."""
    if found := problems(adapter, form):
        return found
    rows = base.model.get_input_embeddings().weight.shape[0]
    with torch.device("meta"):
        empty = type(base.model)(base.model.config)
    found = (
        other_base(adapter, _name(base))[0]
        or tokens.compare(adapter.path, base.tokenizer, rows, form)[0]
        or weight_problems(adapter, empty)
    )
    if found or adapter.is_whole:
        return found
    eight_bits = (base.info.quantization or "").startswith("int8")
    reads_weights = eight_bits and adapter.config.get("use_dora")
    return [
        *(dora_problems(f"{adapter}: use_dora") if reads_weights else []),
        *_other_copies(adapter, base),
    ]


def _name(base: BaseModel) -> BaseName:
    return BaseName(base.info.pretrained, base.info.revision, base.info.identity)


def _other_copies(adapter: AdapterFolder, base: BaseModel) -> list[FtHarnessError]:
    """Parameters of the base that the file holds whole: an embedding (as PEFT saves it) must be the
    base's own, a head must not."""
    own, config = base.model.state_dict(), adapter.config
    trained, biases = fit.trained_modules(adapter), config.get("bias", "none") != "none"
    trained |= _tied_modules(base.model, trained) if config.get("ensure_weight_tying") else set()
    head: list[bool] = []  # of each parameter of trained modules, whether it is the base's still
    for key, tensor in fit.read_tensors(adapter.weights).items():
        name = fit.copied_names(key)
        if name not in own or (biases and name.endswith("bias")):
            continue
        same = torch.equal(tensor.to(own[name].device, own[name].dtype), own[name])
        if fit.is_trained(name, trained):
            head.append(same)
        elif not same:
            return [
                InputError(
                    f"{adapter}: {key} is not the base's own {name}",
                    "an adapter that leaves the base's weights as they are",
                    "train it with the module in modules_to_save, or score the merged model",
                )
            ]
    if head and all(head):
        return [
            InputError(
                f"{adapter}: the modules it brings ({', '.join(sorted(trained))}) are the base's, "
                "not a trained copy",
                "modules that were trained",
                "train it again, and check which modules the optimizer was given",
            )
        ]
    return []


def _tied_modules(model: Any, names: set[str]) -> set[str]:
    """Full names of the modules whose weights the model ties to those of these, and of these."""
    pairs = model.all_tied_weights_keys.items()
    tied = (pair for pair in pairs if any(fit.is_trained(key, names) for key in pair))
    return {key.rpartition(".")[0] for pair in tied for key in pair}


def _load(adapter: AdapterFolder, model: Any) -> Any:
    """PEFT's own loading, or all weights in place."""
    if adapter.is_whole:
        whole.load(adapter, model)
        return model
    return PeftModel.from_pretrained(
        model, str(adapter), config=peft_config(adapter), torch_device=str(model.device)
    )


@contextmanager
def attached(
    folder: Path | AdapterFolder,
    base: BaseModel,
    prompts: Sequence[str | Texts],
    form: PromptForm | None = PLAIN,
    *,
    merge: bool = False,
) -> Iterator[tuple[BaseModel, AdapterInfo]]:
    """The base with a checked and proven adapter, as `attach`; on leaving, the base is as it was.

    Args:
        merge: compute with merged weights.

    Raises:
        InputError: as `attach`; or a base in 8 bits to merge into.
        PolicyError, NonFiniteError: as `attach`.
    """
    if merge and (base.info.quantization or "").startswith("int8"):
        raise InputError(
            f"{folder}: eval.merge on a base in 8 bits",
            "a base in 4, 16 or 32 bits: merged 8-bit weights can't be taken apart again",
            "leave eval.merge out, or take model.quantization=nf4",
        )
    tuned, info, originals = _attach(AdapterFolder.of(folder), base, prompts, form)
    try:
        if not merge:
            with quick_products(tuned.model):
                yield tuned, info
            return
        drift, unmerging = _drift(base, tuned.model, prompts)
        effect = (info.live_proof.max_logit_change if info.live_proof else None) or 0.0
        if drift > _MOST_DRIFT * effect:
            logger.warning(
                "%s: merging changes logits by up to %.3g, the adapter itself by %.3g: "
                "most of it may be lost",
                folder, drift, effect,
            )  # fmt: skip
        with unmerging:
            yield tuned, info.model_copy(update={"merge_drift": drift})
    finally:
        _detach(tuned.model, base, originals)


def _detach(model: Any, base: BaseModel, originals: Originals) -> None:
    if model is not base.model:
        model.unload()
    put_back(base.model, originals)


def attach(
    folder: Path | AdapterFolder,
    base: BaseModel,
    prompts: Sequence[str | Texts],
    form: PromptForm | None,
) -> tuple[BaseModel, AdapterInfo]:
    """The base with a checked and proven adapter, for good.

    Args:
        prompts: real ones, on which the adapter must change the model's output.
        form: how they are rendered; None: not known, and not compared.

    Raises:
        InputError: another base, other prompts, texts or tokens than in training, other keys or
            shapes, a damaged file, or no effect.
        PolicyError: pickled weights only, links out of the folder, or a configuration that names
            code.
        NonFiniteError: NaN in the weights or logits.
    """
    tuned, info, _ = _attach(AdapterFolder.of(folder), base, prompts, form)
    return tuned, info


def _attach(
    adapter: AdapterFolder, base: BaseModel, prompts: Sequence[str | Texts], form: PromptForm | None
) -> tuple[BaseModel, AdapterInfo, Originals]:
    """As `attach`, with what gives the base back."""
    raise_problems(_problems(adapter, base, form))
    # a model of which all weights were trained holds its head whole
    whole_head = {"modules_to_save": base.head.modules if base.head else ()}
    unknown = check_adapter(
        adapter.path, whole_head if adapter.is_whole else adapter.config, base.head
    )
    card = adapter.card
    if card is not None and card.model.quantization != base.info.quantization:
        logger.warning(
            "%s was trained on the base %s, it is scored on the base %s; see model.quantization",
            adapter, card.model.quantization or "unquantised",
            base.info.quantization or "unquantised",
        )  # fmt: skip
    if base.head is not None:
        raise_problems(_other_texts(adapter, base.head.plan.text_fields))
        unknown = [*unknown, *([] if card else [_LABEL_ORDER])]
    rows = base.model.get_input_embeddings().weight.shape[0]
    # Before PEFT wraps the modules of the very same model.
    untuned = _read_all(base, base.model, prompts)
    originals = remember(base.model, all_weights=adapter.is_whole)
    model = base.model
    try:
        model = _load(adapter, base.model).eval()
        ends = tokens.own_ends(adapter.path, base.tokenizer) if base.head is None else ()
        info = AdapterInfo(
            name=redact(adapter.path.resolve().name),
            path=str(adapter),
            identity=adapter.identity,
            trainable_parameters=card.trainable_parameters
            if card
            else fit.trained_parameters(adapter),
            ends=list(ends),
            live_proof=_prove_live(untuned, _read_all(base, model, prompts)),
            unchecked=[*unchecked(adapter, _name(base), base.tokenizer, rows), *unknown],
        )
    except BaseException:
        _detach(model, base, originals)
        raise
    return replace(base, model=model, ends=ends), info, originals


def _other_texts(adapter: AdapterFolder, asked: Sequence[str] | None) -> list[FtHarnessError]:
    """A head reads the texts that it was trained on, in their order."""
    if adapter.card is None:
        return []
    trained = adapter.card.recipe.get("task", {}).get("text_fields")
    if list(trained or []) == list(asked or []):
        return []
    return [
        InputError(
            f"{adapter}: its head was trained on {trained or 'the prompt'}, "
            f"asked to read {asked or 'the prompt'}",
            "task.text_fields as in training",
            "set task.text_fields as in the adapter's recipe",
        )
    ]
