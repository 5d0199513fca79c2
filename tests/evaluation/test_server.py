"""Scores that a server computes equal those of the weights on this machine; a stand-in speaks vLLM's
API."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from lm_eval.api.instance import Instance

from ft_harness.errors import ConfigError, InputError, NonFiniteError, ResourceError
from ft_harness.evaluation.backends import make_lm
from ft_harness.evaluation.backends.planning import Query
from ft_harness.evaluation.backends.server import ServedBase, ServerLM, connect
from ft_harness.evaluation.backends.server.completions import (
    MOST_TOKENS,
    likelihood_requests,
    sampling_of,
)
from ft_harness.evaluation.backends.store import ResponseStore
from ft_harness.models.adapters import attached
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.recipe import ModelSection, ServerSection
from tests.builders.served import StandIn, standing
from tests.builders.tiny import save_adapter


@pytest.fixture(scope="module")
def adapter(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_adapter(tmp_path_factory.mktemp("served") / "mine", model_folder, seed=1)


@pytest.fixture(scope="module")
def running(model_folder: Path, adapter: Path):
    with standing(model_folder) as server:
        server.load("mine", str(adapter))
        yield server


@pytest.fixture
def server(running: StandIn):
    running.requests.clear()
    yield running
    running.faults, running.slow = set(), 0.0


@pytest.fixture(scope="module")
def weights(model_folder: Path) -> BaseModel:
    return load_base_model(ModelSection(pretrained=str(model_folder)))


def served(server: StandIn, model_folder: Path, name: str = "base", **options) -> ServedBase:
    section = ServerSection(url=server.url, **{"timeout": 5, **options})
    return replace(connect(ModelSection(pretrained=str(model_folder)), section), name=name)


def ask(text: str, *answers: str) -> list[Instance]:
    return [Instance("loglikelihood", {}, (text, answer), 0) for answer in answers]


REQUESTS = [
    *ask("Review: a slow, dull story. Sentiment:", " bad", " good", " bad and cold"),
    *ask("Review: a bright, funny story. Sentiment:", " bad", " good", " good and warm film"),
    *ask("", "the film was good"),
    *ask("the film " * 70, " was good"),  # cut from the left
]


@pytest.mark.parametrize("name", ["base", "mine"])
def test_log_likelihoods_are_those_of_the_weights(name, server, weights, adapter, model_folder):
    """Also in another order, and of prompts that are cut."""
    lm = make_lm(served(server, model_folder, name))
    shuffled = random.Random(0).sample(REQUESTS, len(REQUESTS))
    if name == "base":
        ours = make_lm(weights).loglikelihood(REQUESTS)
    else:
        with attached(adapter, weights, ["the film"]) as (tuned, _):
            ours = make_lm(tuned).loglikelihood(REQUESTS)
    # one token less of context, which only the cut prompt feels
    for given in (REQUESTS, shuffled):
        found = dict(zip(map(id, given), lm.loglikelihood(given), strict=True))
        for request, (value, greedy) in list(zip(REQUESTS, ours, strict=True))[:-1]:
            assert found[id(request)][0] == pytest.approx(value, abs=1e-4)
            assert found[id(request)][1] == greedy
            assert found[id(request)].tokens > 0


def test_choices_of_one_token_share_a_request(server, model_folder, weights):
    lm = make_lm(served(server, model_folder))
    tokens = [weights.tokenizer.encode(f" {word}")[1:] for word in ("good", "bad", "film")]
    assert {len(ids) for ids in tokens} == {1}
    lm.loglikelihood(ask("the cast was", " good", " bad", " film"))
    (body,) = server.requests
    assert body["max_tokens"] == 1
    assert sorted(body["logprob_token_ids"]) == sorted(ids[0] for ids in tokens)
    assert "prompt_logprobs" not in body


def test_more_answers_than_a_server_takes_are_asked_for_in_parts():
    queries = {n: Query((1, 2), (n,)) for n in range(MOST_TOKENS + 5)}
    sizes = [len(request.queries) for request in likelihood_requests(queries)]
    assert sizes == [MOST_TOKENS, 5]


def test_running_texts_and_texts_longer_than_the_context(server, model_folder, weights):
    """Windows are as long as the context, which is a token shorter on a server."""
    texts = ["the film was good and the cast was warm", "a film " * 150, ""]
    requests = [Instance("loglikelihood_rolling", {}, (text,), 0) for text in texts]
    base = served(server, model_folder)
    assert base.max_length == 127
    ours = make_lm(replace(weights, max_length=127)).loglikelihood_rolling(requests)
    found = make_lm(base).loglikelihood_rolling(requests)
    assert list(found) == pytest.approx(list(ours), abs=1e-3)
    assert [text.tokens for text in found] == [text.tokens for text in ours]


@pytest.mark.parametrize("stop", [[], ["a"], ["the film", " "], ["never said"]])
@pytest.mark.parametrize("most", [1, 6, 20])
def test_generated_texts_are_those_of_the_weights(stop, most, server, model_folder, weights):
    prompts = ["the film", "Review: a slow", "the cast was warm and", ""]
    arguments = {"until": stop, "max_gen_toks": most, "do_sample": False}
    requests = [Instance("generate_until", {}, (text, dict(arguments)), 0) for text in prompts]
    ours = make_lm(replace(weights, max_length=127)).generate_until(requests)
    found = make_lm(served(server, model_folder)).generate_until(requests)
    assert list(found) == list(ours)
    assert [text.truncated for text in found] == [text.truncated for text in ours]


def test_a_sampled_text_has_a_seed_of_its_own(server, model_folder):
    base = served(server, model_folder)
    arguments = {"until": [], "max_gen_toks": 8, "do_sample": True, "temperature": 1.5}
    requests = [
        Instance("generate_until", {}, (text, dict(arguments)), 0)
        for text in ("the film", "the film", "the cast")
    ]
    found = list(make_lm(base).generate_until(requests))
    again = list(make_lm(base).generate_until(requests[::-1]))[::-1]
    assert found[2] == again[2]
    assert sorted(found[:2]) == sorted(again[:2])
    assert found[0] != found[1]
    assert list(make_lm(base, seed=7).generate_until(requests)) != found


def test_decoding_is_said_in_full_as_servers_have_defaults_of_their_own():
    own = {"temperature": 0.6, "top_p": 0.9, "repetition_penalty": 1.2, "eos_token_id": [1]}
    greedy = sampling_of({**own, "do_sample": False})
    assert greedy == {
        "temperature": 0, "top_k": 0, "top_p": 1, "min_p": 0, "repetition_penalty": 1.2,
    }  # fmt: skip
    drawn = sampling_of({**own, "do_sample": True, "top_k": 5})
    assert (drawn["temperature"], drawn["top_p"], drawn["top_k"]) == (0.6, 0.9, 5)
    with pytest.raises(InputError, match="num_beams"):
        sampling_of({"num_beams": 4})


def test_a_killed_run_asks_for_nothing_twice(server, model_folder, tmp_path):
    def scored(requests):
        lm = make_lm(served(server, model_folder, concurrency=1))
        lm.store = ResponseStore(tmp_path, {"model": "x"})
        return lm, lm.loglikelihood(requests)

    _, first = scored(REQUESTS[:4])
    asked = len(server.requests)
    assert asked
    lm, found = scored(REQUESTS)
    assert [tuple(each) for each in found[:4]] == [tuple(each) for each in first]
    bodies = [json.dumps(body, sort_keys=True) for body in server.requests]
    assert len(set(bodies)) == len(bodies)
    assert (lm.effort.reused, lm.effort.computed) == (4, len(REQUESTS) - 4)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("shuffles answers", "not to the tokens that were sent"),
        ("adds a token", "not to the tokens that were sent"),
        ("duplicates", "the server gave 2 answers"),
        ("truncates", "lacks the log-probability"),
    ],
)
def test_an_answer_to_something_else_is_refused(fault, said, server, model_folder):
    lm = make_lm(served(server, model_folder, concurrency=1))
    server.faults = {fault}
    with pytest.raises(InputError, match=said):
        lm.loglikelihood(REQUESTS)


def test_log_probabilities_within_a_prompt_that_are_cut_are_refused(server, model_folder):
    (request,) = likelihood_requests({0: Query((1, 5), (6, 7, 8))})
    answer = server.complete(request.body("base"))
    assert request.read(answer)[0][0] < 0
    answer["choices"][0]["prompt_logprobs"].pop()
    with pytest.raises(InputError, match="not those of the tokens"):
        request.read(answer)


def test_nan_is_no_score(server, model_folder):
    lm = make_lm(served(server, model_folder))
    server.faults = {"states NaN"}
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        lm.loglikelihood(REQUESTS[:2])


@pytest.mark.parametrize("fault", ["fails at first", "drops connections"])
def test_what_fails_once_is_asked_again(fault, server, model_folder, monkeypatch):
    monkeypatch.setattr("ft_harness.evaluation.backends.server.pool.FIRST_PAUSE", 0.001)
    base = served(server, model_folder)
    right = make_lm(base).loglikelihood(REQUESTS)
    server.heard.clear()
    server.faults = {fault}
    assert list(make_lm(base).loglikelihood(REQUESTS)) == list(right)
    assert set(server.heard.values()) == {2}


def test_a_server_that_is_too_slow_is_given_up(server, model_folder):
    base = served(server, model_folder, timeout=0.2)
    server.slow = 1.0
    with pytest.raises(ResourceError, match="ReadTimeout"):
        make_lm(base).loglikelihood(REQUESTS[:2])


@pytest.mark.parametrize(
    ("options", "what", "expected"),
    [
        ({"concurrency": "many"}, "ft-server: concurrency is 'many'", "a whole number"),
        ({"timeout": "long"}, "ft-server: timeout is 'long'", "a number"),
        ({"dtype": "float8"}, "ft-server: dtype is 'float8'", "'"),
        ({"url": None}, "ft-server: url is missing", "url=http://HOST:PORT"),
    ],
)
def test_a_wrong_model_argument_is_answered_in_plain_words(options, what, expected):
    given = {"url": "http://127.0.0.1:9", "model": "m", **options}
    with pytest.raises(ConfigError) as caught:
        ServerLM("bundled", **{name: each for name, each in given.items() if each is not None})
    assert caught.value.what == what
    assert caught.value.expected.startswith(expected)
