"""A head's weights: found in the checkpoint or drawn, kept in a file in the adapter's folder, and
checked when one is scored."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from transformers import AutoConfig, AutoModelForSequenceClassification

from ft_harness.errors import FtHarnessError, InputError, raise_problems
from ft_harness.models.heads.plan import check_head_labels
from ft_harness.models.heads.types import Head, HeadPlan
from ft_harness.records import SEQ_CLS
from ft_harness.records.adapter_files import HEAD_FILE
from ft_harness.storage import sha256_text, write_bytes

_POOLER = re.compile(r"(^|\.)[^.]*pool[^.]*$")
_HUB = ("revision", "trust_remote_code")


def load(
    folder: str, plan: HeadPlan, tokenizer: Any, options: Mapping[str, Any]
) -> tuple[Any, Head]:
    """Load a transformers sequence classification model; what the checkpoint lacks of its head is
    drawn.

    The head computes in float32 whatever the base's dtype, and is never quantised.

    Args:
        options: of `from_pretrained`.

    Raises:
        InputError: labels that are not the task's, missing weights that belong to no head, or no
            padding token.
    """
    config = AutoConfig.from_pretrained(
        folder, **{key: options[key] for key in _HUB if key in options}
    )
    check_head_labels(config, plan)
    _prepare_config(config, plan, tokenizer)
    quantization = options.get("quantization_config")
    # bitsandbytes would pack a head that is still to be drawn.
    if quantization is not None:
        quantization.llm_int8_skip_modules = _unquantised(config)
    model, report = AutoModelForSequenceClassification.from_pretrained(
        folder, config=config, output_loading_info=True, **options
    )
    raise_problems(misfits(folder, model, report, head=True))
    drawn = _absent(model, report["missing_keys"])
    modules = tuple(sorted({*own_modules(model), *drawn}))
    for name in modules:
        _compute_in_float32(model.get_submodule(name))
    _fill(model, drawn, plan)
    identity = _hash(_tensors(model, drawn)) if drawn else None
    return model, Head(
        plan, modules, drawn, identity, (getattr(config, "type_vocab_size", None) or 0) > 1
    )


def _prepare_config(config: Any, plan: HeadPlan, tokenizer: Any) -> None:
    """Put labels and padding into the configuration: by its padding token a decoder finds the last
    token of a row."""
    if tokenizer.pad_token_id is None:
        raise InputError(
            "the tokenizer has no padding, EOS or unknown token",
            "a token that fills up the shorter rows of a batch",
            "add a pad_token to the tokenizer",
        )
    config.id2label = dict(enumerate(plan.labels))
    config.label2id = {name: i for i, name in enumerate(plan.labels)}
    config.problem_type = "single_label_classification"
    # The decoder of a composite model has a configuration of its own.
    for part in (config, config.get_text_config()):
        part.pad_token_id = tokenizer.pad_token_id
        part.use_cache = False


def _unquantised(config: Any) -> list[str]:
    """Modules of the head, and what may be one, by the architecture alone."""
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    return [
        *own_modules(model),
        *(name for name, _ in model.named_modules() if _POOLER.search(name)),
    ]


def own_modules(model: Any) -> tuple[str, ...]:
    """Names of the modules of a sequence classification model that are its head: with weights, and
    not in its backbone."""
    children = (
        (name, child) for name, child in model.named_children() if name != model.base_model_prefix
    )
    return tuple(name for name, child in children if any(True for _ in child.parameters()))


def _absent(model: Any, missing: Iterable[str]) -> tuple[str, ...]:
    """The largest modules without any weight in the checkpoint, sorted."""
    lacking = set(missing)
    return tuple(sorted({_outermost(model, key.rpartition(".")[0], lacking) for key in lacking}))


def misfits(
    name: str, model: Any, report: Mapping[str, Any], *, head: bool
) -> list[FtHarnessError]:
    """After a model with a head was loaded: tensors of its checkpoint that aren't those of the
    model, by transformers' report of loading: missing, of other shapes, or of no use.

    Args:
        name: of the model, for the message.
        head: with a classification head, which a checkpoint may lack, as it may have another.
    """
    heads = own_modules(model) if head else ()
    missing = sorted(
        module
        for module in _absent(model, report["missing_keys"])
        if not (head and (module in heads or _POOLER.search(module)))
    )
    shapes = sorted(str(each[0]) for each in report["mismatched_keys"])
    backbone = f"{model.base_model_prefix}."
    unused = sorted(
        key
        for key in report["unexpected_keys"]
        if not (head and not key.startswith(backbone))
        and not _POOLER.search(key.rpartition(".")[0])
    )
    for found, what in (
        (missing, "the checkpoint lacks the weights of"),
        (shapes, "config.json has other shapes than the checkpoint's"),
        (unused, "config.json has no place for the checkpoint's"),
    ):
        if found:
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            return [
                InputError(
                    f"{name}: {what} {', '.join(found[:3])}{more}",
                    "exactly the tensors that config.json describes"
                    + (", but for a classification head" if head else ""),
                    "fetch the model again, or give config.json the sizes that the weights have",
                )
            ]
    return []


def _outermost(model: Any, name: str, lacking: set[str]) -> str:
    """The outermost module around `name` with every weight missing; `name` itself if it has one
    left."""
    parts = name.split(".")
    for depth in range(1, len(parts)):
        outer = ".".join(parts[:depth])
        if {
            f"{outer}.{key}" for key, _ in model.get_submodule(outer).named_parameters()
        } <= lacking:
            return outer
    return name


def _compute_in_float32(module: Any) -> None:
    """Half precision is too coarse for the small steps by which a head learns; what it reads is
    widened to match."""

    def widen(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(value.float() for value in inputs)

    module.float()
    module.register_forward_pre_hook(widen)


def _parameters(model: Any, drawn: Iterable[str]) -> dict[str, Any]:
    """The drawn parameters by their full names, sorted."""
    found = {
        f"{name}.{key}": p
        for name in drawn
        for key, p in model.get_submodule(name).named_parameters()
    }
    return dict(sorted(found.items()))


def _tensors(model: Any, drawn: Iterable[str]) -> dict[str, Any]:
    return {
        key: parameter.detach().cpu().contiguous()
        for key, parameter in _parameters(model, drawn).items()
    }


def _fill(model: Any, drawn: tuple[str, ...], plan: HeadPlan) -> None:
    """Weights from the plan's file, or drawn as transformers does: N(0, initializer_range), biases
    0, norms 1.

    Drawn in float32 on the CPU from a generator of its own, so that they depend on the seed and the
    shapes alone.
    """
    parameters = _parameters(model, drawn)
    stored = read_init(plan.init) if plan.init else None
    if stored is not None and {k: v.shape for k, v in stored.items()} != {
        k: p.shape for k, p in parameters.items()
    }:
        raise InputError(
            f"{plan.init}: holds {', '.join(stored) or 'nothing'}, "
            "of other names or shapes than this base's head",
            ", ".join(parameters) or "no file: the checkpoint has a trained head",
            "use the base model and the task that the head was drawn for",
        )
    spread = getattr(model.config.get_text_config(), "initializer_range", None) or 0.02
    generator = torch.Generator().manual_seed(plan.seed)
    with torch.no_grad():
        for key, parameter in parameters.items():
            if stored is not None:
                parameter.copy_(stored[key])
            elif parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
            else:
                parameter.fill_(0.0 if key.endswith("bias") else 1.0)


def _hash(tensors: Mapping[str, Any]) -> str:
    parts = [
        f"{key}:{tuple(value.shape)}:{value.numpy().tobytes().hex()}"
        for key, value in sorted(tensors.items())
    ]
    return f"sha256:{sha256_text('|'.join(parts))[:32]}"


# --- the file of drawn weights ---


def write_init(folder: Path, model: Any, head: Head) -> None:
    """Write the drawn weights of a loaded base's head into an adapter's folder; nothing where none
    were drawn."""
    if head.drawn:
        write_bytes(folder / HEAD_FILE, save(_tensors(model, head.drawn), _about(head.plan)))


def _about(plan: HeadPlan) -> dict[str, str]:
    return {"seed": str(plan.seed), "labels": json.dumps(plan.labels)}


def _metadata(path: Path) -> dict[str, str]:
    """The metadata of a file of drawn weights: `seed` and `labels` (a JSON list).

    Raises:
        InputError: the file is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def drawn_labels(path: Path) -> tuple[str, ...]:
    """The names of a head's labels in the file of its drawn weights; empty where it has none.

    Raises:
        InputError: the file is damaged.
    """
    try:
        names = json.loads(_metadata(path).get("labels", "[]"))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _damaged(path, ValueError("its labels are no list of names"))
    return tuple(names)


def find_init(folder: Path, plan: HeadPlan) -> Path | None:
    """The file of a head's drawn weights in an adapter's own folder, if it was drawn for this plan;
    None: draw anew."""
    path = folder / HEAD_FILE
    return path if path.is_file() and _metadata(path) == _about(plan) else None


def read_init(path: Path) -> dict[str, Any]:
    """The drawn weights of a head, from their file.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        tensors: dict[str, Any] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error
    return tensors


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: damaged ({error})",
        "a whole safetensors file",
        "restore it, or train the adapter again",
    )


# --- adapters ---


def check_adapter(folder: Path, config: Mapping[str, Any], head: Head | None) -> list[str]:
    """An adapter's head weights must be trained, from the very head that the base has; returns what
    can't be checked, one line each.

    Args:
        config: the adapter's PEFT configuration.
        head: of the loaded base; None: a causal language model.

    Raises:
        InputError: the adapter lacks the head, or was trained from another freshly drawn one.
    """
    if head is None:
        return []
    saved = config.get("modules_to_save") or []
    untrained = [
        name for name in head.drawn if not any(f".{name}".endswith(f".{each}") for each in saved)
    ]
    if untrained:
        raise InputError(
            f"{folder}: the adapter has no weights of the head's {', '.join(untrained)}, "
            "which would stay as drawn",
            "a trained classification head in the adapter",
            f"train it with task_type={SEQ_CLS} and modules_to_save={list(head.modules)}",
        )
    path = folder / HEAD_FILE
    if not path.is_file():
        unknown = f"the head that it was trained from: the folder has no {HEAD_FILE}"
        return [unknown] if head.drawn else []
    if _hash(read_init(path)) != head.identity:
        raise InputError(
            f"{path}: another head than the base was loaded with "
            f"({head.identity or 'a trained one'})",
            "one freshly drawn head for base and adapter",
            "score this adapter by itself: ft-harness eval RECIPE --adapter FOLDER",
        )
    return []
