"""4-bit and 8-bit weights through bitsandbytes: how to load a model with them, and under which
conditions."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import safe_open
from transformers import BitsAndBytesConfig
from transformers.pytorch_utils import Conv1D
from transformers.quantizers.base import HfQuantizer
from transformers.quantizers.quantizers_utils import should_convert_module

from ft_harness.errors import InputError, NonFiniteError
from ft_harness.models.folder import weight_files
from ft_harness.recipe import ModelSection

CPU_MULTIPLE = 32  # of output dimensions, in bitsandbytes' 4-bit layout for CPUs


def compute_dtype(section: ModelSection) -> str:
    """The dtype that a quantised model computes in, and keeps its other weights in: the section's;
    with `auto` bfloat16 on a GPU that has it, else float32."""
    if section.dtype != "auto":
        return section.dtype
    return "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"


def options(section: ModelSection) -> dict[str, Any]:
    """The arguments of `from_pretrained` that load quantised weights; empty for a section without
    quantisation."""
    if section.quantization is None:
        return {}
    dtype = compute_dtype(section)
    if section.quantization == "int8":
        config = BitsAndBytesConfig(load_in_8bit=True)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=getattr(torch, dtype),
        )
    return {
        "quantization_config": config,
        "dtype": dtype,
        "device_map": {"": "cuda" if torch.cuda.is_available() else "cpu"},
    }


def section_of(kind: str, pretrained: str, dtype: str) -> ModelSection:
    """The model section that corresponds to lm-eval's model arguments with `quantization`.

    Raises:
        InputError: values that a recipe wouldn't take.
    """
    try:
        section = {
            "pretrained": pretrained,
            "quantization": kind,
            "dtype": dtype.removeprefix("torch."),
        }
        return ModelSection.model_validate(section)
    except ValidationError as error:
        raise InputError(
            f"the model arguments quantization={kind}, dtype={dtype}",
            "quantization nf4 or int8; dtype auto, float32, bfloat16 or float16",
            "change them, or leave them out",
        ) from error


def describe(model: Any) -> str | None:
    """How a loaded model is quantised, as "nf4, double quantised, compute bfloat16"; None: it
    isn't."""
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return None
    if not hasattr(config, "load_in_8bit"):
        return str(config.quant_method)
    if config.load_in_8bit:
        return f"int8, outliers above {config.llm_int8_threshold:g} in 16 bits"
    double = "double quantised, " if config.bnb_4bit_use_double_quant else ""
    dtype = str(config.bnb_4bit_compute_dtype).removeprefix("torch.")
    return f"{config.bnb_4bit_quant_type}, {double}compute {dtype}"


def keep_as_loaded(model: Any) -> None:
    """Keep a quantised model's weights as they were loaded.

    On CPUs with bfloat16 instructions bitsandbytes repacks 4-bit weights at the first forward pass
    without gradients: from then on it computes in bfloat16 whatever was asked for, rounds the
    scales, and passes no gradient on, so that an adapter trained after its base was scored would
    differ from one trained before, or learn nothing.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    # one line for each layer that 8-bit products are made of 16-bit inputs
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)


def _stored_problems(section: ModelSection, found: dict[str, Any]) -> list[InputError]:
    """Faults of a model whose own weights are quantised: bitsandbytes' are loaded as they are,
    others are refused."""
    method = str(
        found.get("quant_method")
        or ("bitsandbytes" if "load_in_4bit" in found else "an unnamed method")
    )
    if method != "bitsandbytes":
        return [
            InputError(
                f"{section.pretrained}: its weights are quantised by {method[:40]}",
                "unquantised weights, or bitsandbytes' 4 or 8 bits",
                "use the unquantised model, with model.quantization: nf4 or int8 to save memory",
            )
        ]
    if section.quantization is not None:
        return [
            InputError(
                f"{section.pretrained}: its weights are quantised already, "
                "model.quantization asks for it again",
                "one of the two",
                "leave model.quantization out, or use the unquantised model",
            )
        ]
    return []


def problems(section: ModelSection, empty: Any, *, here: bool = True) -> list[InputError]:
    """Faults of a model's quantisation, by its configuration and shapes.

    Args:
        empty: the model on the meta device.
        here: on this machine's device; else on a GPU.
    """
    own = getattr(empty.config, "quantization_config", None) or {}
    own = own if isinstance(own, dict) else own.to_dict()
    if own and (found := _stored_problems(section, own)):
        return found
    four_bits = section.quantization == "nf4" or own.get("load_in_4bit", False)
    on_cpu = here and not torch.cuda.is_available()
    odd = _odd_modules(empty, own.get("llm_int8_skip_modules")) if four_bits and on_cpu else []
    if not odd:
        return []
    return [
        InputError(
            f"{section.pretrained}: {len(odd)} modules can't be held in 4 bits on a CPU, "
            f"first {', '.join(odd[:3])}",
            f"output dimensions that are multiples of {CPU_MULTIPLE}",
            "run it on a GPU, or with --set model.quantization=int8 or null",
        )
    ]


def _odd_modules(empty: Any, skipped: list[str] | None) -> list[str]:
    """Modules to be quantised, with their output dimensions, that bitsandbytes' 4-bit layout for
    CPUs can't hold."""
    kept = HfQuantizer.get_modules_to_not_convert(empty, skipped, empty._keep_in_fp32_modules)
    sizes = {
        name: module.nf if isinstance(module, Conv1D) else module.out_features
        for name, module in empty.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D)) and should_convert_module(name, kept)
    }
    return [f"{name} ({size})" for name, size in sizes.items() if size % CPU_MULTIPLE]


def check_finite(name: str, folder: Path) -> None:
    """Check the stored weights of a quantised model, tensor by tensor: rounding to few bits may
    hide a NaN, depending on the hardware.

    Args:
        name: of the model, for the message.
        folder: that holds its files.

    Raises:
        NonFiniteError: a weight is NaN or infinite.
    """
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - not a mapping
                tensor = file.get_tensor(key)
                if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
                    raise NonFiniteError(
                        f"{name}: the weight {key} holds NaN or infinity",
                        "finite weights",
                        "fetch or make the model again",
                    )
