"""`adapter_config.json` as a stranger may have written it: limits, types of adapter, fields that
run code."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import peft
from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from ft_harness.errors import FtHarnessError, InputError, PolicyError, first_line
from ft_harness.records.adapter_files import CONFIG_FILE
from ft_harness.records.adapter_folder import AdapterFolder

MAX_RANK = 1024  # as in a recipe
TYPES = ("LORA", "IA3")
ALL_LINEAR = "all-linear"  # PEFT's word for all linear layers but the output
_CODE = ("auto_map", "custom_pipeline", "megatron_config")  # name modules that would be imported
_SAFE_INITS = (True, False, "gaussian", "orthogonal", "mica", None)
_EMPTY: tuple[Any, ...] = (None, False, "", [], {})
Check = Callable[[dict[str, Any]], tuple[str, str, str] | None]
_NAMING = (
    "target_modules", "exclude_modules", "layers_pattern", "modules_to_save", "feedforward_modules",
    "target_parameters",
)  # fmt: skip
_REPEATS, _MOST_REPEATS = re.compile(r"[*+{]"), 2  # more may take minutes on a long name
_REPEATED_GROUP = re.compile(r"\)[*+{]")  # may take for ever
# the module that a tensor in an adapter's file belongs to, and which part of an adapter it is
_KEY = re.compile(r"base_model\.model\.(.+?)\.(lora_\w+|ia3_l)(?:\..+)?")


def _code(config: dict[str, Any]) -> str | None:
    """The fault of a field that would run foreign code."""
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
                "fix the file, or train it again",
            )
    return None


def _finite(value: float) -> bool:
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 1 << 53


def _base_changes(config: dict[str, Any]) -> tuple[str, str, str] | None:
    """Fields with which PEFT changes the base itself on loading: its scores would then be another
    model's."""
    init = config.get("init_lora_weights", True)
    if init not in _SAFE_INITS:
        return (
            f"init_lora_weights is {str(init)[:40]}: its start changed the base's weights",
            "an adapter for the base as it is",
            "convert it: save_pretrained(..., path_initial_model_for_weight_conversion=START)",
        )
    names = ("layer_replication", "alora_invocation_tokens", "arrow_config", "kasa_config")
    changing = [name for name in names if config.get(name)]
    if not changing:
        return None
    return (
        f"{changing[0]} is {str(config[changing[0]])[:40]}: it changes the base itself, "
        "which then can't be scored from the same load",
        "an adapter that leaves the base's own weights as they are",
        "merge it into its base where it was trained, and score the merged model",
    )


def _names(config: dict[str, Any]) -> tuple[str, str, str] | None:
    """Lists of names; one expression in a list's place is never run (see `peft_config`)."""
    for name in _NAMING:
        value = config.get(name)
        if value is None or isinstance(value, str):
            continue
        texts = value if isinstance(value, list) else [value]
        if len(texts) > 10_000 or not all(
            isinstance(text, str) and len(text) <= 1000 for text in texts
        ):
            return (
                f"{name} is {str(value)[:40]}",
                "names of modules",
                "fix the file, or train it again",
            )
    return None


def _patterns(config: dict[str, Any]) -> tuple[str, str, str] | None:
    """PEFT runs the keys of these two as regular expressions, which a stranger could make
    endless."""
    for name in ("rank_pattern", "alpha_pattern"):
        for key in config.get(name) or {}:
            repeats = len(_REPEATS.findall(key))
            if len(key) > 1000 or repeats > _MOST_REPEATS or _REPEATED_GROUP.search(key):
                return (
                    f"{name} repeats too often: {key[:40]}",
                    f"at most {_MOST_REPEATS} of * + {{, none after a group",
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


_CHECKS: tuple[Check, ...] = (
    _type, _rank, _numbers, _names, _patterns, _base_changes, _news,
)  # fmt: skip


def problems(adapter: AdapterFolder) -> list[FtHarnessError]:
    """The first fault of `adapter_config.json`, before PEFT reads it."""
    path = adapter.path / CONFIG_FILE
    try:
        config = adapter.config
        field = _code(config)
    except InputError as error:
        return [error]
    except AttributeError:
        return [
            InputError(f"{path}: auto_mapping is no mapping", "as PEFT writes it", "fix the file")
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


def _expressions(config: dict[str, Any]) -> list[str]:
    """Fields that choose modules by a regular expression."""
    written = [name for name in _NAMING if isinstance(config.get(name), str)]
    return [
        name
        for name in written
        if config[name] != ALL_LINEAR and not (name == "layers_pattern" and config[name].isalnum())
    ]


def peft_config(adapter: AdapterFolder) -> Any:
    """`adapter_config.json` as PEFT's object.

    A stranger's expression for module names isn't run: the names are those in the weight file.

    Raises:
        InputError: the file has no names, the expression doesn't choose LoRA's modules alone, or
            PEFT refuses a field.
    """
    config = dict(adapter.config)
    if found := _expressions(config):
        config |= _from_weights(adapter, found[0])
    try:
        return PeftConfig.from_peft_type(**config)
    except Exception as error:  # PEFT raises many types for what doesn't suit its fields
        raise InputError(
            f"{adapter.path / CONFIG_FILE}: PEFT refuses it ({first_line(error)})",
            "a configuration as PEFT writes it",
            "fix the file, or train it again",
        ) from error


def _from_weights(adapter: AdapterFolder, field: str) -> dict[str, Any]:
    """What the keys and shapes of the weight file say in place of expressions."""
    modules: dict[str, bool] = {}  # name -> whether it scales what the module reads (IA3)
    for key, info in adapter.held.items():
        if match := _KEY.fullmatch(key):
            modules[match[1]] = match[2] == "ia3_l" and info.shape[:1] == (1,)
    unclear = adapter.config.get("target_parameters") or isinstance(
        adapter.config.get("modules_to_save"), str
    )
    if not modules or unclear:
        raise InputError(
            f"{adapter.path / CONFIG_FILE}: {field} is an expression, which is not run",
            "names of modules, or a weight file that shows them",
            "list the names",
        )
    names: dict[str, Any] = {"target_modules": sorted(modules)}
    if "feedforward_modules" in adapter.config:
        names["feedforward_modules"] = sorted(name for name, reads in modules.items() if reads)
    choosing = ("exclude_modules", "layers_pattern", "layers_to_transform")
    return names | {name: None for name in choosing if name in adapter.config}


def unread(adapter: AdapterFolder) -> list[str]:
    """One sentence on fields of `adapter_config.json` that were left out: empty ones that this PEFT
    doesn't know, and expressions of an adapter without a card."""
    unknown, expressions = _unknown(adapter.config), _expressions(adapter.config)
    found = []
    if unknown:
        names = ", ".join(unknown)
        found.append(f"fields of {CONFIG_FILE} that this PEFT doesn't know, all empty: {names}")
    if expressions and adapter.card is None:
        found.append(
            f"{', '.join(expressions)}: an expression, which was not run; "
            "the modules are those in the weight file"
        )
    return found
