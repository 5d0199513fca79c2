"""The lm-eval model `ft-causal`, and how `--model_args` load it: lm-eval's own tokenisation and
truncation, log-likelihoods and texts by the weights on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ft_harness.errors import ConfigError, InputError, raise_problems
from ft_harness.evaluation.backends.generation import Generator
from ft_harness.evaluation.backends.planning import rows_at_most
from ft_harness.evaluation.backends.requests import RequestLM
from ft_harness.evaluation.backends.scorer import Scorer
from ft_harness.models import base_model, quantization
from ft_harness.models.adapters import AdapterFolder, adapter_folder, attach
from ft_harness.models.base_model import BaseModel, describe
from ft_harness.models.encoding import prefix_token
from ft_harness.paths import model_folder
from ft_harness.recipe import ModelSection

BACK_END = "ft-causal (softmax float32)"
# of `hf`
_UNSERVED = {
    "mixed_precision_dtype",
    "think_end_token",
    "autogptq",
    "gptqmodel",
    "delta",
    "gguf_file",
}
# no doc is known when lm-eval makes a model
_PROOF = ("The film was good.", "A child reads a book.")
_PROOF_LENGTH = 64


def named_base(peft: str | None) -> str:
    """For `--model_args` with an adapter and no base: the base model that the adapter names.

    Raises:
        ConfigError: none is named.
        InputError: the adapter doesn't say.
    """
    if peft is None:
        raise ConfigError(
            "no model is named", "pretrained=... or peft=... among the model arguments", "add one"
        )
    return AdapterFolder(adapter_folder(peft)).base_name


def _keep_weights(model: Any) -> None:
    """lm-eval's constructor ties the weights of each model that it is given, also of one that was
    loaded with weights of its own for both; until it is through, that does nothing."""
    model.tie_weights = lambda *_, **__: None


class CausalLM(RequestLM):
    """lm-eval's `hf`, each prompt and shared prefix computed once."""

    scorer: Scorer
    generator: Generator

    def __init__(
        self,
        pretrained: Any = None,
        batch_size: int | str | None = None,
        seed: int = 1234,
        quantization: str | None = None,
        ends: Sequence[int] = (),
        **options: Any,
    ) -> None:
        """As lm-eval's `hf`, but for `batch_size`: prompts of a batch at most; None or "auto": as
        memory allows.

        Args:
            pretrained: also 'bundled', or None: the base that the adapter (`peft`) names.
            seed: of sampled decoding.
            quantization: nf4 or int8; None: as stored.
            ends: tokens that end an answer, besides the base's.
        """
        if unserved := sorted(_UNSERVED & options.keys()):
            raise ConfigError(
                f"ft-causal has no model argument {unserved[0]}",
                "its own arguments, or lm-eval's for hf",
                "remove it",
            )
        self._quantization = quantization
        self._adapter_ends: Sequence[int] = ()
        pretrained = named_base(options.get("peft")) if pretrained is None else pretrained
        pretrained = model_folder(pretrained) if isinstance(pretrained, str) else pretrained
        # A loaded model is passed with weights that may be untied on purpose (an adapter's own
        # output head).
        if not isinstance(pretrained, str):
            _keep_weights(pretrained)
        super().__init__(pretrained=pretrained, **options)
        del self.model.tie_weights
        self.rows = getattr(self.model.get_input_embeddings(), "num_embeddings", None)
        # An adapter may have learnt another end of turn than the base's (its tokenizer says so).
        ends = [*ends, *self._adapter_ends]
        most = rows_at_most(batch_size)
        name = pretrained if isinstance(pretrained, str) else self.model.name_or_path
        self.scorer = Scorer(self.model, name, self._pad(), most)
        self.generator = Generator(self.scorer, self.tokenizer, seed, ends)

    def create_model(
        self, pretrained: str, *, peft: str | None = None, dtype: Any = "auto", **options: Any
    ) -> None:
        """As lm-eval's, but quantised if asked for, and with a checked adapter and the vocabulary
        as it is (lm-eval has no model argument for the first, and cuts a padded vocabulary before
        it loads an adapter).

        Raises:
            InputError: another quantisation than nf4 and int8, a model that reads and writes apart,
                or an adapter that doesn't fit.
        """
        loading = {"dtype": dtype}
        section = ModelSection(pretrained=pretrained, revision=options.get("revision"))
        if self._quantization:
            section = quantization.section_of(self._quantization, pretrained, str(dtype))
            loading |= quantization.options(section)
            # lm-eval makes a device_map of its own, and two would be refused as one argument given
            # twice.
            del loading["device_map"]  # lm-eval's own
        raise_problems(base_model.problems(section))
        # Without `peft`: lm-eval attaches an adapter unchecked, and one that fits nowhere would
        # score as the base.
        super().create_model(pretrained, **{**options, **loading})
        raise_problems(base_model.loaded_problems(section, self.model))
        quantization.keep_as_loaded(self.model)
        if getattr(self.model.config, "is_encoder_decoder", False):
            raise InputError(
                f"{pretrained}: an encoder-decoder", "a causal language model", "use --model hf"
            )
        if peft:
            base = BaseModel(
                self.model,
                self.tokenizer,
                describe(section, self.model),
                _PROOF_LENGTH,
                self.device,
            )
            # The same checks and the same proof of an active adapter as in `ft-harness eval`.
            tuned, _ = attach(adapter_folder(peft), base, _PROOF, form=None)
            self.replace_model(tuned.model)
            self._adapter_ends = tuned.ends
        _keep_weights(self.model)

    @property
    def fallback(self) -> str | None:
        """Why prompts are computed for each answer (the plain way), where they are; else None."""
        return self.scorer.fallback

    @property
    def budget_bytes(self) -> int:
        """Bytes that a batch may take on top of the weights."""
        return self.scorer.budget.free

    def _pad(self) -> int:
        """A token that fills rows up, which no other token sees. (For a tokenizer without any,
        lm-eval invents one that the embedding may lack.)"""
        pad, rows = self.tokenizer.pad_token_id, self.model.get_input_embeddings().weight.shape[0]
        return int(pad) if pad is not None and pad < rows else 0


def make_causal_lm(base: BaseModel, batch_size: int | None = None, seed: int = 1234) -> CausalLM:
    """The lm-eval model `ft-causal` over a loaded base model, with or without adapter.

    Args:
        batch_size: prompts of a batch at most; None: as memory allows.
        seed: of sampled decoding.
    """
    lm = CausalLM(
        pretrained=base.model,
        tokenizer=base.tokenizer,
        max_length=base.max_length,
        device=base.device,
        batch_size=batch_size,
        seed=seed,
        ends=base.ends,
        prefix_token_id=prefix_token(base.tokenizer),
    )
    lm.scorer.name = base.info.pretrained
    return lm
