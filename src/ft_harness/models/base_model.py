"""Load a base model and its tokenizer, or what is known without its weights. Safetensors only, no
remote code."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from ft_harness import processes
from ft_harness.errors import (
    FtHarnessError,
    InputError,
    NonFiniteError,
    first_line,
    panics_named,
    raise_problems,
)
from ft_harness.models import folder as model_files
from ft_harness.models import (
    heads,
    hub,
    quantization,
    transformers_private,  # noqa: F401  # it replaces what is used below
)
from ft_harness.models.forward_pass import check_causal
from ft_harness.models.generation_settings import load_generation_config
from ft_harness.models.heads import Head, HeadPlan
from ft_harness.models.number_formats import SIXTEEN_BITS, sixteen_bits, stored_dtype
from ft_harness.models.tied import tied_apart, tied_in_files
from ft_harness.models.tokenizer_file import check_tokenizer_file
from ft_harness.paths import is_path, model_folder
from ft_harness.recipe import ModelSection
from ft_harness.records import ModelInfo
from ft_harness.storage import sha256_once, sha256_text

_NUMBERED_BEHIND_PADDING = {
    "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "camembert", "xmod",
    "data2vec-text", "mpnet", "ibert", "longformer", "bigbird_roberta", "luke", "mluke", "esm",
}  # fmt: skip
# everything that decides which tokens a text has and what the model says after them
_IDENTIFYING = {
    "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "bpe.codes",
    "chat_template.json",
}  # fmt: skip
_IDENTIFYING_SUFFIXES = {".safetensors", ".model", ".jinja", ".tiktoken", ".vocab", ".bpe"}
_ANY_TEXT = "a B 7,\n\u00e9 \u8fd9 \U0001f600"  # of which no vocabulary has every part whole
_USUAL_CONTEXT = 2048  # where neither recipe nor architecture has a length


@dataclass(frozen=True)
class BaseModel:
    """A loaded base model.

    Attributes:
        model: a transformers causal language model in evaluation mode, or one with a classification
            head.
        max_length: context in tokens.
        head: the classification head; None: a causal language model.
        ends: tokens that end an answer, besides the model's and the tokenizer's: an adapter's own.
    """

    model: Any
    tokenizer: Any
    info: ModelInfo
    max_length: int
    device: str
    head: Head | None = None
    ends: tuple[int, ...] = ()


def problems(
    section: ModelSection, *, head: bool = False, here: bool = True
) -> list[FtHarnessError]:
    """Faults of a base model that show before weights are loaded: a folder that is missing, damaged
    or leads elsewhere, and weights that can't be quantised as asked.

    Args:
        head: the model is used with a classification head.
        here: on this machine's device; else on a GPU.
    """
    folder = Path(model_folder(section.pretrained))
    if folder.is_dir():
        if found := model_files.problems(folder):
            return found
    elif is_path(section.pretrained):
        return [
            InputError(
                f"{folder}: no such model folder",
                "a Hugging Face model folder",
                "check model.pretrained",
            )
        ]
    try:
        if not head and load_config(section).is_encoder_decoder:
            what = f"{section.pretrained}: an encoder-decoder"
            return [InputError(what, "a causal language model", "score it with --model hf")]
        held = folder if folder.is_dir() else hub.held(section)
        if held not in (None, folder) and (found := model_files.problems(held)):
            return found
        empty = empty_model(section, head=head)
        if not head:
            load_generation_config(section)
        found = [*quantization.problems(section, empty, here=here)]
        return found or (_misfits(section, held, head=head) if held else [])
    except InputError as error:
        return [error]


def _misfits(section: ModelSection, folder: Path, *, head: bool) -> list[FtHarnessError]:
    """Tensors that the configuration has and the files lack, and the other way round, by
    transformers' own matching of names; no weight is read but those that should be tied."""
    config = load_config(section)
    if getattr(config, "quantization_config", None):
        return []  # stored under other names and shapes; looked at when it is loaded
    factory = AutoModelForSequenceClassification if head else AutoModelForCausalLM
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # of transformers: the same, in a table
    try:
        model, report = factory.from_pretrained(
            str(folder), device_map="meta", use_safetensors=True, output_loading_info=True,
            ignore_mismatched_sizes=True, **_hub_options(section),
        )  # fmt: skip
    except Exception as error:  # transformers and safetensors raise many types here
        raise _unloadable(section, error) from error
    finally:
        logging.disable(before)
    return heads.misfits(section.pretrained, model, report, head=head) or tied_in_files(
        section.pretrained, model, model_files.weight_files(folder)
    )


def identity(folder: str, commit: str | None) -> str:
    """Identity of a base model: hash of a local folder's configuration, weights and tokenizer with
    all its settings, or the commit of a hub model. (What it generates with is part of an
    evaluation's settings.)"""
    path = Path(folder)
    if not path.is_dir():
        return f"commit:{commit}"
    files = sorted(
        file
        for file in path.iterdir()
        if file.is_file() and (file.name in _IDENTIFYING or file.suffix in _IDENTIFYING_SUFFIXES)
    )
    parts = [f"{file.name}:{sha256_once(file)}" for file in files]
    return f"sha256:{sha256_text('|'.join(parts))[:32]}"


def hub_files_identity(pretrained: str, commit: str) -> str:
    """As `identity`, of a local folder that holds the same files as a hub model."""
    patterns = {*_IDENTIFYING, *(f"*{suffix}" for suffix in _IDENTIFYING_SUFFIXES)}
    return identity(str(hub.fetch_files(pretrained, commit, patterns)), None)


def _hub_options(section: ModelSection) -> dict[str, Any]:
    return {"revision": section.revision or "main", "trust_remote_code": False}


def _unloadable(section: ModelSection, error: Exception) -> InputError:
    reason = first_line(error, 300)
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
    name = model_folder(section.pretrained)
    folder = Path(name) if Path(name).is_dir() else hub.cached_folder(section)
    if folder is not None:
        for path in sorted(folder.glob("tokenizer*.json")):  # for some versions of transformers
            check_tokenizer_file(path)
    try:
        with panics_named(section.pretrained):
            tokenizer = AutoTokenizer.from_pretrained(name, **_hub_options(section))
            # a setting of another type, or another class than the vocabulary's, shows when it is
            # used
            tokenizer(_ANY_TEXT)
    except FtHarnessError:
        raise
    except Exception as error:  # transformers and the hub client raise many types here
        raise _unloadable(section, error) from error
    # Batches are filled up with it; no position that a model is asked about sees it.
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def empty_model(section: ModelSection, *, head: bool = False, labels: int | None = None) -> Any:
    """A base model on the meta device, from its configuration alone: names and shapes, no weights.

    Args:
        head: with a classification head.
        labels: of the head; None: as many as the configuration has.

    Raises:
        InputError: not loadable.
    """
    factory = AutoModelForSequenceClassification if head else AutoModelForCausalLM
    config = load_config(section)
    if labels is not None:
        config.num_labels = labels
    try:
        with torch.device("meta"):
            return factory.from_config(config, trust_remote_code=False)
    except Exception as error:  # transformers and the hub client raise many types here
        raise _unloadable(section, error) from error


def model_without_weights(section: ModelSection) -> Any:
    """As `empty_model`, with its name and the settings that it generates with.

    Raises:
        InputError: not loadable.
    """
    model = empty_model(section)
    model.generation_config = load_generation_config(section)
    model.name_or_path = section.pretrained
    return model


def fitting_dtype(section: ModelSection) -> str:
    """The dtype in which a base model is loaded: the section's; with `auto` the checkpoint's, 16
    bits as the hardware has them.

    Raises:
        InputError: no configuration.
    """
    if section.dtype != "auto":
        return section.dtype
    return sixteen_bits() if stored_dtype(load_config(section)) in SIXTEEN_BITS else "auto"


def _load_model(
    section: ModelSection, plan: HeadPlan | None, tokenizer: Any
) -> tuple[Any, Head | None]:
    folder, head = model_folder(section.pretrained), None
    files: Path | None = Path(folder)
    if not Path(folder).is_dir() and (files := hub.fetch(section)) is not None:
        raise_problems(model_files.problems(files))
    options = {
        "dtype": fitting_dtype(section),
        **quantization.options(section),
        **_hub_options(section),
    }
    try:
        with processes.kept_from_libraries():
            if plan is not None:
                model, head = heads.load(
                    folder, plan, tokenizer, {"use_safetensors": True, **options}
                )
            else:
                model, report = AutoModelForCausalLM.from_pretrained(
                    folder, use_safetensors=True, output_loading_info=True, **options
                )
                raise_problems(heads.misfits(section.pretrained, model, report, head=False))
    except FtHarnessError:
        raise
    except Exception as error:  # transformers, safetensors and the hub client raise many types here
        raise _unloadable(section, error) from error
    raise_problems(loaded_problems(section, model))
    quantization.keep_as_loaded(model)
    if quantization.describe(model) and files is not None:
        quantization.check_finite(section.pretrained, files)
    return model, head


def loaded_problems(section: ModelSection, model: Any) -> list[FtHarnessError]:
    """Faults of a loaded base model that, for a hub model, show only now: an adapter in it, or tied
    weights that differ."""
    name = section.pretrained
    if getattr(model, "_hf_peft_config_loaded", False):
        return [
            InputError(
                f"{name}: transformers has loaded an adapter with it",
                "a base model alone",
                "give the base that the adapter names as model.pretrained",
            )
        ]
    if quantization.describe(model):
        return []
    # where both are in the files, transformers loads them apart with a warning
    tied = getattr(model.config, "tie_word_embeddings", False) and model._tied_weights_keys
    reading, writing = model.get_input_embeddings(), model.get_output_embeddings()
    if tied and writing is not None and not torch.equal(reading.weight, writing.weight):
        return [tied_apart(name, "the embedding", "the output head")]
    return []


def _context(section: ModelSection, config: Any) -> int:
    """Tokens that the model reads: the recipe's, at most the architecture's own where it has a
    limit.

    RoBERTa and its kin number positions from behind the padding token's id, and so read fewer than
    they have.
    """
    text = config.get_text_config(decoder=True)
    # MPT has its own word for it
    own = getattr(text, "max_position_embeddings", None) or getattr(text, "max_seq_len", None)
    if not isinstance(own, int) or own < 1:  # as with ALiBi: any number of tokens can be read
        return section.max_length or _USUAL_CONTEXT
    if text.model_type in _NUMBERED_BEHIND_PADDING:
        own -= text.pad_token_id + 1
    return min(section.max_length or own, own)


def load_config(section: ModelSection) -> Any:
    """The base model's transformers configuration.

    Raises:
        InputError: not loadable.
    """
    try:
        return AutoConfig.from_pretrained(model_folder(section.pretrained), **_hub_options(section))
    except Exception as error:  # transformers and the hub client raise many types here
        raise _unloadable(section, error) from error


def load_context(section: ModelSection) -> int:
    """The context of a base model in tokens, from the configuration alone.

    Raises:
        InputError: not loadable.
    """
    return _context(section, load_config(section))


def load_vocabulary(section: ModelSection) -> int | None:
    """How many tokens a base model has a row for, from the configuration alone; None: it doesn't
    say.

    Raises:
        InputError: not loadable.
    """
    text = load_config(section).get_text_config(decoder=True)
    size: int | None = getattr(text, "vocab_size", None)
    return size


def describe(section: ModelSection, model: Any, head: Head | None = None) -> ModelInfo:
    """The description of a loaded base model for records and cards."""
    return ModelInfo(
        pretrained=section.pretrained,
        revision=section.revision,
        identity=identity(model_folder(section.pretrained), hub.cached_commit(section)),
        dtype=str(model.dtype).removeprefix("torch."),
        quantization=quantization.describe(model),
        parameters=model.num_parameters(),
        head=head.identity if head else None,
    )


def load_base_model(section: ModelSection, plan: HeadPlan | None = None) -> BaseModel:
    """Load the base model of a recipe onto the GPU if there is one, else the CPU; where processes
    hold parts of it, onto the CPU.

    Args:
        plan: the classification head that it is loaded with; None: a causal language model.

    Raises:
        InputError: not loadable, or no causal language model.
        NonFiniteError: a weight is NaN or infinite.
    """
    tokenizer = load_tokenizer(section)
    model, head = _load_model(section, plan, tokenizer)
    name = section.pretrained
    for key, tensor in model.named_parameters():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise NonFiniteError(
                f"{name}: the weight {key} holds NaN or infinity",
                "finite weights",
                "fetch or make the model again",
            )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    info = describe(section, model, head)
    max_length = _context(section, model.config)
    # a quantised model is there already
    if info.quantization is None and not processes.in_parts():
        model = model.to(device)
    model.eval()
    if head is None:
        check_causal(model, tokenizer, section.pretrained)
    return BaseModel(model, tokenizer, info, max_length, device, head)
