"""`ft-causal` against lm-eval's `hf`: the same scores for any architecture, tokenizer, batch and
window; less work."""

from __future__ import annotations

import copy
import logging
import math
import random
from dataclasses import replace
from itertools import cycle
from typing import Any

import pytest
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from packaging.version import Version
from peft import LoraConfig, get_peft_model

from ft_harness.errors import InputError, NonFiniteError
from ft_harness.evaluation.backends import CausalLM, greedy, make_causal_lm, memory
from ft_harness.evaluation.backends.memory import budget_of, measure
from tests.builders.tiny import build_tokenizer

LENGTH = 128
SHAPE = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": LENGTH,
}  # fmt: skip
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
QUICK = (
    "llama",
    "llama_eager",
    "gpt2",
    "gemma2",
    "mistral_wide",
    "cohere",
    "neox",
    "qwen3",
    "qwen2_moe",
    "opt",
)
NEW_NAMES = Version(transformers.__version__) >= Version(
    "5.24"
)  # `past_key_values` became `cache`, also in Mamba
PLAIN = {
    "mistral": "more than 16 tokens",
    "gpt_neo": "more than 8 tokens",
    "longrope": "more than 24 tokens",
    "mamba": "no position_ids" if NEW_NAMES else "no past_key_values, position_ids",
    "bloom": "no position_ids",
    "falcon": "ALiBi",
    "recurrent": "linear_attention",
}


def make_config(kind: str, vocabulary: int) -> Any:
    import transformers as hf

    shape = {**SHAPE, **SPECIAL, "vocab_size": vocabulary}
    few = {**SPECIAL, "vocab_size": vocabulary, "hidden_size": 32}
    flat = {
        key: value for key, value in shape.items() if key not in ("num_key_value_heads", "head_dim")
    }
    factors = {"short_factor": [1.0] * 4, "long_factor": [2.0, 3.0, 4.0, 5.0]}
    makers = {
        "llama": lambda: hf.LlamaConfig(**shape),
        "llama_eager": lambda: hf.LlamaConfig(**shape, attn_implementation="eager"),
        "gpt2": lambda: hf.GPT2Config(
            n_embd=32, n_layer=2, n_head=4, n_positions=LENGTH, vocab_size=vocabulary, **SPECIAL
        ),
        "gemma2": lambda: hf.Gemma2Config(
            **shape, final_logit_softcapping=2.0, attn_logit_softcapping=3.0, query_pre_attn_scalar=8
        ),
        "mistral_wide": lambda: hf.MistralConfig(**shape, sliding_window=4096),
        "cohere": lambda: hf.CohereConfig(**flat, logit_scale=0.25),
        "neox": lambda: hf.GPTNeoXConfig(**flat),
        "qwen3": lambda: hf.Qwen3Config(**shape),
        "opt": lambda: hf.OPTConfig(
            **few, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=LENGTH,
            word_embed_proj_dim=32,
        ),
        "qwen2_moe": lambda: hf.Qwen2MoeConfig(
            **{**flat, "num_key_value_heads": 4}, moe_intermediate_size=32, shared_expert_intermediate_size=32,
            num_experts=4, num_experts_per_tok=2,
        ),
        "mistral": lambda: hf.MistralConfig(**shape, sliding_window=16),
        "gpt_neo": lambda: hf.GPTNeoConfig(
            **few, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=8,
            max_position_embeddings=LENGTH,
        ),
        "longrope": lambda: hf.Phi3Config(
            **shape,
            original_max_position_embeddings=24,
            rope_parameters={
                "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 24, **factors
            },
        ),
        "mamba": lambda: hf.MambaConfig(**few, num_hidden_layers=2, state_size=8),
        "bloom": lambda: hf.BloomConfig(**few, n_layer=2, n_head=4),
        "falcon": lambda: hf.FalconConfig(**few, num_hidden_layers=2, num_attention_heads=4, alibi=True),
        "recurrent": lambda: hf.RecurrentGemmaConfig(**{**shape, "num_hidden_layers": 3}, lru_width=32),
    }  # fmt: skip
    return makers[kind]()


def make_model(kind: str, vocabulary: int) -> Any:
    """A random model whose logits differ enough to have a clear order."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = make_config(kind, vocabulary)
    model = AutoModelForCausalLM.from_config(
        config, attn_implementation=config._attn_implementation
    )
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return model.eval()


@pytest.fixture(scope="module")
def words() -> Any:
    return build_tokenizer("bpe_bos")


@pytest.fixture
def llama(words: Any) -> Any:
    return make_model("llama", len(words))


def ours(
    model: Any,
    tokenizer: Any,
    batch_size: int | None = None,
    max_length: int = LENGTH,
    **options: Any,
) -> Any:
    return CausalLM(
        pretrained=model,
        tokenizer=tokenizer,
        max_length=max_length,
        device="cpu",
        batch_size=batch_size,
        **options,
    )


def stock(model: Any, tokenizer: Any, max_length: int = LENGTH, **options: Any) -> Any:
    return HFLM(
        pretrained=model, tokenizer=tokenizer, max_length=max_length, device="cpu", batch_size=1,
        softmax_dtype="float32", **options,
    )  # fmt: skip


def tokens(rng: random.Random, count: int, vocabulary: int = 300) -> list[int]:
    return [rng.randrange(3, vocabulary) for _ in range(count)]


def make_requests(seed: int) -> list[Any]:
    """Prompts with and without a common beginning x answers that part early, late or not at all;
    cut and short ones."""
    rng = random.Random(seed)
    common = tokens(rng, 20)
    requests = []
    for i in range(12):
        prompt = (common if i % 4 else []) + tokens(rng, rng.randint(1, 12))
        answers = [tokens(rng, length) for length in (1, 1, 3, 2)]
        answers += [answers[2][:2] + tokens(rng, 1), answers[2][:1], answers[3]]
        requests += [(("prompt", "answer"), prompt, answer) for answer in answers]
    long = tokens(rng, LENGTH + 12)
    requests += [
        (("long", "answer"), long, tokens(rng, length)) for length in (1, 3, LENGTH - 1, LENGTH)
    ]
    requests += [(("short", "answer"), [1], tokens(rng, length)) for length in (1, 3, 5, 1)]
    rng.shuffle(requests)
    return requests


def assert_same(scores: list[Any], expected: list[Any], tolerance: float = 1e-4) -> None:
    assert [score[0] for score in scores] == pytest.approx(
        [score[0] for score in expected], abs=tolerance, rel=1e-6
    )
    assert [score[1] for score in scores] == [score[1] for score in expected]


@pytest.mark.parametrize("kind", [*QUICK, *PLAIN])
def test_scores_equal_hf(kind: str, words: Any, caplog: pytest.LogCaptureFixture):
    model = make_model(kind, len(words))
    requests = make_requests(1)
    lm = ours(model, words, 5)
    with caplog.at_level(logging.WARNING, logger="ft_harness"):
        scores = lm._loglikelihood_tokens(requests)
    assert_same(scores, stock(model, words)._loglikelihood_tokens(requests, disable_tqdm=True))
    said = [record for record in caplog.records if record.name.startswith("ft_harness")]
    if kind in QUICK:
        assert lm.fallback is None
        assert not said
    else:
        assert PLAIN[kind] in lm.fallback
        assert len(said) == 1
    assert [score.tokens for score in scores] == [len(answer) for _, _, answer in requests]


def test_greedy_flags_are_right(llama: Any, words: Any):
    """Answers that follow the likeliest token, and the same with one token changed."""
    rng = random.Random(3)
    requests = []
    for _ in range(6):
        prompt = tokens(rng, 9)
        ids = llama.generate(
            torch.tensor([prompt]), max_new_tokens=4, do_sample=False, eos_token_id=None
        )[0].tolist()
        answer = ids[len(prompt) :]
        changed = [*answer[:2], (answer[2] + 1) % len(words), answer[3]]
        requests += [
            (("p", "a"), prompt, answer),
            (("p", "b"), prompt, changed),
            (("p", "c"), prompt, answer[:1]),
        ]
    flags = [greedy for _, greedy in ours(llama, words)._loglikelihood_tokens(requests)]
    assert flags == [True, False, True] * 6


@pytest.mark.parametrize("seed", range(3))
def test_any_batch_gives_the_same_scores(seed: int, llama: Any, words: Any):
    requests = make_requests(seed)
    expected = ours(llama, words)._loglikelihood_tokens(requests)
    for batch_size in (1, 2, 7):
        assert_same(ours(llama, words, batch_size)._loglikelihood_tokens(requests), expected, 1e-5)
    tight = ours(llama, words)
    tight.scorer.budget = replace(tight.scorer.budget, free=1)
    assert_same(tight._loglikelihood_tokens(requests), expected, 1e-5)


TEXTS = (
    "",
    "the film",
    "Review: a slow, dull story. Sentiment:",
    "the cast was ",
    "the film was warm and " * 40,
    "<s>hi",
)


def test_texts_become_the_tokens_of_hf(tokenizer: Any):
    """Empty and cut prompts, trailing spaces, BOS in the text; tokenizers with and without BOS."""
    model = make_model("llama", len(tokenizer))
    pairs = [(text, answer) for text in TEXTS for answer in (" good", " bad", "warm and cold")]
    requests = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    lm = ours(model, tokenizer)
    expected = stock(model, tokenizer).loglikelihood(requests, disable_tqdm=True)
    assert_same(lm.loglikelihood(requests, disable_tqdm=True), expected)
    assert lm.truncated_prompts == {TEXTS[4]}
    assert lm.fallback is None


# --- less work
# -------------------------------------------------------------------------------------------------------


def counted(model: Any) -> dict[str, int]:
    """Positions that go through the first layer and through the output head, from now on."""
    counts = {"layer": 0, "head": 0}

    def count(name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            found = inputs[0] if inputs else output
            counts[name] += found.shape[:-1].numel()

        return hook

    model.model.layers[0].mlp.gate_proj.register_forward_hook(count("layer"))
    model.lm_head.register_forward_hook(count("head"))
    return counts


def warmed(model: Any, tokenizer: Any, **options: Any) -> tuple[Any, dict[str, int]]:
    """A scorer past its first check, and what is counted afterwards."""
    lm = ours(model, tokenizer, **options)
    lm._loglikelihood_tokens([(None, [5, 6], [7])])
    return lm, counted(model)


def test_a_prompt_is_computed_once_and_only_answers_see_the_head(llama: Any, words: Any):
    lm, counts = warmed(llama, words)
    prompts = [[10 * i + 1, *range(100, 119)] for i in range(1, 5)]
    answers = ([5], [6], [7, 8, 9])
    lm._loglikelihood_tokens([(None, prompt, answer) for prompt in prompts for answer in answers])
    # each row: 20 of the prompt, 7 and 8; logits after the prompt, 7 and 8
    assert counts == {"layer": 4 * 22, "head": 4 * 3}


def test_answers_of_one_token_need_one_position(llama: Any, words: Any):
    lm, counts = warmed(llama, words)
    lm._loglikelihood_tokens([(None, list(range(10, 30)), [answer]) for answer in range(40, 60)])
    assert counts == {"layer": 20, "head": 1}


def test_a_common_prefix_is_computed_once(llama: Any, words: Any):
    lm, counts = warmed(llama, words)
    common = list(range(100, 130))
    requests = [
        (None, [*common, 10 * i, 1, 2, 3, 4], [answer]) for i in range(1, 11) for answer in (5, 6)
    ]
    scores = lm._loglikelihood_tokens(requests)
    # 30 once, then ten prompts x 5 of their own; the prefix's own pass makes one row of logits
    assert counts == {"layer": 30 + 10 * 5, "head": 1 + 10}
    assert_same(scores, stock(llama, words)._loglikelihood_tokens(requests, disable_tqdm=True))


def test_prompts_that_begin_alike_share_a_row(llama: Any, words: Any):
    lm, counts = warmed(llama, words)
    common = list(range(100, 112))
    requests = [(None, [*common, 10 * i, 1, 2], [answer]) for i in (1, 2, 3) for answer in (5, 6)]
    scores = lm._loglikelihood_tokens(requests)
    assert counts == {"layer": 12 + 3 * 3, "head": 3}
    assert_same(scores, stock(llama, words)._loglikelihood_tokens(requests, disable_tqdm=True))


def test_the_plain_way_too_shares_what_begins_alike(words: Any):
    model = make_model("mistral", len(words))
    lm, counts = warmed(model, words)
    prompt = list(range(30, 60))
    lm._loglikelihood_tokens([(None, prompt, answer) for answer in ([5], [6], [7, 8, 9])])
    assert counts == {"layer": 32, "head": 3}


def test_memory_bounds_a_batch(llama: Any, words: Any):
    lm, _ = warmed(llama, words)
    widest = []
    llama.lm_head.register_forward_hook(
        lambda module, inputs, output: widest.append(output.shape[:-1].numel())
    )
    lm.scorer.budget = replace(
        lm.scorer.budget, free=10**9, token=0, key=0, score=0, logits=10**9 // 4
    )
    lm._loglikelihood_tokens([(None, tokens(random.Random(i), 9), [7]) for i in range(10)])
    assert widest == [4, 4, 2]


# --- models that mislead
# ---------------------------------------------------------------------------------------------


def test_a_model_that_ignores_masks_is_found_out(
    llama: Any, words: Any, caplog: pytest.LogCaptureFixture
):
    inner = llama.model.forward
    llama.model.forward = lambda *args, **options: inner(
        *args, **{**options, "attention_mask": None}
    )
    requests = make_requests(2)
    lm = ours(llama, words, 4)
    scores = lm._loglikelihood_tokens(requests)
    assert "log-likelihoods differ" in lm.fallback
    assert lm.scorer.traits.keeps
    assert_same(scores, stock(llama, words)._loglikelihood_tokens(requests, disable_tqdm=True))
    assert "differ" in caplog.text


@pytest.mark.parametrize("fault", ["refuses", "ignores"])
def test_a_model_that_cannot_choose_positions_is_found_out(fault: str, llama: Any, words: Any):
    inner = type(llama).forward

    def forward(self: Any, *args: Any, logits_to_keep: Any = 0, **options: Any) -> Any:
        if fault == "refuses" and not isinstance(logits_to_keep, int):
            raise TypeError("logits_to_keep is a number")
        return inner(self, *args, **options)

    requests = make_requests(2)
    expected = stock(llama, words)._loglikelihood_tokens(requests, disable_tqdm=True)
    llama.forward = forward.__get__(llama)
    llama.forward.__func__.__signature__ = __import__("inspect").signature(inner)
    lm = ours(llama, words, 4)
    assert_same(lm._loglikelihood_tokens(requests), expected)
    assert lm.fallback is not None
    assert not lm.scorer.traits.keeps


def test_virtual_tokens_of_an_adapter_are_not_scored(llama: Any, words: Any):
    from peft import PromptTuningConfig, get_peft_model

    model = get_peft_model(
        llama, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    ).eval()
    requests = make_requests(2)[:20]
    lm = ours(model, words, 4, max_length=64)
    expected = stock(model, words, max_length=64)._loglikelihood_tokens(requests, disable_tqdm=True)
    assert_same(lm._loglikelihood_tokens(requests), expected)
    assert "virtual tokens" in lm.fallback


def test_an_adapter_is_scored_the_quick_way(llama: Any, words: Any):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(
        llama, LoraConfig(task_type="CAUSAL_LM", r=4, init_lora_weights=False)
    ).eval()
    requests = make_requests(2)
    lm = ours(model, words)
    assert_same(
        lm._loglikelihood_tokens(requests),
        stock(model, words)._loglikelihood_tokens(requests, disable_tqdm=True),
    )
    assert lm.fallback is None


def test_half_precision_takes_the_quick_way(llama: Any, words: Any):
    requests = make_requests(4)
    exact = ours(llama, words)._loglikelihood_tokens(requests)
    lm = ours(llama.to(torch.bfloat16), words)
    scores = lm._loglikelihood_tokens(requests)
    assert lm.fallback is None
    # bfloat16 has 8 bits: logits of about 3 are off by a hundredth, sums of up to 128 of them by
    # less than one
    assert [score[0] for score in scores] == pytest.approx([score[0] for score in exact], abs=1.0)


def test_the_softmax_is_in_float32(llama: Any, words: Any):
    """In bfloat16 the logarithm of a vocabulary of 320 would be 5.78 or 5.75 rather than 5.7683."""
    llama.lm_head.weight.data.zero_()
    (score,) = ours(llama.to(torch.bfloat16), words)._loglikelihood_tokens([(None, [5, 6], [7])])
    assert score[0] == pytest.approx(-math.log(len(words)), abs=1e-5)


# --- refusals
# --------------------------------------------------------------------------------------------------------


def test_nan_is_refused(llama: Any, words: Any):
    llama.lm_head.weight.data[7] = math.nan
    with pytest.raises(NonFiniteError):
        ours(llama, words)._loglikelihood_tokens(make_requests(1))
    with pytest.raises(NonFiniteError):
        ours(llama, words).generate_until(asked(["the film"]))


@pytest.mark.parametrize(("context", "answer"), [([], [5]), ([5], []), ([5], [6] * 9)])
def test_what_cannot_be_scored_is_refused(
    context: list[int], answer: list[int], llama: Any, words: Any
):
    with pytest.raises(InputError):
        ours(llama, words, max_length=8)._loglikelihood_tokens([(("a", "b"), context, answer)])


def test_no_requests_no_answers(llama: Any, words: Any):
    lm = ours(llama, words)
    assert (
        lm._loglikelihood_tokens([]) == lm.loglikelihood_rolling([]) == lm.generate_until([]) == []
    )


# --- running texts
# ---------------------------------------------------------------------------------------------------


def rolling(texts: tuple[str, ...]) -> list[Any]:
    return [Instance("loglikelihood_rolling", {}, (text,), i) for i, text in enumerate(texts)]


@pytest.mark.parametrize("batch_size", [1, 3, None])
@pytest.mark.parametrize("window", [2, 7, LENGTH])
def test_a_uniform_model_gives_every_token_its_share(
    window: int, batch_size: int | None, tokenizer: Any
):
    """Uniform over V: the log-likelihood of n tokens is -n ln V, whatever the window, batch and
    BOS."""
    model = make_model("llama", len(tokenizer))
    model.lm_head.weight.data.zero_()
    results = ours(model, tokenizer, batch_size, window).loglikelihood_rolling(rolling(TEXTS))
    encoded = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    counts = [
        len(ids) - ids.count(1) for ids in encoded
    ]  # a BOS that the text brings opens the first window
    assert [result.tokens for result in results] == counts
    assert counts[0] == 0
    assert list(results) == pytest.approx(
        [-count * math.log(len(tokenizer)) for count in counts], rel=1e-6
    )


def test_running_texts_equal_hf_where_it_adds_no_bos():
    tokenizer = build_tokenizer("bpe_plain")
    model = make_model("llama", len(tokenizer))
    texts = (TEXTS[1], TEXTS[2], " ".join(str(i * i) for i in range(60)))
    results = ours(model, tokenizer, 4, 16).loglikelihood_rolling(rolling(texts))
    expected = stock(model, tokenizer, 16, logits_cache=False).loglikelihood_rolling(
        rolling(texts), disable_tqdm=True
    )
    assert list(results) == pytest.approx(expected, abs=1e-4, rel=1e-6)


def test_windows_of_a_repeated_text_are_scored_by_their_own_tokens(words: Any, llama: Any):
    """Each token after the window before it: computed here window by window from whole logits."""
    ids = [10, 11, 12, 13] * 6
    lm = ours(llama, words, None, 4)
    lm.tok_encode = lambda text, **options: ids
    (result,) = lm.loglikelihood_rolling(rolling(("any",)))
    expected = 0.0
    for start in range(0, len(ids), 4):
        context = [ids[start - 1] if start else lm.prefix_token_id, *ids[start : start + 3]]
        with torch.no_grad():
            rates = llama(torch.tensor([context])).logits[0].log_softmax(-1)
        expected += sum(float(rates[i, token]) for i, token in enumerate(ids[start : start + 4]))
    assert result == pytest.approx(expected, abs=1e-4)
    assert result.tokens == 24


def test_rotary_positions_scaled_by_the_longest_row_so_far_are_said(words: Any):
    """transformers keeps the scale of the longest row that it has seen: no order of rows is the
    right one."""
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    config = make_config("llama", len(words))
    config.rope_parameters = rope
    lm = ours(transformers.AutoModelForCausalLM.from_config(config).eval(), words)
    assert "longest row so far" in lm.fallback


def test_an_adapter_has_the_budget_of_its_base(llama: Any, monkeypatch: pytest.MonkeyPatch):
    """So that its batches are the base's, though less memory is free once it is loaded."""
    alone = budget_of(llama)
    monkeypatch.setattr(memory, "free_memory_bytes", lambda _: 1000)
    tuned = get_peft_model(llama, LoraConfig(r=2, target_modules="all-linear"))
    assert budget_of(tuned) == alone
    assert measure(tuned).free == 500


def test_a_budget_for_layers_of_different_heads():
    """Gemma 4: reading `head_dim` of the whole model raises. 16 heads' widths of the wide layers
    against 8."""
    config = transformers.Gemma4TextConfig(
        **{**SHAPE, "num_hidden_layers": 6, "vocab_size": 64}, hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=64, global_head_dim=16,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config)
    widest = max(layer.self_attn.head_dim for layer in model.model.layers)
    assert (
        measure(model).key == 2 * 2 * widest * 4 * 4
    )  # keys and values, twice, of four heads in float32


# --- generation
# ------------------------------------------------------------------------------------------------------

PROMPTS = [
    "the film",
    "Review: a slow, dull story. Sentiment:",
    "a",
    "the cast was warm and the film was cold and",
    "b c",
]


def asked(prompts: list[str], **arguments: Any) -> list[Any]:
    settings = {"until": [], "max_gen_toks": 12, "do_sample": False, **arguments}
    return [
        Instance("generate_until", {}, (prompt, settings), i) for i, prompt in enumerate(prompts)
    ]


@pytest.mark.parametrize(
    "kind", ["llama", "gpt2", "mistral", "gemma2", "mamba", "bloom", "longrope", "falcon"]
)
def test_greedy_answers_equal_hf_one_by_one(kind: str, words: Any):
    model = make_model(kind, len(words))
    requests = asked(PROMPTS, max_gen_toks=16)  # beyond mistral's 16 and longrope's 24 tokens
    expected = stock(model, words).generate_until(requests, disable_tqdm=True)
    assert len(set(expected)) > 1
    for batch_size in (1, 3, None):
        assert ours(model, words, batch_size).generate_until(requests) == expected


@pytest.mark.parametrize("penalty", [{"no_repeat_ngram_size": 1}, {"repetition_penalty": 5.0}])
def test_padding_is_no_text_that_must_not_be_repeated(
    penalty: dict[str, Any], llama: Any, words: Any
):
    """The padding of this tokenizer is its EOS, as it is for every tokenizer without a token of its
    own."""
    words = copy.deepcopy(words)
    words.pad_token = words.eos_token
    llama.lm_head.bias = torch.nn.Parameter(torch.zeros(len(words)))
    llama.lm_head.bias.data[words.eos_token_id] = 0.9  # the end comes early where it may
    expected = stock(llama, words).generate_until(asked(PROMPTS, **penalty), disable_tqdm=True)
    assert len(set(map(len, expected))) > 1
    assert ours(llama, words).generate_until(asked(PROMPTS, **penalty)) == expected


def generate_alone(llama: Any, words: Any, prompt: str, **settings: Any) -> str:
    """What transformers itself writes to one prompt, 12 tokens at most."""
    ids = words(prompt, return_tensors="pt")
    output = llama.generate(
        ids["input_ids"],
        attention_mask=ids["attention_mask"],
        max_new_tokens=12,
        do_sample=False,
        **settings,
    )
    written: str = words.decode(output[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
    return written


@pytest.mark.parametrize(
    "own",
    [
        {"no_repeat_ngram_size": 1},
        {"repetition_penalty": 5.0},
        {"encoder_repetition_penalty": 0.2},
        {"min_length": 30},
        {"repetition_penalty": 5.0, "num_beams": 2},
        # what neither chooses tokens nor changes what comes back here
        {"return_dict_in_generate": True, "output_scores": True},
        {"num_return_sequences": 2, "num_beams": 2},
        {"max_time": 1e-6},
    ],
)
def test_a_model_s_own_generation_settings_mean_in_a_batch_what_they_mean_alone(
    own: dict[str, Any], llama: Any, words: Any
):
    words = copy.deepcopy(words)
    words.pad_token = words.eos_token
    llama.lm_head.bias = torch.nn.Parameter(torch.zeros(len(words)))
    llama.lm_head.bias.data[words.eos_token_id] = 0.9
    for name, value in own.items():
        setattr(llama.generation_config, name, value)
    answers = ours(llama, words).generate_until(asked(PROMPTS))
    for name in ("return_dict_in_generate", "output_scores", "max_time"):
        setattr(llama.generation_config, name, None)
    alone = [
        generate_alone(llama, words, each, pad_token_id=words.pad_token_id) for each in PROMPTS
    ]
    assert answers == alone


def test_settings_of_a_task_that_would_change_what_generate_returns_are_ours(
    llama: Any, words: Any
):
    """One answer per prompt, not ended by the clock, whatever the task asks for."""
    asks = {"num_return_sequences": 2, "max_time": 0.0, "return_dict_in_generate": True}
    answers = ours(llama, words).generate_until(asked(PROMPTS, num_beams=3, **asks))
    assert answers == ours(llama, words).generate_until(asked(PROMPTS, num_beams=3))


def test_beams_in_batches_equal_generate_one_by_one(llama: Any, words: Any):
    answers = ours(llama, words).generate_until(asked(PROMPTS, num_beams=3))
    assert answers == [generate_alone(llama, words, each, num_beams=3) for each in PROMPTS]


def test_a_stop_string_over_many_tokens_ends_an_answer(llama: Any, words: Any):
    steps = []
    llama.register_forward_hook(lambda *_: steps.append(1))
    (whole,) = ours(llama, words).generate_until(asked(["the film"], max_gen_toks=60))
    stop, needed = whole[20:32], len(steps)
    assert len(words(stop, add_special_tokens=False)["input_ids"]) > 3
    steps.clear()
    requests = asked(["the film"], max_gen_toks=60, until=[stop, "never"])
    (answer,) = ours(llama, words).generate_until(requests)
    assert answer == whole[: whole.index(stop)]
    assert not answer.truncated
    assert len(steps) < needed


def test_an_answer_cut_at_its_most_tokens_says_so(llama: Any, words: Any):
    lm = ours(llama, words)
    assert all(answer.truncated for answer in lm.generate_until(asked(PROMPTS[:2], max_gen_toks=3)))
    llama.lm_head.weight.data.zero_()
    llama.lm_head.bias = torch.nn.Parameter(torch.zeros(len(words)))
    llama.lm_head.bias.data[words.eos_token_id] = 9.0
    (ended,) = lm.generate_until(asked(PROMPTS[:1], max_gen_toks=3))
    assert (ended, ended.truncated) == ("", False)


def test_sampled_answers_are_the_same_in_any_batch(llama: Any, words: Any):
    def draw(prompts: list[str], **options: Any) -> list[str]:
        return ours(llama, words, **options).generate_until(
            asked(prompts, do_sample=True, temperature=1.0)
        )

    state = torch.random.get_rng_state()
    first = draw(PROMPTS)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert draw(PROMPTS, batch_size=1) == first
    assert draw(PROMPTS[::-1], batch_size=3) == first[::-1]
    assert draw(PROMPTS, seed=5) != first
    twice = draw([PROMPTS[0], PROMPTS[0]])
    assert twice[0] == first[0] != twice[1]


def watched(lm: Any) -> list[dict[str, Any]]:
    """The arguments with which `generate` is called from now on."""
    seen: list[dict[str, Any]] = []
    plain = lm.model.generate
    lm.model.generate = lambda **options: (seen.append(options), plain(**options))[1]
    return seen


def test_each_prompt_has_its_own_bos_and_room(words: Any, llama: Any):
    """In lm-eval 0.4.13 the first prompt of a batch decides on BOS for all."""
    lm = ours(llama, words, None, 24)
    seen = watched(lm)
    lm.generate_until(asked(["hi", "<s>hi there", "the film was warm " * 9], num_beams=2))
    (options,) = seen
    rows = [
        [token for token, own in zip(ids, mask, strict=True) if own]
        for ids, mask in zip(
            options["input_ids"].tolist(), options["attention_mask"].tolist(), strict=True
        )
    ]
    assert sorted(row.count(1) for row in rows) == [0, 1, 1]
    assert max(map(len, rows)) == 24 - 12
    assert lm.truncated_prompts == {"the film was warm " * 9}


def test_a_model_that_cannot_be_padded_gets_prompts_of_one_length(words: Any):
    lm = ours(make_model("mamba", len(words)), words)
    seen = watched(lm)
    lm.generate_until(asked(["a", "the film", "b", "c"]))
    assert all(options["attention_mask"].all() for options in seen)
    assert sorted(len(options["input_ids"]) for options in seen) == [1, 3]


SHARED = "Review: a slow, dull story. Sentiment:"
ALIKE = [f"{SHARED} {end}" for end in ("bad", "good", "the film", "a cast")]


def lengths_read(model: Any) -> list[tuple[int, int]]:
    """[B, T] of every forward pass from now on."""
    seen: list[tuple[int, int]] = []
    model.get_decoder().register_forward_pre_hook(
        lambda module, given, named: seen.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    return seen


@pytest.mark.parametrize("beams", [1, 3])
def test_prompts_that_begin_alike_are_read_together(
    beams: int, words: Any, llama: Any, monkeypatch: Any
):
    monkeypatch.setattr(greedy, "GUESSED", 0)
    lm = ours(llama, words)
    expected = [lm.generate_until(asked([prompt], num_beams=beams))[0] for prompt in ALIKE]
    seen = lengths_read(llama)
    assert lm.generate_until(asked(ALIKE, num_beams=beams)) == expected
    whole = [len(words(prompt)["input_ids"]) for prompt in ALIKE]
    shared = len(words(SHARED)["input_ids"])
    (rows, width), *steps = seen
    assert rows == 1
    assert width <= shared + sum(length - shared for length in whole)
    assert set(steps) == {(4 * beams, 1)}


def test_an_answer_that_ends_makes_room_for_the_next(words: Any, llama: Any, monkeypatch: Any):
    """Two slots and eight prompts."""
    monkeypatch.setattr(greedy, "GUESSED", 0)
    prompts = [*PROMPTS, *ALIKE[:3]]
    (whole,) = ours(llama, words).generate_until(asked(PROMPTS[1:2], max_gen_toks=24))
    settings = {"max_gen_toks": 24, "until": [whole[3:5], "e", "0"]}
    lm = ours(llama, words, 1)
    expected = lm.generate_until(asked(prompts, **settings))
    assert len({len(words(answer)["input_ids"]) for answer in expected}) > 2
    two = ours(llama, words, 2)
    two.generate_until(asked(prompts[:1]))  # the check of the model comes first
    seen = lengths_read(llama)
    assert two.generate_until(asked(prompts, **settings)) == expected
    steps = [rows for rows, width in seen if width == 1]
    assert set(steps) == {1, 2}
    assert steps.count(1) < steps.count(2)


def test_the_same_prompt_is_written_once(words: Any, llama: Any):
    lm = ours(llama, words)
    lm.generate_until(asked(PROMPTS[1:2]))  # the check of the model comes first
    seen = lengths_read(llama)
    first, second = lm.generate_until(asked([PROMPTS[0]] * 2))
    assert first == second
    assert {rows for rows, width in seen if width == 1} == {1}


@pytest.mark.slow  # generates with and without, in seven settings
@pytest.mark.parametrize("until", [[], ["e", "0"]])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2", "neox"])
def test_guesses_change_nothing(kind: str, until: list[str], words: Any, monkeypatch: Any):
    """Of three guesses none is right, or the first, or the first two, or all."""
    model = make_model(kind, len(words))
    requests = asked(PROMPTS, max_gen_toks=24, until=until)
    expected = stock(model, words).generate_until(requests, disable_tqdm=True)
    prompts = [words(prompt, return_tensors="pt")["input_ids"] for prompt in PROMPTS]
    right = [model.generate(ids, max_new_tokens=24, do_sample=False)[0].tolist() for ids in prompts]
    turns = cycle(range(4))

    def guess(text: greedy.Text) -> list[int]:
        length, wrong = len(text.tokens), 3 + len(text.tokens) % 7
        (goes_on,) = (ids[length:] for ids in right if ids[:length] == text.tokens)
        return [*goes_on[: next(turns)], wrong, wrong, wrong][:3]

    monkeypatch.setattr(greedy.Text, "guess", guess)
    for batch_size in (1, 3, None):
        assert ours(model, words, batch_size).generate_until(requests) == expected


def test_a_text_that_goes_round_is_guessed(words: Any, llama: Any):
    """A model that always says the same token: four of them in each pass once that is known."""
    llama.lm_head.weight.data.zero_()
    llama.lm_head.bias = torch.nn.Parameter(torch.zeros(len(words)))
    token = words("film")["input_ids"][-1]
    llama.lm_head.bias.data[token] = 9.0
    lm = ours(llama, words)
    lm.generate_until(asked(PROMPTS[:1], max_gen_toks=1))  # the check of the model comes first
    seen = lengths_read(llama)
    found = lm.generate_until(asked(PROMPTS[:2], max_gen_toks=23))
    assert found == [words.decode([token] * 23)] * 2
    # one token from reading, four until two guesses were right, four in each pass for the other 18
    assert [width for _, width in seen[1:]] == [1] * 4 + [4] * 5


def test_what_came_before_is_what_is_guessed():
    text = greedy.Text(0, (1, 2, 3, 4, 5, 6, 1, 2))
    assert text.guess() == []  # nothing was guessed yet
    for token, guess in ((3, []), (4, [5, 6, 1]), (9, []), (1, [])):
        text.append(token)
        assert text.guess() == guess
    assert text.answer == [3, 4, 9, 1]


def test_a_prompt_that_begins_another_has_a_slot_of_its_own(words: Any, llama: Any):
    prompts = ["the", "the film", "the film was", "the film was warm"]
    expected = [ours(llama, words).generate_until(asked([prompt]))[0] for prompt in prompts]
    assert ours(llama, words, 1).generate_until(asked(prompts)) == expected


@pytest.mark.parametrize(
    "settings", [{"no_repeat_ngram_size": 1}, {"repetition_penalty": 2.0}, {"num_beams": 2}]
)
def test_what_is_more_than_greedy_is_left_to_transformers(
    settings: dict[str, Any], words: Any, llama: Any
):
    lm = ours(llama, words)
    seen = watched(lm)
    lm.generate_until(asked(PROMPTS[:1]))
    assert not seen
    lm.generate_until(asked(PROMPTS[:1], **settings))
    assert len(seen) == 1
    llama.generation_config.repetition_penalty = 3.0
    ours(llama, words).generate_until(asked(PROMPTS[:1]))
    assert len(seen) == 2


def test_no_room_for_a_prompt_is_refused(llama: Any, words: Any):
    with pytest.raises(InputError, match="max_gen_toks"):
        ours(llama, words, max_length=12).generate_until(asked(["a"]))


def test_it_is_made_of_a_loaded_base(model_folder: Any):
    from ft_harness.models.base_model import load_base_model
    from ft_harness.recipe import ModelSection

    base = load_base_model(ModelSection(pretrained=str(model_folder)))
    lm = make_causal_lm(base, 4)
    (score,) = lm.loglikelihood(
        [Instance("loglikelihood", {}, ("the film", " was"), 0)], disable_tqdm=True
    )
    assert score[0] < 0
    assert (lm.max_length, lm.scorer.most, lm.scorer.name) == (128, 4, str(model_folder))
