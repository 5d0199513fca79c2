"""The commands with a server in place of this machine; a stand-in speaks vLLM's API."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ft_harness.evaluation.backends.server import served_base
from ft_harness.records import read_evaluation
from tests.builders.command import assert_three_lines
from tests.builders.served import standing
from tests.builders.tiny import save_adapter, write_jsonl

pytestmark = pytest.mark.usefixtures("small_index")


@pytest.fixture(scope="module")
def adapter(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_adapter(tmp_path_factory.mktemp("served") / "mine", model_folder, seed=1)


@pytest.fixture
def server(model_folder: Path):
    with standing(model_folder) as running:
        yield running


@pytest.fixture
def recipe(model_folder: Path, reviews: Path, tmp_path: Path) -> Path:
    return write_recipe(tmp_path / "recipe.yaml", model_folder, reviews)


def write_recipe(path: Path, model: Path, source: Path, task: str = "demo_sentiment") -> Path:
    path.write_text(
        f"model: {{pretrained: {model}, max_length: 120}}\ntask: {{name: {task}}}\ndata: {{source: {source}}}\n"
        "adapter: {r: 4}\ntrain: {num_train_epochs: 1, learning_rate: 0.02}\neval: {splits: [test]}\n"
        "controls: {tasks: []}\n",
        encoding="utf-8",
    )
    return path


def responses(results: Path) -> dict[str, list]:
    """Subject -> responses of each doc."""
    found = {}
    for file in sorted(results.rglob("record.json")):
        evaluation = read_evaluation(file.parent)
        found[evaluation.record.subject] = [
            [
                tuple(response) if isinstance(response, list) else response
                for response in sample.responses
            ]
            for sample in evaluation.samples()
        ]
    return found


def records(results: Path) -> list:
    return [read_evaluation(file.parent).record for file in sorted(results.rglob("record.json"))]


def test_base_and_adapter_score_as_on_this_machine(ft, recipe, adapter, server, tmp_path):
    code, _, err = ft(
        "eval", recipe, "--adapter", adapter, "--server", server.url, "--out", "served"
    )
    assert code == 0, err
    assert "base on a server (vllm 0.32.0): 8 real answers within" in err
    assert "the adapter changes one by" in err
    code, _, err = ft("eval", recipe, "--adapter", adapter, "--out", "here")
    assert code == 0, err
    there, here = (responses(tmp_path / name / "results") for name in ("served", "here"))
    assert there.keys() == here.keys()
    for subject, docs in here.items():
        for ours, theirs in zip(docs, there[subject], strict=True):
            assert [value for value, _ in theirs] == pytest.approx([v for v, _ in ours], abs=1e-4)
            assert [greedy for _, greedy in theirs] == [greedy for _, greedy in ours]


def test_the_record_says_what_computed_it_and_how_far_that_agreed(
    ft, recipe, adapter, server, tmp_path
):
    code, _, err = ft("eval", recipe, "--adapter", adapter, "--server", server.url)
    assert code == 0, err
    base, tuned = sorted(records(tmp_path / "results"), key=lambda record: record.subject)
    assert base.settings.back_end == tuned.settings.back_end == "ft-server (vllm 0.32.0)"
    assert (base.settings.device, base.settings.max_length) == ("server", 120)
    assert (base.agreement.model, base.agreement.change) == ("base", None)
    assert tuned.agreement.model.startswith("mine-")
    assert tuned.agreement.nats < 1e-4 < tuned.agreement.change
    assert tuned.back_end.computed == 48


def test_a_base_of_this_machine_and_an_adapter_of_a_server_are_no_pair(
    ft, recipe, adapter, server, tmp_path
):
    ft("eval", recipe, "--out", "here")
    ft("eval", recipe, "--adapter", adapter, "--server", server.url, "--out", "served")
    (here,) = (tmp_path / "here" / "results").iterdir()
    code, _, err = ft("compare", here, tmp_path / "served" / "results" / "mine")
    assert code == 3
    assert "back_end  'ft-causal (softmax float32)'  'ft-server (vllm 0.32.0)'" in err


@pytest.mark.slow  # three commands; the pool of servers has its own quick tests
def test_a_server_that_died_is_asked_for_the_rest_alone(ft, recipe, adapter, server, tmp_path):
    once = ["eval", recipe, "--server", server.url, "--set", "eval.server.timeout=0.5"]
    whole = server.answer

    def dying(path, body):
        if len(server.requests) >= 26:  # behind the proof's 16
            server.faults = {"fails always"}
        return whole(path, body)

    server.answer, server.slow = dying, 0.02
    code, _, err = ft(*once)
    assert code == 5, err
    assert_three_lines(err, "EngineCore", "run the same command again")
    server.faults, server.answer = set(), whole
    kept = len(server.requests)
    code, _, err = ft(*once)
    assert code == 0, err
    scoring = server.requests[16:kept] + server.requests[kept + 16 :]
    asked = [json.dumps(body, sort_keys=True) for body in scoring]
    assert len(asked) == len(set(asked)) == 24


def test_several_servers_share_the_docs(ft, recipe, model_folder, server):
    with standing(model_folder) as second:
        urls = f"[{server.url}, {second.url}]"
        code, _, err = ft("eval", recipe, "--set", f"eval.server.url={urls}")
        assert code == 0, err
        assert "base on 2 servers" in err
        counts = [len(each.requests) - 16 for each in (server, second)]
        assert sum(counts) == 24
        assert min(counts) > 0


def test_an_adapter_that_the_server_ignores_is_not_scored(ft, recipe, adapter, server, tmp_path):
    server.faults = {"ignores adapters"}
    code, _, err = ft("eval", recipe, "--adapter", adapter, "--server", server.url)
    assert code == 3
    assert_three_lines(err, "the server does not apply it")
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["base--tiny"]


def test_an_adapter_that_servers_cannot_serve(ft, recipe, model_folder, server, tmp_path):
    whole = save_adapter(tmp_path / "saved", model_folder, 1, modules_to_save=["lm_head"])
    code, _, err = ft("eval", recipe, "--adapter", whole, "--server", server.url)
    assert code == 3
    assert_three_lines(err, "modules_to_save, which servers don't apply")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("eval.server.url=ftp://x", "an address like"),
        ("eval.server.url=http://me:secretword9@x", "without a user part"),
        ("adapter.use_dora=true", "servers leave it out"),
    ],
)
def test_recipes_that_no_server_can_run(setting, said, ft, recipe):
    address = [] if "url" in setting else ["--set", "eval.server.url=http://x"]
    code, _, err = ft("eval", recipe, *address, "--set", setting)
    assert code == 2
    assert_three_lines(err, said)


def lm_eval(reviews: Path, out: Path, model: str, given: str) -> list[str]:
    return [
        "lm-eval", "run", "--model", model, "--model_args", given, "--tasks", "demo_sentiment",
        "--metadata", json.dumps({"data_source": str(reviews)}), "--limit", "6",
        "--log_samples", "--output_path", str(out),
    ]  # fmt: skip


@pytest.mark.slow  # processes that import everything
def test_lm_evals_command_scores_an_adapter_on_a_server(
    ft, model_folder, reviews, adapter, server, tmp_path
):
    model = f"pretrained={model_folder},max_length=120"
    sides = {
        "ft-causal": f"{model},peft={adapter}",
        "ft-server": f"{model},peft={adapter},url={server.url}",
    }
    found = {}
    for side, given in sides.items():
        code, out, err = ft(*lm_eval(reviews, tmp_path / side, side, given))
        assert code == 0, err
        assert "|demo_sentiment|" in out
        (file,) = (tmp_path / side).rglob("samples_*.jsonl")
        lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
        found[side] = [float(each[0][0]) for line in lines for each in line["resps"]]
    assert found["ft-server"] == pytest.approx(found["ft-causal"], abs=1e-4)
    server.faults = {"ignores adapters"}
    code, _, err = ft(*lm_eval(reviews, tmp_path / "no", "ft-server", sides["ft-server"]))
    assert code == 3
    assert_three_lines(err, "the server does not apply it")


@pytest.mark.parametrize(
    ("given", "said"), [("", "url"), ("url=x", "url"), ("urls=x", "did you mean url")]
)
def test_model_arguments_that_are_no_server(given, said, ft, model_folder, reviews, tmp_path):
    given = f"pretrained={model_folder},{given}".rstrip(",")
    code, _, err = ft(*lm_eval(reviews, tmp_path / "no", "ft-server", given))
    assert code == 2
    assert_three_lines(err, said)


@pytest.mark.slow  # trains
def test_a_run_trains_here_and_scores_there(ft, recipe, server, tmp_path):
    code, _, err = ft("run", recipe, "--name", "a", "--set", f"eval.server.url={server.url}")
    assert code == 0, err
    assert "a-" in err
    assert {each.settings.back_end for each in records(tmp_path / "results")} == {
        "ft-server (vllm 0.32.0)"
    }


@pytest.mark.slow  # two sweeps
def test_a_sweep_trains_here_and_scores_there(ft, recipe, server, tmp_path):
    """Scores and differences are those of this machine. Which item gets which random weight depends
    on the last digits of its score, so that ends of intervals and p move as with another seed: of
    10,000 rounds by 0.9 % of the interval's width and by 0.01 (one standard deviation each)."""
    recipe.write_text(recipe.read_text() + "sweep: {vary: {data.train_size: [16, 32]}}\n")
    served = ["--set", f"eval.server.url={server.url}"]
    for out, more in (("there", served), ("here", [])):
        code, _, err = ft("sweep", recipe, "--out", out, "--set", "train.num_train_epochs=4", *more)
        assert code == 0, err
    assert len([each for each in records(tmp_path / "there" / "results") if not each.adapter]) == 1
    there, here = (
        json.loads(next((tmp_path / out / "results" / "reports").rglob("rows.json")).read_text())
        for out in ("there", "here")
    )
    scores, ends = ("base", "tuned", "delta"), ("low", "high")
    assert len(here) > 20
    for one, other in zip(there, here, strict=True):
        for name in ("task", "split", "metric", "tuned_subject", "n", "verdict"):
            assert one[name] == other[name]
        for name in scores:
            assert one[name] == pytest.approx(other[name], abs=1e-4)
        if other["low"] is not None:
            width = other["high"] - other["low"]
            for name in ends:
                assert one[name] == pytest.approx(other[name], abs=1e-4 + 0.05 * width)
        assert one["p"] == pytest.approx(other["p"], abs=0.06)


@pytest.mark.slow  # trains
def test_without_the_weights_a_server_is_held_against_the_card(
    ft, recipe, server, tmp_path, monkeypatch
):
    code, _, err = ft("train", recipe, "--name", "a")
    assert code == 0, err
    monkeypatch.setattr(served_base, "free_memory_bytes", lambda device: 0)
    served = ["eval", recipe, "--server", server.url]
    code, _, err = ft(*served)
    assert code == 3
    assert_three_lines(err, "nothing is known to compare the server with")
    code, _, err = ft(*served, "--adapter", "adapters/a")
    assert code == 0, err
    (tuned,) = [each for each in records(tmp_path / "results") if each.adapter]
    assert (tuned.agreement.source, tuned.agreement.probes) == ("card", 8)
    assert tuned.adapter.live_proof.max_logit_change is None
    server.faults = {"ignores adapters"}
    code, _, err = ft(*served, "--adapter", "adapters/a", "--set", "eval.limit=4")
    assert code == 3
    assert_three_lines(err, "the server does not apply it")


@pytest.mark.slow
@pytest.mark.parametrize("task", ["demo_qa", "demo_preference"])
def test_other_kinds_of_tasks(task, ft, model_folder, adapter, server, tmp_path):
    rows = {
        "demo_qa": {"passage": "the film was warm", "question": "good", "answer": "bad"},
        "demo_preference": {"prompt": "the film", "chosen": "was warm", "rejected": "was cold"},
    }[task]
    for split in ("train", "validation", "test"):
        write_jsonl(
            tmp_path / "rows" / f"{split}.jsonl",
            [{k: f"{v} {split} {i}" for k, v in rows.items()} for i in range(6)],
        )
    recipe = write_recipe(tmp_path / "other.yaml", model_folder, tmp_path / "rows", task)
    for out, more in (("served", ["--server", server.url]), ("here", [])):
        code, _, err = ft("eval", recipe, "--adapter", adapter, "--out", out, *more)
        assert code == 0, err
    there, here = (responses(tmp_path / name / "results") for name in ("served", "here"))
    for subject, docs in here.items():
        for ours, theirs in zip(docs, there[subject], strict=True):
            for one, other in zip(ours, theirs, strict=True):
                assert (
                    one == other if isinstance(one, str) else one == pytest.approx(other, abs=1e-4)
                )
