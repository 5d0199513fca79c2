"""A base model that servers compute: connected to, what they report about themselves, and whether
its weights are here to compare."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig

from ft_harness.errors import ConfigError, InputError, suggest
from ft_harness.evaluation.backends.server.client import Client, NoAnswerError
from ft_harness.evaluation.backends.server.pool import Pool
from ft_harness.models import base_model, hub
from ft_harness.models.base_model import (
    BaseModel,
    empty_model,
    fitting_dtype,
    load_tokenizer,
)
from ft_harness.models.folder import weight_files
from ft_harness.models.memory import free_memory_bytes
from ft_harness.paths import model_folder
from ft_harness.recipe import ModelSection, ServerSection
from ft_harness.records import Agreement, ModelInfo
from ft_harness.storage import learn_secrets

_ROOM = 2.0  # times its files, that loading a model may take
_SHORTEST = 16  # tokens of a context that anything can be asked in


class Engine(NamedTuple):
    """What a server reports about its program, model and context.

    Attributes:
        name: program and version.
        models: name -> what /v1/models says of it.
    """

    name: str
    models: Mapping[str, Mapping[str, Any]]

    @property
    def bases(self) -> list[str]:
        """Models that are no adapters of others."""
        # vLLM lists adapters among its models, with their base as the parent.
        return [name for name, said in self.models.items() if not said.get("parent")]


@dataclass(frozen=True, kw_only=True)
class ServedBase(BaseModel):
    """A base model that servers compute, or an adapter of it; `model` is without weights.

    Attributes:
        pool: the servers.
        engine: their program and version.
        name: what they call it.
        weights: the same base on this machine, which it is compared with; None: not at hand.
        agreement: how far it was found to agree; None: not compared yet.
    """

    pool: Pool
    engine: str
    name: str
    weights: BaseModel | None = None
    agreement: Agreement | None = None


def connect(
    section: ModelSection, server: ServerSection, weights: BaseModel | None = None
) -> ServedBase:
    """A recipe's base model as its servers compute it, once they have been asked.

    Its context is one token shorter than the servers', which want room for a token after each
    prompt.

    Args:
        weights: the base on this machine; None: not at hand.

    Raises:
        ConfigError: no server answers, or one has no such model.
        InputError: the servers differ, or their context is too short.
    """
    key = _key(server)
    clients = [
        Client(address, key, server.timeout, server.concurrency) for address in server.addresses
    ]
    found = {client.address: read_engine(client) for client in clients}
    names = {address: _base_name(server, address, engine) for address, engine in found.items()}
    engines = {engine.name for engine in found.values()}
    contexts = {found[address].models[name].get("max_model_len") for address, name in names.items()}
    # Items go to whichever is free: servers that differ would give scores of a mixture.
    if len(engines) > 1 or len(contexts) > 1 or len(set(names.values())) > 1:
        raise InputError(
            f"the servers differ: {', '.join(sorted(engines))}; contexts {contexts}, "
            f"models {', '.join(sorted(set(names.values())))}",
            "the same program, context and model behind each address",
            "start them alike, or leave some out of eval.server.url",
        )
    own = base_model.load_context(section) if weights is None else weights.max_length
    (context,), (engine,) = contexts, engines
    room = own if context is None else min(own, int(context) - 1)
    if room < _SHORTEST:
        raise InputError(
            f"{server.addresses[0]}: a context of {context} tokens",
            f"at least {_SHORTEST + 1}",
            "start the server with a longer one",
        )
    model = _without_weights(section)
    return ServedBase(
        model=model,
        tokenizer=load_tokenizer(section),
        info=_describe(section, model) if weights is None else weights.info,
        max_length=room,
        device="server",
        pool=Pool(clients, server.concurrency, server.timeout),
        engine=engine,
        name=next(iter(names.values())),
        weights=weights,
    )


def _key(server: ServerSection) -> str | None:
    if server.api_key_env is None:
        return None
    key = os.environ.get(server.api_key_env)
    if not key:
        raise ConfigError(
            f"eval.server.api_key_env: the variable {server.api_key_env} is not set",
            "a variable with the server's key",
            f"export {server.api_key_env}=..., or leave api_key_env out",
        )
    # Before the first request: the message of a fault may repeat it.
    learn_secrets({"api_key": key})
    return key


def _without_weights(section: ModelSection) -> Any:
    """The architecture with the settings that the model generates with."""
    model = empty_model(section)
    with suppress(OSError):  # none: those of the configuration
        model.generation_config = GenerationConfig.from_pretrained(
            model_folder(section.pretrained), revision=section.revision or "main"
        )
    model.name_or_path = section.pretrained
    return model


def _describe(section: ModelSection, model: Any) -> ModelInfo:
    """A base whose weights are not at hand.

    Raises:
        InputError: it is to be quantised, which servers do their own way.
    """
    if section.quantization:
        raise InputError(
            f"model.quantization is {section.quantization}, and the weights are not available here",
            "weights to compare the server with: it quantises its own way",
            "leave model.quantization out, or score on this machine",
        )
    dtype = fitting_dtype(section)
    info = base_model.describe(section, model)
    return info if dtype == "auto" else info.model_copy(update={"dtype": dtype})


def read_engine(client: Client) -> Engine:
    """Ask a server about its program, model and context.

    Raises:
        ConfigError: it does not answer.
        InputError: it is no such server.
    """
    try:
        listed = client.get("/v1/models")
    except NoAnswerError as fault:
        raise ConfigError(
            f"{client.address}: no answer ({fault})",
            "a server that runs, with an OpenAI-style API",
            "start it, or correct the address: docs/server.md",
        ) from fault
    entries = listed.get("data") if isinstance(listed, dict) else None
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise InputError(
            f"{client.address}/v1/models lists no models",
            "an OpenAI-style API",
            "check the address: docs/server.md",
        )
    models = {str(each.get("id")): each for each in entries}
    # vLLM names itself there; the API has no field for it.
    program = next((str(each["owned_by"]) for each in entries if each.get("owned_by")), "unknown")
    return Engine(f"{program} {_version(client)}", models)


def _version(client: Client) -> str:
    """The version that a server states at /version, as vLLM does."""
    with suppress(NoAnswerError, InputError):
        said = client.get("/version")
        if isinstance(said, dict) and isinstance(said.get("version"), str):
            return str(said["version"])
    return "of unknown version"


def _base_name(server: ServerSection, address: str, engine: Engine) -> str:
    """What the base is called.

    Raises:
        ConfigError: there is no such model, or there are several.
    """
    if server.model is None and len(engine.bases) == 1:
        return engine.bases[0]
    if server.model is not None and server.model in engine.bases:
        return server.model
    asked = "several base models" if server.model is None else f"no base model {server.model!r}"
    hint = suggest(server.model or "", engine.bases)
    raise ConfigError(
        f"{address} has {asked}{hint}",
        f"one of {', '.join(engine.bases) or 'none'}",
        "set eval.server.model",
    )


def weights_fit(section: ModelSection) -> bool:
    """Whether a served base's weights are also on this machine and fit its memory, so that servers
    can be compared with them."""
    folder: Path | None = Path(model_folder(section.pretrained))
    if folder is None or not folder.is_dir():
        folder = hub.held(section)
    if folder is None:
        return False
    size = sum(file.stat().st_size for file in weight_files(folder))
    devices = {"cpu", "cuda" if torch.cuda.is_available() else "cpu"}  # a server may fill the GPU
    return all(_ROOM * size < free_memory_bytes(device) for device in devices)
