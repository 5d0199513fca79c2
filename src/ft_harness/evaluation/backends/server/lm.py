"""The lm-eval model `ft-server`: lm-eval's own tokenisation and truncation, log-likelihoods and
texts by servers."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from ft_harness.errors import ConfigError, expected_values, raise_problems, suggest
from ft_harness.evaluation.backends.causal import named_base
from ft_harness.evaluation.backends.requests import RequestLM
from ft_harness.evaluation.backends.server import adapters
from ft_harness.evaluation.backends.server.proof import make_probes, prove_adapter, prove_base
from ft_harness.evaluation.backends.server.scorer import ServerGenerator, ServerScorer
from ft_harness.evaluation.backends.server.served_base import ServedBase, connect, weights_fit
from ft_harness.models import base_model
from ft_harness.models.adapters import AdapterFolder, adapter_folder
from ft_harness.models.adapters import problems as adapter_problems
from ft_harness.models.encoding import prefix_token
from ft_harness.recipe import ModelSection, ServerSection

_MODEL = ("revision", "dtype", "max_length")
_SERVER = ("url", "model", "concurrency", "timeout", "api_key_env")
_ADAPTER = ("peft", "adapter")
_PROOF = (  # no doc is known when lm-eval makes a model
    ("The film was", " good"),
    ("The film was", " bad"),
    ("A child reads a", " book"),
    ("The man went to the", " house of his old friend"),
    ("One, two, three, four,", " five"),
    ("Question: Is it warm today? Answer:", " yes"),
    ("Question: Is it warm today? Answer:", " no"),
    ("She opened the door and saw", " a small dog"),
)


class ServerLM(RequestLM):
    """The lm-eval model of a base that servers compute, or of an adapter of it."""

    fallback = None
    budget_bytes = None

    def __init__(
        self,
        pretrained: Any = None,
        batch_size: Any = None,
        device: Any = None,
        seed: int = 1234,
        **options: Any,
    ) -> None:
        """As `eval.server` in a recipe; what is scored is proven first.

        Args:
            pretrained: a served base; or as lm-eval's model argument, None: the base that the
                adapter names.
            batch_size: no use is made of it, nor of `device` and `max_batch_size`.
            seed: of sampled decoding.
            options: lm-eval's model arguments: those of eval.server, with + between several
                addresses; revision, dtype, max_length; peft, an adapter's folder, and adapter, its
                name on the server.
        """
        options.pop("max_batch_size", None)
        given = isinstance(pretrained, ServedBase)
        base = pretrained if given else _connect(pretrained, options)
        super().__init__(
            pretrained=base.model,
            tokenizer=base.tokenizer,
            max_length=base.max_length,
            prefix_token_id=prefix_token(base.tokenizer),
        )
        self.scorer = ServerScorer(base)
        self.generator = ServerGenerator(base, self.scorer, seed)


def _connect(pretrained: str | None, options: dict[str, Any]) -> ServedBase:
    """A proven base, or adapter, of lm-eval's model arguments.

    Raises:
        ConfigError: an unknown argument, or one that is missing.
        InputError: as `connect`, `prove_base` and `prove_adapter`.
    """
    known = (*_MODEL, *_SERVER, *_ADAPTER)
    if unknown := sorted(options.keys() - set(known)):
        raise ConfigError(
            f"ft-server has no model argument {unknown[0]}{suggest(unknown[0], known)}",
            f"pretrained, {', '.join(known)}",
            "remove it",
        )
    chosen = {name: options[name] for name in _SERVER if name in options}
    if "url" in chosen:
        # Not by commas: lm-eval splits its model arguments there.
        chosen["url"] = tuple(str(chosen["url"]).split("+"))
    peft = options.get("peft")
    try:
        server = ServerSection(**chosen)
        section = ModelSection(
            pretrained=pretrained or named_base(peft),
            **{name: options[name] for name in _MODEL if name in options},
        )
    except ValidationError as error:
        first, *others = error.errors()
        argument = str(first["loc"][0])
        faults = [first, *(each for each in others if each["loc"][0] == argument)]
        is_missing = first["type"] == "missing"
        said = "is missing" if is_missing else f"is {first['input']!r}"
        raise ConfigError(
            f"ft-server: {argument} {said}",
            "url=http://HOST:PORT" if is_missing else expected_values(faults),
            "correct it among the model arguments",
        ) from error
    raise_problems(base_model.problems(section))
    weights = base_model.load_base_model(section) if weights_fit(section) else None
    base = connect(section, server, weights)
    folders = [AdapterFolder(adapter_folder(peft))] if peft else []
    raise_problems(
        [
            fault
            for each in folders
            for fault in (*adapter_problems(each, None, section), *adapters.problems(each, base))
        ]
    )
    probes = make_probes(base, _PROOF)
    base = prove_base(base, probes, folders)
    for each in folders:
        name = options.get("adapter")
        names = {each.path.resolve().name: str(name)} if name else {}
        served = adapters.find_name(each, base, names)
        base, _ = prove_adapter(base, served, each, probes, form=None)
    return base
