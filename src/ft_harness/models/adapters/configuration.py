"""`adapter_config.json` as a stranger may have written it: limits, types of adapter, fields that
run code."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from ft_harness.errors import FtHarnessError, InputError, PolicyError
from ft_harness.models.adapters.card import CONFIG_FILE
from ft_harness.storage.strict_files import read_json

MAX_RANK = 1024  # as in a recipe
TYPES = ("LORA", "IA3")
_CODE = ("auto_map", "custom_pipeline", "megatron_config")  # name modules that would be imported
_SAFE_INITS = (True, False, "gaussian", "orthogonal", "mica", None)
_EMPTY: tuple[Any, ...] = (None, False, "", [], {})
Check = Callable[[dict[str, Any]], tuple[str, str, str] | None]
_NAMING = (
    "target_modules", "exclude_modules", "layers_pattern", "modules_to_save", "feedforward_modules",
    "target_parameters",
)  # fmt: skip
_REPEATS, _MOST_REPEATS = re.compile(r"[*+{]"), 3  # more make an expression that may take for ever


def _code(config: dict[str, Any]) -> str | None:
    """The field that would run code of somebody else's choice."""
    named = [name for name in _CODE if config.get(name)]
    named += [name for name in config if name.startswith("_attn_implementation") and config[name]]
    if config.get("trust_remote_code"):
        named.append("trust_remote_code")
    library = (config.get("auto_mapping") or {}).get("parent_library") or "transformers"
    if str(library).partition(".")[0] != "transformers":
        named.append(f"auto_mapping.parent_library {str(library)[:80]}")
    return named[0] if named else None


def _type(config: dict[str, Any]) -> tuple[str, str, str] | None:
    kind = str(config.get("peft_type"))
    if kind in TYPES:
        return None
    return (
        f"an adapter of type {kind[:40]}",
        f"one of {', '.join(TYPES)}, whose weights can be checked against the base",
        "merge it into its base where it was trained, and score the merged model",
    )


def _rank(config: dict[str, Any]) -> tuple[str, str, str] | None:
    patterns = config.get("rank_pattern") or {}
    ranks = [
        *([config["r"]] if "r" in config else []),
        *(patterns.values() if isinstance(patterns, dict) else [None]),
    ]
    wrong = [rank for rank in ranks if type(rank) is not int or not 1 <= rank <= MAX_RANK]
    if not wrong:
        return None
    return (
        f"a rank of {str(wrong[0])[:40]}",
        f"r and rank_pattern from 1 to {MAX_RANK}",
        "train it with a smaller rank",
    )


def _numbers(config: dict[str, Any]) -> tuple[str, str, str] | None:
    patterns = config.get("alpha_pattern") or {}
    given = {
        "lora_alpha": config.get("lora_alpha"),
        **(patterns if isinstance(patterns, dict) else {"": patterns}),
    }
    for name, value in given.items():
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, (int, float)) or not _finite(value)
        ):
            return (
                f"{name} is {str(value)[:40]}",
                "a finite number",
                "mend the file, or train it again",
            )
    return None


def _finite(value: float) -> bool:
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 1 << 53


def _base_changes(config: dict[str, Any]) -> tuple[str, str, str] | None:
    """Fields with which PEFT changes the base itself on loading: the base's own scores would then
    be another's."""
    init = config.get("init_lora_weights", True)
    if init not in _SAFE_INITS:
        return (
            f"init_lora_weights is {str(init)[:40]}: its start changed the base's weights",
            "an adapter for the base as it is",
            "convert it: save_pretrained(..., path_initial_model_for_weight_conversion=START) in PEFT",
        )
    names = ("layer_replication", "alora_invocation_tokens", "arrow_config", "kasa_config")
    changing = [name for name in names if config.get(name)]
    if not changing:
        return None
    return (
        f"{changing[0]} is {str(config[changing[0]])[:40]}: with it the base can't be scored as it is from one load",
        "an adapter beside the base's own weights",
        "merge it into its base where it was trained, and score the merged model",
    )


def _patterns(config: dict[str, Any]) -> tuple[str, str, str] | None:
    """Names of modules; a string is a regular expression, which a stranger could make endless."""
    for name in _NAMING:
        value = config.get(name)
        texts = value if isinstance(value, list) else [] if value is None else [value]
        if (
            not all(isinstance(text, str) and len(text) <= 1000 for text in texts)
            or len(texts) > 10_000
        ):
            return (
                f"{name} is {str(value)[:40]}",
                "names of modules",
                "mend the file, or train it again",
            )
        if isinstance(value, str) and len(_REPEATS.findall(value)) > _MOST_REPEATS:
            return (
                f"{name} repeats too often: {value[:40]}",
                f"at most {_MOST_REPEATS} of * + {{",
                "list the names",
            )
    return None


def _unknown(config: dict[str, Any]) -> list[str]:
    """Fields that this PEFT doesn't have."""
    known = PEFT_TYPE_TO_CONFIG_MAPPING[config["peft_type"]].__dataclass_fields__
    return sorted(config.keys() - known.keys())


def _news(config: dict[str, Any]) -> tuple[str, str, str] | None:
    set_ones = [name for name in _unknown(config) if config[name] not in _EMPTY]
    if not set_ones:
        return None

    return (
        f"unknown field {set_ones[0][:80]}",
        f"fields of PEFT {peft.__version__}; an unknown one could change what the adapter does",
        f"install PEFT {str(config.get('peft_version') or 'as it was trained with')[:20]} or later",
    )


_CHECKS: tuple[Check, ...] = (_type, _rank, _numbers, _patterns, _base_changes, _news)


def problems(folder: Path) -> list[FtHarnessError]:
    """The first fault of the adapter's configuration, before PEFT reads it."""
    path = folder / CONFIG_FILE
    try:
        config = read_json(path)
        field = _code(config)
    except InputError as error:
        return [error]
    except AttributeError:
        return [
            InputError(f"{path}: auto_mapping is no mapping", "as PEFT writes it", "mend the file")
        ]
    if field:
        return [
            PolicyError(
                f"{path}: {field} names code to be run",
                "a configuration without it; no flag allows it",
                "remove the field if you know that the adapter needs none",
            )
        ]
    for check in _CHECKS:
        if found := check(config):
            what, expected, action = found
            return [InputError(f"{path}: {what}", expected, action)]
    return []


def unread(folder: Path) -> list[str]:
    """A sentence on fields that were left out because they are empty and this PEFT doesn't know
    them."""
    names = _unknown(read_json(folder / CONFIG_FILE))
    return (
        [f"fields of {CONFIG_FILE} that this PEFT doesn't know, all empty: {', '.join(names)}"]
        if names
        else []
    )
