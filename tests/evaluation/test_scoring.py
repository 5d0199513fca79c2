"""What the back-end tells the metrics: scored tokens, each once and no BOS; which generated texts
are cut."""

from __future__ import annotations

import json
import math
import pickle
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lm_eval.api.instance import Instance

from ft_harness.errors import InputError, NonFiniteError
from ft_harness.evaluation import ModelState, evaluate, outcomes, plan_jobs
from ft_harness.evaluation.backends import GeneratedText, ScoredAnswer, make_causal_lm
from ft_harness.evaluation.outcomes import make_sample, make_scores
from ft_harness.metrics import find_metric, score_answer_ppl, score_text_ppl
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.paths import task_yamls_dir
from ft_harness.recipe import EvalSection, ModelSection
from ft_harness.records import Evaluation, ModelInfo, base_subject
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from tests.builders.tiny import build_tokenizer, write_jsonl
from tests.conftest import TOKENIZERS

LONG = "the film was good, the cast was warm and the story of číslo 7 was bright. " * 3
TEXTS = [
    LONG,
    "好",
    "x",
    "the film was bad and the cast was cold " * 9,
    "a" * 90,
    "Review: a slow, dull story.",
]


def request(kind: str, *arguments) -> Instance:
    return Instance(kind, {}, arguments, 0, metadata=("task", 0, 1))


def rolling(lm, texts: list[str]) -> list:
    return lm.loglikelihood_rolling(
        [request("loglikelihood_rolling", text) for text in texts], disable_tqdm=True
    )


def llama(vocabulary: int, **changes):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 2, "max_position_embeddings": 128, "bos_token_id": 1, "eos_token_id": 2,
        "pad_token_id": 0,
    }  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **config | changes)).eval()


def loaded(model, tokenizer, max_length: int = 128) -> BaseModel:
    info = ModelInfo(pretrained="tiny", identity="tiny", dtype="float32", parameters=1)
    return BaseModel(model, tokenizer, info, max_length, "cpu")


@pytest.fixture(scope="module", params=TOKENIZERS)
def uniform(request: pytest.FixtureRequest) -> tuple[torch.nn.Module, object]:
    """(a model that gives every token the same probability, tokenizer)."""
    tokenizer = build_tokenizer(request.param)
    model = llama(len(tokenizer))
    model.lm_head.weight.data.zero_()
    return model, tokenizer


# --- perplexity of a uniform model: the vocabulary, whatever the window
# ------------------------------------------


@pytest.mark.parametrize("max_length", [1, 5, 16, 128])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_uniform_model_has_the_perplexity_of_its_vocabulary(
    uniform, max_length: int, batch_size: int
):
    model, tokenizer = uniform
    vocabulary = model.config.vocab_size
    lm = make_causal_lm(loaded(model, tokenizer, max_length), batch_size)
    results = rolling(lm, TEXTS)
    counts = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in TEXTS]
    assert max(counts) > max_length or max_length == 128
    assert [result.tokens for result in results] == counts
    assert list(results) == pytest.approx([-n * math.log(vocabulary) for n in counts], rel=1e-6)
    items = [
        score_text_ppl({"text": text}, [result])
        for text, result in zip(TEXTS, results, strict=True)
    ]
    ppl = {name: find_metric(name).value([item[name] for item in items]) for name in items[0]}
    total, size = sum(counts), sum(len(text.encode()) for text in TEXTS)
    assert ppl["token_ppl"] == pytest.approx(vocabulary, rel=1e-6)
    assert ppl["byte_ppl"] == pytest.approx(vocabulary ** (total / size), rel=1e-6)
    assert ppl["char_ppl"] == pytest.approx(vocabulary ** (total / sum(map(len, TEXTS))), rel=1e-6)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_an_answer_of_a_uniform_model_too(uniform, batch_size: int):
    model, tokenizer = uniform
    pairs = [
        ("Review: the film", " was good"),
        ("Review: the film was", " bad"),
        ("x" * 200, " cold and slow"),
    ]
    lm = make_causal_lm(loaded(model, tokenizer, 24), batch_size)
    results = lm.loglikelihood(
        [request("loglikelihood", *pair) for pair in pairs], disable_tqdm=True
    )
    answers = [
        len(tokenizer(p + a)["input_ids"]) - len(tokenizer(p)["input_ids"]) for p, a in pairs
    ]
    assert [result.tokens for result in results] == answers
    items = [
        score_answer_ppl({"answer": a.strip()}, [r])
        for (_, a), r in zip(pairs, results, strict=True)
    ]
    for name in ("token_ppl", "item_ppl"):
        value = find_metric(name).value([item[name] for item in items])
        assert value == pytest.approx(model.config.vocab_size, rel=1e-6)
    assert lm.truncated_prompts == {"x" * 200}


def test_an_empty_text_has_no_tokens_and_no_score(uniform):
    model, tokenizer = uniform
    lm = make_causal_lm(loaded(model, tokenizer), 4)
    (alone,) = rolling(lm, [""])
    assert (float(alone), alone.tokens) == (0.0, 0)
    first, empty, last = rolling(lm, ["x", "", "the film"])
    assert (float(empty), empty.tokens) == (0.0, 0)
    assert min(first.tokens, last.tokens) > 0
    assert set(score_text_ppl({"text": ""}, [empty]).values()) == {None}


# --- against a bare loop
# -------------------------------------------------------------------------------------------


def log_probabilities(model, read: list[int], scored: list[int]) -> float:
    """Sum over the last tokens that `read` predicts, by transformers alone."""
    with torch.no_grad():
        logits = model(torch.tensor([read])).logits[0].double().log_softmax(-1)
    return sum(float(logits[len(read) - len(scored) + i, token]) for i, token in enumerate(scored))


def bare_loop(model, opening: int, ids: list[int], length: int) -> float:
    """Windows of `length` tokens read: the first opens with `opening`, the others with the token
    before; the last reads as much of what comes before as fits."""
    total = log_probabilities(model, [opening, *ids[: length - 1]][: len(ids)], ids[:length])
    for start in range(length, len(ids), length):
        end = min(start + length, len(ids))
        total += log_probabilities(model, ids[end - 1 - length : end - 1], ids[start:end])
    return total


@pytest.mark.parametrize("max_length", [7, 128])
def test_rolling_equals_a_bare_loop(base: BaseModel, max_length: int):
    results = rolling(make_causal_lm(loaded(base.model, base.tokenizer, max_length), 3), TEXTS)
    for text, result in zip(TEXTS, results, strict=True):
        ids = base.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert float(result) == pytest.approx(bare_loop(base.model, 1, ids, max_length), rel=1e-5)


def test_windows_that_read_the_same_tokens_are_scored_apart(base: BaseModel):
    """21 equal tokens in windows of 8: the second scores 8 and the third 5 of the same 8 tokens
    read. With logits shared between the two, lm-eval takes the first 5 of them instead of the
    last."""
    (token,) = base.tokenizer("x", add_special_tokens=False)["input_ids"]
    (result,) = rolling(make_causal_lm(loaded(base.model, base.tokenizer, 8), 4), ["x" * 21])
    assert result.tokens == 21
    assert float(result) == pytest.approx(bare_loop(base.model, 1, [token] * 21, 8), rel=1e-6)


def test_a_text_that_spells_the_opening_token_is_not_opened_twice(base: BaseModel):
    spelt, plain = rolling(make_causal_lm(base, 2), ["<s>the film", "the film"])
    assert (float(spelt), spelt.tokens) == (float(plain), plain.tokens)


def test_special_tokens_at_either_end_are_not_scored(base: BaseModel):
    from tokenizers import processors

    tokenizer = build_tokenizer("bpe_bos")
    both = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer.backend_tokenizer.post_processor = both
    assert tokenizer("x")["input_ids"][-1] == 2
    (expected,) = rolling(make_causal_lm(base, 1), ["the film"])
    (result,) = rolling(make_causal_lm(loaded(base.model, tokenizer), 1), ["the film"])
    assert (float(result), result.tokens) == (float(expected), expected.tokens)


def test_tokens_read_are_counted(base: BaseModel):
    lm = make_causal_lm(loaded(base.model, base.tokenizer, 8), 4)
    rolling(lm, ["x" * 21])
    # windows read and score 1 + 8, 1 + 8, and 4 + 5 tokens
    assert lm.scored_tokens == 27
    assert lm.truncated_prompts == set()


def test_nan_gives_no_log_likelihood(model_folder: Path):
    broken = load_base_model(ModelSection(pretrained=str(model_folder)))
    broken.model.model.norm.weight.data.fill_(3e38)
    with pytest.raises(NonFiniteError):
        rolling(make_causal_lm(broken, 1), ["the film"])


def test_an_answer_longer_than_the_context_is_refused(base: BaseModel):
    lm = make_causal_lm(loaded(base.model, base.tokenizer, 8), 1)
    with pytest.raises(InputError, match="an answer has 10 tokens, the context 8"):
        lm.loglikelihood([request("loglikelihood", "the film", "x" * 10)], disable_tqdm=True)


# --- generation: was the text cut?
# ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chain() -> BaseModel:
    """The next token depends on the last one alone: a -> b -> c -> EOS, d -> d, e -> f -> newline
    -> newline."""
    tokenizer = build_tokenizer("bpe_plain")
    vocabulary = len(tokenizer)
    model = llama(
        vocabulary, hidden_size=vocabulary // 2 * 2, num_attention_heads=2, num_key_value_heads=2
    )
    width = model.config.hidden_size

    def token(text: str) -> int:
        (found,) = tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    following = {token(a): token(b) for a, b in ("ab", "bc", "dd", "ef", "f\n", "\n\n")} | {
        token("c"): 2
    }
    model.model.embed_tokens.weight.data = torch.eye(vocabulary, width)
    layer = model.model.layers[0]
    layer.self_attn.o_proj.weight.data.zero_()
    layer.mlp.down_proj.weight.data.zero_()
    head = torch.zeros(vocabulary, width)
    for last, then in following.items():
        head[then, last] = 1.0
    model.lm_head.weight.data = head
    return loaded(model, tokenizer)


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize(
    ("room", "expected"),
    [
        # b, c, EOS are three tokens; f and the newline, at which lm-eval stops, are two
        (
            1,
            {
                "a": ("b", True),
                "d": ("d", True),
                "e": ("f", True),
                "f": ("", False),
                "c": ("", False),
            },
        ),
        (
            2,
            {
                "a": ("bc", True),
                "d": ("dd", True),
                "e": ("f", False),
                "f": ("", False),
                "c": ("", False),
            },
        ),
        (
            3,
            {
                "a": ("bc", False),
                "d": ("ddd", True),
                "e": ("f", False),
                "f": ("", False),
                "c": ("", False),
            },
        ),
        (
            6,
            {
                "a": ("bc", False),
                "d": ("dddddd", True),
                "e": ("f", False),
                "f": ("", False),
                "c": ("", False),
            },
        ),
    ],
)
def test_a_text_without_end_at_the_longest_length_is_cut(
    chain: BaseModel, batch_size: int, room: int, expected: dict
):
    arguments = {"until": ["\n"], "max_gen_toks": room, "do_sample": False}
    prompts = (
        ["xx" + last for last in expected] + list(expected) + ["a", "d"]
    )  # of two lengths, some twice
    lm = make_causal_lm(chain, batch_size)
    results = lm.generate_until(
        [request("generate_until", p, dict(arguments)) for p in prompts], disable_tqdm=True
    )
    assert [(str(r), r.truncated) for r in results] == [expected[p[-1]] for p in prompts]
    assert all(isinstance(result, GeneratedText) for result in results)


def test_an_end_token_of_the_model_alone_ends_a_text(chain: BaseModel):
    """Chat models end a turn with a token that is not the tokenizer's EOS."""
    (c,) = chain.tokenizer("c", add_special_tokens=False)["input_ids"]
    kept = chain.model.generation_config.eos_token_id
    chain.model.generation_config.eos_token_id = [2, c]
    try:
        arguments = {"until": [], "max_gen_toks": 2, "do_sample": False}
        (result,) = make_causal_lm(chain, 1).generate_until(
            [request("generate_until", "a", arguments)], disable_tqdm=True
        )
    finally:
        chain.model.generation_config.eos_token_id = kept
    assert (str(result), result.truncated) == ("bc", False)


@pytest.mark.parametrize("prompts", [["a"], ["a", "d"]], ids=["alone", "beside a longer one"])
def test_a_stop_string_that_is_a_special_token_ends_a_text(chain: BaseModel, prompts: list[str]):
    """As `<|im_end|>` of chat templates, where it is not EOS; lm-eval's decoded answers do not show it."""
    (c,) = chain.tokenizer("c", add_special_tokens=False)["input_ids"]
    head = chain.model.lm_head.weight
    kept = head.data.clone()
    head.data[:, c] = 0.0
    head.data[3, c] = 1.0  # c -> <unk> in the place of EOS
    try:
        arguments = {"until": ["<unk>"], "max_gen_toks": 5, "do_sample": False}
        requests = [request("generate_until", prompt, dict(arguments)) for prompt in prompts]
        results = make_causal_lm(chain, 2).generate_until(requests, disable_tqdm=True)
    finally:
        head.data.copy_(kept)
    assert [result.truncated for result in results] == [prompt == "d" for prompt in prompts]


def test_the_values_are_lm_evals_own_kinds():
    scored = ScoredAnswer((-1.5, True))
    scored.tokens = 3
    again = pickle.loads(pickle.dumps(scored))  # noqa: S301 - our own bytes
    assert (tuple(again), again.tokens, json.dumps(again)) == ((-1.5, True), 3, "[-1.5, true]")


# --- through lm-eval, ours and the stock command
# -------------------------------------------------------------------

INSTRUCTIONS = [
    {"instruction": f"Name film {i}.\nBriefly", "answer": "the číslo film " * (1 + i % 3) + str(i)}
    for i in range(8)
]
RUNNING = [{"text": text} for text in TEXTS]


def score(base: BaseModel, task: str, rows: list[dict], out: Path) -> Evaluation:
    source = write_jsonl(out / "data" / "all.jsonl", rows)
    settings = EvalSection(splits=["test"], batch_size=3)
    spec = find_task(task, metadata={"data_source": str(source), "test_all": True})
    jobs = plan_jobs(load_tasks(spec, settings.splits), "hash", base, settings)
    (done,) = evaluate(ModelState(base_subject(base.info.pretrained), base), jobs, out / "results")
    return done


def stock(task: str, rows: list[dict], model_args: str, out: Path) -> dict:
    import lm_eval
    from lm_eval.tasks import TaskManager

    metadata = {
        "data_source": str(write_jsonl(out / "stock" / "all.jsonl", rows)),
        "test_all": True,
    }
    manager = TaskManager(
        include_path=str(task_yamls_dir()), include_defaults=False, metadata=metadata
    )
    outcome = lm_eval.simple_evaluate(
        model="hf", model_args=f"{model_args},softmax_dtype=float32", tasks=[task], task_manager=manager, device="cpu",
        batch_size=2, bootstrap_iters=0,
    )  # fmt: skip
    return outcome["results"][task]


def values(done: Evaluation) -> dict[str, float | None]:
    return {score.metric: score.value for score in done.record.scores}


def test_answers_under_the_stock_command(base: BaseModel, model_folder: Path, tmp_path: Path):
    done = score(base, "instruction_ppl_custom", INSTRUCTIONS, tmp_path)
    ours, theirs = (
        values(done),
        stock("instruction_ppl_custom", INSTRUCTIONS, f"pretrained={model_folder}", tmp_path),
    )
    for name in ("byte_ppl", "char_ppl"):
        assert theirs[f"{name},none"] == pytest.approx(ours[name], rel=1e-5)
    for name in ("token_ppl", "item_ppl"):
        assert theirs[f"{name},none"] is None
        assert ours[name] > 1
    assert {score.n for score in done.record.scores} == {8}
    assert not any(score.higher_is_better for score in done.record.scores)


def test_answers_are_recorded_as_what_they_are(base: BaseModel, tmp_path: Path):
    done = score(base, "instruction_ppl_custom", INSTRUCTIONS, tmp_path)
    for sample, row in zip(done.samples(), INSTRUCTIONS, strict=True):
        prompt, answer = f"{row['instruction']}\n\nAnswer:", f" {row['answer']}"
        assert (sample.prompt, sample.target, sample.prediction) == (prompt, row["answer"], None)
        ((log_likelihood, greedy),) = sample.responses
        read = base.tokenizer(prompt + answer)["input_ids"]
        scored = read[len(base.tokenizer(prompt)["input_ids"]) :]
        assert log_likelihood == pytest.approx(
            log_probabilities(base.model, read[:-1], scored), rel=1e-5
        )
        assert greedy is False
        assert sample.scores["token_ppl"] == [log_likelihood, len(scored)]
        assert not sample.invalid
        assert not sample.truncated


def test_running_text_is_recorded_as_what_it_is(base: BaseModel, tmp_path: Path):
    done = score(base, "text_ppl_custom", RUNNING, tmp_path)
    for sample, text in zip(done.samples(), TEXTS, strict=True):
        assert (sample.prompt, sample.target, sample.prediction) == ("", text, None)
        assert sample.scores["byte_ppl"] == [sample.responses[0], len(text.encode())]
        assert (sample.invalid, sample.truncated) == (False, False)
    assert done.record.scores[0].n == len(TEXTS)
    assert done.record.scores[0].low < done.record.scores[0].value < done.record.scores[0].high


def test_running_text_under_the_stock_command_has_bos_scored_given_bos(
    base: BaseModel, model_folder: Path, tmp_path: Path
):
    ours = values(score(base, "text_ppl_custom", RUNNING, tmp_path))
    as_it_is = stock("text_ppl_custom", RUNNING, f"pretrained={model_folder}", tmp_path)
    without = stock(
        "text_ppl_custom", RUNNING, f"pretrained={model_folder},add_bos_token=False", tmp_path
    )
    total = 0.0  # the stock command reads BOS BOS text and scores the second BOS too
    for text in TEXTS:
        ids = base.tokenizer(text)["input_ids"]
        assert ids[0] == 1
        total += bare_loop(base.model, 1, ids, 128)
    size, characters = sum(len(text.encode()) for text in TEXTS), sum(map(len, TEXTS))
    assert as_it_is["byte_ppl,none"] == pytest.approx(math.exp(-total / size), rel=1e-5)
    assert as_it_is["byte_ppl,none"] > ours["byte_ppl"] * 1.01
    assert without["byte_ppl,none"] == pytest.approx(ours["byte_ppl"], rel=1e-5)
    assert without["char_ppl,none"] == pytest.approx(
        math.exp(math.log(ours["byte_ppl"]) * size / characters), rel=1e-5
    )
    assert without["token_ppl,none"] is None


def test_the_signature_says_what_a_metric_is_in_each_language(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    said = {("token_ppl", "zh"): "per token, zh", ("token_ppl", "fr"): "per token, fr"}
    monkeypatch.setattr(outcomes, "describe", lambda name, language: said.get((name, language), ""))
    task = SimpleNamespace(higher_is_better=lambda: {"token_ppl": False, "byte_ppl": False})
    settings = SimpleNamespace(
        task="t", task_version="1", task_hash="h", num_fewshot=0, back_end="hf", max_length=8, cluster=None,
    )  # fmt: skip
    job, state = SimpleNamespace(task=task, settings=settings), ModelState("base", base)

    def signature(name: str, *languages) -> str:
        samples = [SimpleNamespace(doc={"language": language} if language else {}, scores={}, invalid=False,
                                   truncated=False) for language in languages]  # fmt: skip
        (found,) = [s.signature for s in make_scores(state, job, samples) if s.metric == name]
        return found

    assert "|definition:per token, zh|" in signature("token_ppl", "zh", "zh")
    assert "|definition:per token, fr or per token, zh|" in signature(
        "token_ppl", "zh", "fr", None, ["zh"]
    )
    assert "definition" not in signature("token_ppl", None)
    assert "definition" not in signature("byte_ppl", "zh")


@pytest.mark.parametrize(
    ("scores", "invalid"), [({"invalid": 1.0}, True), ({"invalid": 0.0}, False), ({}, False)]
)
def test_an_unreadable_answer_is_recorded_as_invalid(scores: dict, invalid: bool):
    item = {
        "doc": {"q": "?"}, "doc_id": 0, "arguments": [("prompt", {})], "filtered_resps": [GeneratedText(" hm ")],
        "resps": [[GeneratedText(" hm ")]], "target": "good", "prompt_hash": "p", "target_hash": "t",
        "metrics": list(scores), **scores,
    }  # fmt: skip
    job = SimpleNamespace(task=SimpleNamespace(OUTPUT_TYPE="generate_until"))
    sample = make_sample(job, item, {"prompt"}, Counter())
    assert (sample.invalid, sample.truncated) == (invalid, True)
    assert (sample.responses, sample.prediction, sample.target) == ([" hm "], "hm", "good")
    assert type(sample.responses[0]) is str


@pytest.mark.parametrize(
    ("right", "low", "high"), [([1] * 10, 0.645, 1.0), ([0, 1] * 20, 0.338, 0.662)]
)
def test_items_that_come_twice_make_an_interval_of_single_ones(
    right: list[int], low: float, high: float
):
    """Clusters of two equal items. 10 of 10: an unseen cluster of zeros has the share x of eleven
    exponential weights, counted by half: 0.5 (1 - x)^10 = 0.025 at x = 0.259, stretched by
    t(9) / 1.96 = 1.154, the jackknife's sqrt(10/9), the weights' sqrt(11/9) and decision 003's 2 %: 1 - 0.355 = 0.645,
    not 20 / (20 + 1.96^2) = 0.839 as of twenty. 20 of 40: 0.5 -+ 2.02 * sqrt(0.25 / 39) = 0.338 to
    0.662 (steps of 1/40), not 0.39 to 0.61 as of eighty."""
    samples = [
        SimpleNamespace(
            doc={"premise": str(i)}, scores={"acc": float(value)}, invalid=False, truncated=False
        )
        for i, value in enumerate(right)
        for _ in range(2)
    ]
    task = SimpleNamespace(higher_is_better=lambda: {"acc": True})
    settings = SimpleNamespace(
        task="t", task_version="1", task_hash="h", num_fewshot=0, back_end="hf", max_length=8, cluster="premise",
    )  # fmt: skip
    base = SimpleNamespace(info=SimpleNamespace(dtype="float32"))
    job, state = SimpleNamespace(task=task, settings=settings), ModelState("base", base)
    (score,) = make_scores(state, job, samples)
    assert (score.low, score.high) == pytest.approx((low, high), abs=0.02)
