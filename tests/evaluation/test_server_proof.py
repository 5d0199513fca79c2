"""Nothing is scored before a server was seen to have the base and to apply the adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

from ft_harness.errors import ConfigError, InputError
from ft_harness.evaluation.backends.causal import make_causal_lm
from ft_harness.evaluation.backends.server import (
    Probes,
    connect,
    find_name,
    make_probes,
    problems,
    prove_adapter,
    prove_base,
    state_agreement,
)
from ft_harness.models.adapters import AdapterFolder, attached
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.models.prompts import PLAIN
from ft_harness.recipe import ModelSection, ServerSection
from tests.builders.served import StandIn, standing
from tests.builders.tiny import CORPUS, save_adapter, save_model

TEXTS = [(text.rpartition(" ")[0], f" {text.rpartition(' ')[2]}") for text in (*CORPUS, *CORPUS)]


@pytest.fixture(scope="module")
def folders(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters: two that differ, one that changes next to nothing, and some of other kinds."""
    root = tmp_path_factory.mktemp("proof")
    kinds = {
        "mine": {},
        "other": {},
        "faint": {"lora_alpha": 0.02},
        "dora": {"use_dora": True},
        "saved": {"modules_to_save": ["lm_head"]},
        "head": {"target_modules": ["q_proj", "lm_head"]},
        "embedding": {"target_modules": ["q_proj", "embed_tokens"]},
        "tokens": {"trainable_token_indices": [5]},
    }
    return {
        name: save_adapter(root / name, model_folder, seed, **options)
        for seed, (name, options) in enumerate(kinds.items())
    }


@pytest.fixture(scope="module")
def weights(model_folder: Path) -> BaseModel:
    return load_base_model(ModelSection(pretrained=str(model_folder)))


@pytest.fixture(scope="module")
def probes(weights: BaseModel) -> Probes:
    return make_probes(weights, TEXTS)


@pytest.fixture
def server(model_folder: Path, folders: dict[str, Path]):
    with standing(model_folder) as running:
        running.load("mine", str(folders["mine"]))
        yield running


@pytest.fixture
def connected(server: StandIn, model_folder: Path, weights: BaseModel):
    section = ServerSection(url=server.url, timeout=5)
    return connect(ModelSection(pretrained=str(model_folder)), section, weights)


def test_a_right_server_agrees_and_says_so(connected, probes, folders):
    base = prove_base(connected, probes)
    found = base.agreement
    assert (found.engine, found.model, found.probes) == ("vllm 0.32.0", "base", 8)
    assert (found.source, found.flips, found.change) == ("weights", 0, None)
    assert found.nats < 1e-4
    tuned, info = prove_adapter(base, "mine", AdapterFolder(folders["mine"]), probes, PLAIN)
    assert tuned.name == "mine"
    assert tuned.agreement.nats < 1e-4
    assert tuned.agreement.change > 0.1
    assert info.live_proof.changed_prompts == 8
    assert "8 real answers within" in state_agreement(tuned)
    assert "no flip" in state_agreement(tuned)


def test_probes_are_asked_alone_then_together_in_another_order(connected, probes, folders, server):
    prove_adapter(connected, "mine", AdapterFolder(folders["mine"]), probes, PLAIN)
    asked = [(body["model"], tuple(body["prompt"])) for body in server.requests]
    assert len(asked) == 32
    assert sorted(asked[:16]) == sorted(asked[16:])
    assert [name for name, _ in asked[:16]] == ["base"] * 8 + ["mine"] * 8
    assert {name for name, _ in asked[16:20]} == {"base", "mine"}


@pytest.mark.parametrize("fault", ["is another model", "adds a token silently"])
def test_another_base_is_refused(fault, connected, probes, server):
    server.faults = {fault}
    with pytest.raises(InputError, match=r"base differs from .* nats on a real answer"):
        prove_base(connected, probes)


def test_other_weights_are_refused(model_folder, weights, probes, tmp_path):
    with standing(save_model(tmp_path / "other", seed=9)) as other:
        section = ServerSection(url=other.url)
        base = connect(ModelSection(pretrained=str(model_folder)), section, weights)
        with pytest.raises(InputError, match="differs from"):
            prove_base(base, probes)


@pytest.mark.parametrize("fault", ["ignores adapters", "ignores adapters together"])
def test_an_adapter_that_is_left_out_is_refused(fault, connected, probes, folders, server):
    server.faults, server.slow = {fault}, 0.02
    with pytest.raises(InputError, match="the server does not apply it"):
        prove_adapter(connected, "mine", AdapterFolder(folders["mine"]), probes, PLAIN)


def test_another_adapter_of_the_same_name_is_refused(connected, probes, folders):
    with pytest.raises(InputError, match="mine differs from the adapter's own weights"):
        prove_adapter(connected, "mine", AdapterFolder(folders["other"]), probes, PLAIN)


def test_an_effect_below_the_servers_own_differences_proves_nothing(
    connected, probes, folders, server
):
    """0.001 nats of an adapter can't be told from a server that is 0.001 nats off."""
    faint = AdapterFolder(folders["faint"])
    server.load("faint", str(folders["faint"]))
    tuned, _ = prove_adapter(connected, "faint", faint, probes, PLAIN)
    assert 1e-4 < tuned.agreement.change < 0.01
    server.faults = {"rounds"}
    assert prove_base(connected, probes).agreement.nats > tuned.agreement.change / 4
    with pytest.raises(InputError, match="stands out"):
        prove_adapter(connected, "faint", faint, probes, PLAIN)


def test_every_server_proves_itself(connected, probes, server, model_folder, weights):
    with standing(model_folder) as second:
        section = ServerSection(url=(server.url, second.url), timeout=5)
        base = connect(ModelSection(pretrained=str(model_folder)), section, weights)
        assert prove_base(base, probes).agreement.servers == 2
        second.faults = {"is another model"}
        with pytest.raises(InputError, match=second.url):
            prove_base(base, probes)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("dora", "use_dora"),
        ("saved", "modules_to_save"),
        ("head", "it adapts lm_head"),
        ("embedding", "it adapts model.embed_tokens"),
        ("tokens", "trainable_token_indices"),
    ],
)
def test_adapters_that_servers_leave_parts_of_out_are_refused(name, reason, connected, folders):
    (found,) = problems(AdapterFolder(folders[name]), connected)
    assert reason in found.what
    assert not problems(AdapterFolder(folders["mine"]), connected)


def test_an_adapter_that_is_missing_is_loaded_under_a_name_of_its_weights(
    connected, folders, server
):
    other = AdapterFolder(folders["other"])
    name = find_name(other, connected, {})
    assert name == f"other-{other.identity.removeprefix('sha256:')[:8]}"
    assert server.adapters[name] == str(folders["other"])
    assert find_name(other, connected, {}) == name  # not loaded again
    assert find_name(AdapterFolder(folders["mine"]), connected, {}) == "mine"


def test_an_adapter_that_a_server_refuses_to_load(connected, folders, server):
    server.max_rank = 2
    with pytest.raises(InputError, match="LoRA rank 4 is greater than max_lora_rank 2"):
        find_name(AdapterFolder(folders["other"]), connected, {})
    server.loads = False
    with pytest.raises(InputError, match="status 404"):
        find_name(AdapterFolder(folders["other"]), connected, {})


def test_a_name_that_no_server_has(connected, folders):
    with pytest.raises(ConfigError, match="has no 'theirs'"):
        find_name(AdapterFolder(folders["mine"]), connected, {"mine": "theirs"})
    assert find_name(AdapterFolder(folders["other"]), connected, {"other": "mine"}) == "mine"


def known_answers(weights: BaseModel, folder: Path, probes: Probes) -> list[dict]:
    before = make_causal_lm(weights).scorer.score(probes.queries)
    with attached(folder, weights, probes.prompts) as (tuned, _):
        after = make_causal_lm(tuned).scorer.score(probes.queries)
    return [
        {"stem": query.stem, "answer": query.answer, "base": base, "tuned": changed}
        for query, base, changed in zip(probes.queries, before, after, strict=True)
    ]


def test_servers_that_differ_are_refused(model_folder, server, tmp_path):
    with standing(model_folder) as second:
        second.max_model_len = 64
        section = ServerSection(url=(server.url, second.url))
        with pytest.raises(InputError, match="the servers differ"):
            connect(ModelSection(pretrained=str(model_folder)), section)


def test_a_server_that_is_not_there(model_folder):
    section = ServerSection(url="http://127.0.0.1:9", timeout=1)
    with pytest.raises(ConfigError, match="no answer"):
        connect(ModelSection(pretrained=str(model_folder)), section)


def test_a_base_that_the_server_does_not_have(model_folder, server):
    section = ServerSection(url=server.url, model="bse")
    with pytest.raises(ConfigError, match="no base model 'bse'; did you mean base"):
        connect(ModelSection(pretrained=str(model_folder)), section)


def test_a_key_is_sent_and_never_shown(model_folder, server, monkeypatch):
    server.key = "a-key-of-forty-characters"
    section = ServerSection(url=server.url, api_key_env="SERVED")
    with pytest.raises(ConfigError, match="SERVED is not set"):
        connect(ModelSection(pretrained=str(model_folder)), section)
    monkeypatch.setenv("SERVED", "a-wrong-key-of-some-length")
    with pytest.raises(ConfigError, match="status 401") as refused:
        connect(ModelSection(pretrained=str(model_folder)), section)
    assert "a-wrong-key" not in str(refused.value)
    monkeypatch.setenv("SERVED", server.key)
    assert connect(ModelSection(pretrained=str(model_folder)), section).name == "base"
