"""The lm-eval model `ft-causal`: lm-eval's own tokenisation and truncation, log-likelihoods and
texts by the weights on this machine."""

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
<<<<<<< HEAD
from ft_harness.models.encoding import (
    appended_tokens,
    has_start,
    prefix_token,
    refuse_appended,
    refuse_beyond,
    refuse_equal,
    split_pair,
)
from ft_harness.models.lm_eval_private.models import HookedHFLM
=======
from ft_harness.models.encoding import prefix_token
>>>>>>> main
from ft_harness.paths import model_folder
from ft_harness.recipe import ModelSection

BACK_END = "ft-causal (softmax float32)"
_UNSERVED = {
    "mixed_precision_dtype",
    "think_end_token",
    "autogptq",
    "gptqmodel",
    "delta",
    "gguf_file",
}  # of `hf`
_PROOF = (
    "The film was good.",
    "A child reads a book.",
)  # no doc is known when lm-eval makes a model
_PROOF_LENGTH = 64


def named_base(peft: str | None) -> str:
    """The base model of an adapter that is named alone.

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
            # The same checks and the same live-proof as for `ft-harness eval`.
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
        """What a batch may take on top of the weights."""
        return self.scorer.budget.free

    def _pad(self) -> int:
        """A token that fills rows up, which no other token sees. (For a tokenizer without any,
        lm-eval invents one that the embedding may lack.)"""
        pad, rows = self.tokenizer.pad_token_id, self.model.get_input_embeddings().weight.shape[0]
        return int(pad) if pad is not None and pad < rows else 0

<<<<<<< HEAD
    # --- log-likelihoods

    def _query(self, request: Request) -> Query:
        """A request as it is scored, counted.

        Raises:
            InputError: no token to score or to score after, a tokenizer that appends tokens, or an
                answer that is longer than the
                context.
        """
        texts, context, answer = request
        # A text that nothing comes before is scored after BOS; without one its first token has no
        # probability.
        if not (texts and texts[0]) and not has_start(self.tokenizer):
            raise InputError(
                f"{self.scorer.name}: the tokenizer has neither BOS nor EOS",
                "a token to score the first one of a text after",
                "use another model, or a task whose prompts aren't empty",
            )
        shown = f"{(texts or ('', ''))[1][:80]!r}"
        if not context or not answer:
            raise InputError(
                f"{shown} has {len(answer)} tokens of its own after {len(context)} of its prompt",
                "at least one of each: an answer that merges with the prompt can't be scored",
                "change the answer, the end of doc_to_text or target_delimiter",
            )
        refuse_beyond(self.tokenizer, [*context, *answer], self.model)
        if len(answer) > self.max_length:
            raise InputError(
                f"an answer has {len(answer)} tokens, the context {self.max_length}: {shown}",
                "answers that fit the context",
                "shorten the answers or raise model.max_length",
            )
        # One token more than the context is scored than read: the last one is never an input.
        query = cut_left(context, answer, self.max_length)
        self.scored_tokens += len(query.stem) + len(answer)
        if texts is not None and len(query.stem) < len(context):
            self.truncated_prompts.add(texts[0])
        return query

    def encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        refuse_appended(self._appended)
        return split_pair(self.tok_encode, context, continuation)

    def score_tokens(self, requests: Sequence[Request]) -> list[ScoredAnswer]:
        refuse_equal([texts for texts, _, _ in requests], [answer for _, _, answer in requests])
        queries = [self._query(request) for request in requests]
        scores = self.scorer.score(queries)
        results: list[ScoredAnswer] = []
        for (texts, _, answer), query, score in zip(requests, queries, scores, strict=True):
            result = ScoredAnswer(score or (0.0, False))
            result.tokens = len(answer)
            result.failed = None if score else self._fail(len(query.stem) + len(query.answer))
            results.append(result)
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, result)
        return results

    def _windows(self, text: str) -> list[Request]:
        """Each window of a running text: lm-eval's own cut, every token of the text scored once.

        The text is encoded without special tokens: the first window opens with BOS (EOS where there
        is none).
        """
        ids: list[int] = self.tok_encode(text, add_special_tokens=False)
        # Some tokenizers put BOS first even when told not to.
        own = ids[1:] if ids[:1] == [self.prefix_token_id] else ids
        pairs = get_rolling_token_windows(own, self.prefix_token_id, self.max_length, context_len=1)
        return [(None, *make_disjoint_window(pair)) for pair in pairs]

    def loglikelihood_rolling(
        self, requests: list[Any], disable_tqdm: bool = False
    ) -> list[ScoredText]:
        """Log-likelihoods of whole texts, windows of all texts batched together. An empty text has
        0 tokens.

        lm-eval's own method encodes a text with special tokens, and so scores BOS given BOS.
        """
        # The windows of all texts together make full batches; one text alone has often one window
        # and a rest.
        windows = [self._windows(request.args[0]) for request in requests]
        scored = iter(self.score_tokens([window for text in windows for window in text]))
        results: list[ScoredText] = []
        for request, text in zip(requests, windows, strict=True):
            parts = [next(scored) for _ in text]
            # `fsum` is exact, so that a text's sum does not depend on the order of its windows.
            result = ScoredText(math.fsum(log_likelihood for log_likelihood, _ in parts))
            result.tokens = sum(part.tokens for part in parts)
            result.failed = next((part.failed for part in parts if part.failed), None)
            results.append(result)
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, result)
        return results

    # --- generation

    def generate_until(
        self, requests: list[Any], disable_tqdm: bool = False
    ) -> list[GeneratedText]:
        """Texts that go on after the prompts, up to EOS, a stop string or `max_gen_toks` tokens."""
        prompts = [self._prompt(*request.args) for request in requests]
        texts = self.generator.generate(prompts)
        results: list[GeneratedText] = []
        for request, prompt, found in zip(requests, prompts, texts, strict=True):
            text = found or Continuation("", 0, False)
            result = GeneratedText(text.text)
            result.truncated = text.truncated
            result.failed = None if found else self._fail(len(prompt.ids) + prompt.most)
            results.append(result)
            self.scored_tokens += len(prompt.ids) + text.tokens
            self.cache_hook.add_partial("generate_until", request.args, result)
        return results

    def _prompt(self, text: str, arguments: dict[str, Any]) -> Prompt:
        """A prompt's tokens, cut from the left to leave room for the answer, with its settings.

        Raises:
            InputError: no room for a prompt.
        """
        refuse_appended(self._appended)
        settings = dict(normalize_gen_kwargs(arguments, self.max_gen_toks))
        end = self.eot_token_id
        eos = None if end is None else self.tok_decode(end, skip_special_tokens=False)
        stop = handle_stop_sequences(settings.pop("until", None), eos=eos)
        most = settings.pop("max_gen_toks")
        # Else every prompt would be cut to nothing.
        if most >= self.max_length:
            raise no_room(most, self.max_length)
        ids: list[int] = self.tok_encode(text)
        refuse_beyond(self.tokenizer, ids, self.model)
        room = self.max_length - most
        if len(ids) > room:
            self.truncated_prompts.add(text)
        return Prompt(text, tuple(ids[-room:]), tuple(filter(None, stop)), most, settings)

=======
>>>>>>> main

def make_causal_lm(base: BaseModel, batch_size: int | None = None, seed: int = 1234) -> CausalLM:
    """`ft-causal` over a loaded base model, with or without adapter.

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
