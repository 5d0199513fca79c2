"""Adapters on servers: those that can't be served correctly are refused, missing ones are
loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ft_harness.errors import ConfigError, FtHarnessError, InputError
from ft_harness.evaluation.backends.server.client import Client, NoAnswerError
from ft_harness.evaluation.backends.server.served_base import ServedBase, read_engine
from ft_harness.records.adapter_folder import AdapterFolder

_LOAD = "/v1/load_lora_adapter"
_HASH = 8  # digits of an adapter's identity in the name that it is loaded under
_MERGED = "score it on this machine, or serve the merged model as a base"


def problems(adapter: AdapterFolder, base: ServedBase) -> list[FtHarnessError]:
    """Why servers would score an adapter wrongly or not at all; of several reasons the first."""
    if adapter.is_whole:
        return [_refusal(adapter, "all weights of the model were trained")]
    found = _unserved(adapter.config) or _trained_ends(adapter, base.model)
    return [_refusal(adapter, found)] if found else []


def _refusal(adapter: AdapterFolder, reason: str) -> InputError:
    return InputError(f"{adapter}: {reason}", "a LoRA of linear layers alone", _MERGED)


def _unserved(config: Mapping[str, Any]) -> str | None:
    """What of the configuration servers leave out; vLLM refuses most of it, not all in all
    versions."""
    if config.get("peft_type") != "LORA":
        return f"an adapter of type {config.get('peft_type')}, but servers load only LoRA"
    if config.get("bias", "none") != "none" or config.get("lora_bias"):
        return "it has biases, which servers don't load"
    names = ("use_dora", "modules_to_save", "trainable_token_indices", "use_qalora", "use_bdlora")
    set_ones = [name for name in names if config.get(name)]
    return f"{set_ones[0]}, which servers don't apply" if set_ones else None


def _trained_ends(adapter: AdapterFolder, model: Any) -> str | None:
    """Embedding or output head among the adapted modules. vLLM leaves an adapter of the head out of
    log-likelihoods within a prompt."""
    # By identity, as architectures have other names for them, and may tie them.
    ends = {id(model.get_input_embeddings()), id(model.get_output_embeddings())}
    names = [name for name, module in model.named_modules() if id(module) in ends]
    for key in adapter.held:
        if name := next((name for name in names if f".{name}.lora_" in key), None):
            return f"it adapts {name}, which servers leave out of log-likelihoods of prompts"
    return None


def find_name(adapter: AdapterFolder, base: ServedBase, names: Mapping[str, str]) -> str:
    """The adapter's name on all servers; those that lack it are asked to load it from its folder.

    One that is loaded so has part of its identity in its name, so that no older adapter of the same
    name is taken for it.

    Args:
        names: an adapter's name on the servers, by its folder's.

    Raises:
        ConfigError: a name that no server has.
        InputError: a server doesn't load it.
    """
    own = adapter.path.resolve().name
    engines = {client: read_engine(client) for client in base.pool.clients}
    asked = names.get(own, own)
    if all(asked in engine.models for engine in engines.values()):
        return asked
    if own in names:
        lacking = next(c.address for c, engine in engines.items() if asked not in engine.models)
        raise ConfigError(
            f"eval.server.adapters: {lacking} has no {asked!r}",
            "names that every server lists at /v1/models",
            f"correct it, or leave {own} out to have it loaded",
        )
    loaded = f"{own}-{adapter.identity.removeprefix('sha256:')[:_HASH]}"
    for client, engine in engines.items():
        if loaded not in engine.models:
            _load(client, loaded, adapter)
    return loaded


def _load(client: Client, name: str, adapter: AdapterFolder) -> None:
    """Ask a server to load an adapter from a folder that it sees too.

    Raises:
        InputError: it doesn't, because of its settings or of the adapter.
    """
    # The whole path, as a server has a working folder of its own.
    body = {"lora_name": name, "lora_path": str(adapter.path.resolve())}
    try:
        client.post(_LOAD, body)
    except (NoAnswerError, InputError) as error:
        reason = error.what if isinstance(error, InputError) else f"{client.address}: {error}"
        raise InputError(
            f"{adapter} was not loaded by {reason}",
            "a server that has the adapter, or loads adapters (VLLM_ALLOW_RUNTIME_LORA_UPDATING), "
            "sees the same folder, and has a --max-lora-rank as large as its rank",
            f"start it with --enable-lora --lora-modules {adapter.path.name}=FOLDER: "
            "docs/server.md",
        ) from error
