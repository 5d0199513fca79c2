"""How a base model and its tokenizer are loaded: training and scoring alike. Safetensors only, no remote code."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ft_harness.errors import InputError, NonFiniteError
from ft_harness.paths import BUNDLED, bundled_model_dir
from ft_harness.recipe import ModelSection
from ft_harness.records import ModelInfo
from ft_harness.storage import sha256_text

_SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True)
class BaseModel:
    """A loaded base model.

    Attributes:
        model: a transformers causal language model in evaluation mode.
        max_length: context in tokens.
    """

    model: Any
    tokenizer: Any
    info: ModelInfo
    max_length: int
    device: str


def model_folder(pretrained: str) -> str:
    """What transformers is given: the bundled folder, a local folder, or a hub id."""
    return str(bundled_model_dir()) if pretrained == BUNDLED else os.path.expanduser(pretrained)


def problems(section: ModelSection) -> list[InputError]:
    """Faults that show before anything is loaded: a folder that is missing or has no safetensors."""
    folder = Path(model_folder(section.pretrained)).expanduser()
    looks_local = folder.is_absolute() or section.pretrained.startswith((".", "~")) or section.pretrained.count("/") > 1
    if not folder.is_dir():
        if looks_local:
            return [
                InputError(f"{folder}: no such model folder", "a Hugging Face model folder", "check model.pretrained")
            ]
        return []
    if not (folder / "config.json").is_file():
        return [InputError(f"{folder}: no config.json", "a Hugging Face model folder", "check model.pretrained")]
    if not list(folder.glob("*.safetensors")):
        return [
            InputError(
                f"{folder}: no safetensors weights",
                "model.safetensors (pickled weights are not loaded)",
                "convert: AutoModelForCausalLM.from_pretrained(...).save_pretrained(...) in a place you trust",
            )
        ]
    return []


def _sampled_hash(path: Path) -> str:
    """Hash of a weight file's size, head, middle and tail: cheap for 14 GB, changed by any other training."""
    size = path.stat().st_size
    pieces = [str(size)]
    with path.open("rb") as handle:
        for start in (0, size // 2, max(0, size - _SAMPLE_BYTES)):
            handle.seek(start)
            pieces.append(f"{start}:{sha256_text(handle.read(_SAMPLE_BYTES).hex())}")
    return sha256_text("|".join(pieces))


def identity(folder: str, commit: str | None) -> str:
    """Hash of a local folder's configuration, weights and tokenizer, or the commit of a hub model."""
    path = Path(folder)
    if not path.is_dir():
        return f"commit:{commit}"
    names = ["config.json", "tokenizer.json", *sorted(file.name for file in path.glob("*.safetensors"))]
    parts = [f"{name}:{_sampled_hash(path / name)}" for name in names if (path / name).is_file()]
    return f"sha256:{sha256_text('|'.join(parts))[:32]}"


def _hub_options(section: ModelSection) -> dict[str, Any]:
    return {"revision": section.revision or "main", "trust_remote_code": False}


def _unloadable(section: ModelSection, error: Exception) -> InputError:
    reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    return InputError(
        f"{section.pretrained}: the model can't be loaded ({reason})",
        "a causal language model with whole safetensors files, and its tokenizer",
        "check the folder or the hub id; fetch damaged files again",
    )


def load_tokenizer(section: ModelSection) -> Any:
    """The base model's tokenizer, with a padding token.

    Raises:
        InputError: not loadable.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model_folder(section.pretrained), **_hub_options(section))
    except Exception as error:  # transformers and the hub client raise many types here
        raise _unloadable(section, error) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def _load_model(section: ModelSection) -> Any:
    from transformers import AutoModelForCausalLM

    folder = model_folder(section.pretrained)
    try:
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=section.dtype, use_safetensors=True, **_hub_options(section)
        )
    except Exception as error:  # transformers, safetensors and the hub client raise many types here
        raise _unloadable(section, error) from error


def _check_finite(model: Any, name: str) -> None:
    import torch

    for key, tensor in model.named_parameters():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise NonFiniteError(
                f"{name}: the weight {key} holds NaN or infinity", "finite weights", "fetch or make the model again"
            )


def _context(section: ModelSection, config: Any) -> int:
    """Tokens that the model reads: the recipe's, at most its own."""
    own = getattr(config, "max_position_embeddings", None) or 2048
    return min(section.max_length or own, own)


def load_context(section: ModelSection) -> int:
    """The context in tokens, from the configuration alone.

    Raises:
        InputError: not loadable.
    """
    from transformers import AutoConfig

    try:
        return _context(section, AutoConfig.from_pretrained(model_folder(section.pretrained), **_hub_options(section)))
    except Exception as error:  # transformers and the hub client raise many types here
        raise _unloadable(section, error) from error


def load_base_model(section: ModelSection) -> BaseModel:
    """Load the base model of a recipe onto the GPU if there is one, else the CPU.

    Raises:
        InputError: not loadable.
        NonFiniteError: a weight is NaN or infinite.
    """
    import torch

    tokenizer, model = load_tokenizer(section), _load_model(section)
    _check_finite(model, section.pretrained)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    info = ModelInfo(
        pretrained=section.pretrained,
        revision=section.revision,
        identity=identity(model_folder(section.pretrained), getattr(model.config, "_commit_hash", None)),
        dtype=str(model.dtype).removeprefix("torch."),
        parameters=model.num_parameters(),
    )
    max_length = _context(section, model.config)
    return BaseModel(model.to(device).eval(), tokenizer, info, max_length, device)
