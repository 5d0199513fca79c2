"""`ft-harness lm-eval` keeps the promises: no answer of another model state, no lost result, no
secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ft_harness.cli.app import say
from ft_harness.models import templates
from ft_harness.storage import redact_values
from tests.builders.command import assert_three_lines
from tests.builders.tiny import write_jsonl

pytestmark = pytest.mark.usefixtures("small_index")
TOKEN = "hf_CANARYabcdefghijklmnopqrst"
PLAIN = "CANARY-of-no-known-shape"


@pytest.fixture
def command(model_folder: Path, reviews: Path) -> list[str]:
    return [
        "lm-eval", "run", "--model", "ft-causal", "--model_args", f"pretrained={model_folder}",
        "--tasks", "demo_sentiment", "--metadata", json.dumps({"data_source": str(reviews)}),
        "--limit", "2", "--device", "cpu",
    ]  # fmt: skip


def texts_below(folder: Path) -> str:
    """All names and contents."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return "\n".join(f"{path}\n{path.read_text(encoding='utf-8')}" for path in files)


@pytest.mark.parametrize("place", ["argument", "configuration"])
def test_a_cache_whose_key_lacks_the_adapter_is_refused(
    place: str, ft: Any, command: list[str], tmp_path: Path
):
    if place == "argument":
        command += ["--use_cache", "c"]
    else:
        (tmp_path / "c.yaml").write_text("use_cache: c\n")
        command += ["--config", "c.yaml"]
    code, _, err = ft(*command)
    assert code == 2, err
    assert_three_lines(err, "--use_cache", "adapter")
    assert not list(tmp_path.glob("c*.db"))


def test_an_output_path_below_a_file_is_found_before(
    ft: Any, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from ft_harness.evaluation.backends import CausalLM

    monkeypatch.setattr(CausalLM, "__init__", lambda *_, **__: pytest.fail("a model was loaded"))
    (tmp_path / "f").write_text("")
    code, _, err = ft(*command, "--output_path", "f/x")
    assert code == 2, err
    assert_three_lines(err, "--output_path f/x", "can't be written")


def test_an_output_folder_that_is_lost_on_the_way(
    ft: Any, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from ft_harness.evaluation.backends import CausalLM

    whole = CausalLM.loglikelihood

    def lose(self: Any, requests: Any, **options: Any) -> Any:
        (tmp_path / "out").rmdir()
        (tmp_path / "out").write_text("")
        return whole(self, requests, **options)

    monkeypatch.setattr(CausalLM, "loglikelihood", lose)
    code, _, err = ft(*command, "--output_path", "out")
    assert code == 7, err
    assert_three_lines(err, "can't be written", "emergency copy in")
    copy = Path(err.partition("emergency copy in ")[2].splitlines()[0])
    assert json.loads(copy.read_text())["results"]["demo_sentiment"]


@pytest.mark.slow  # processes that import everything
@pytest.mark.parametrize("part", ["save_results_aggregated", "save_results_samples"])
def test_lm_eval_that_fails_to_save_and_goes_on(
    part: str, ft: Any, command: list[str], monkeypatch: pytest.MonkeyPatch
):
    from lm_eval.loggers import EvaluationTracker

    monkeypatch.setattr(EvaluationTracker, part, lambda *_, **__: None)
    code, _, err = ft(*command, "--output_path", "out", "--log_samples")
    assert code == 7, err
    assert_three_lines(err, "could not write its files")


ROWS = [{"text": f"t {i}", "answers": ["a"]} for i in range(30)]
TASK = """\
task: b
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: "{{answers[0]}}"
generation_kwargs: {max_gen_toks: 2}
metric_list: [{metric: exact_match}]
"""
ENDLESS = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("", "", "row 20 (counted from 0): doc_to_target: a template names a field"),
        (
            "{{answers[0]}}",
            "{{1 // (text | length - 4)}}",
            "row 10 (counted from 0): doc_to_target",
        ),
        (
            "{{text}}",
            "{{text.__class__}}",
            "row 0 (counted from 0): doc_to_text: a template reaches",
        ),
        ("{{text}}", "{% if text == 't 7' %}" + ENDLESS + "{% endif %}", "row 7 (counted from 0)"),
    ],
)
def test_a_template_that_fails_on_a_row(
    old: str, new: str, words: str, ft: Any, command: list[str], tmp_path: Path, monkeypatch: Any
):
    monkeypatch.setattr(templates, "RENDER_SECONDS", 0.5)
    rows = [*ROWS[:20], ROWS[20] | {"answers": []}, *ROWS[21:]]
    write_jsonl(tmp_path / "d.jsonl", rows)
    text = TASK.replace("DATA", str(tmp_path / "d.jsonl"))
    (tmp_path / "b.yaml").write_text(text.replace(old, new) if old else text)
    command[command.index("demo_sentiment")] = "b.yaml"
    command[command.index("--limit") + 1] = "30"
    code, _, err = ft(*command)
    assert code in (3, 4), err
    assert_three_lines(err, f"b, {words}")


@pytest.mark.parametrize("content", [None, "- a list\n", "a: [\n"])
def test_a_configuration_that_cannot_be_read(
    content: str | None, ft: Any, command: list[str], tmp_path: Path
):
    if content is not None:
        (tmp_path / "nope.yaml").write_text(content)
    code, _, err = ft(*command, "--config", "nope.yaml")
    assert code == 2, err
    assert_three_lines(err, "--config nope.yaml: can't be read")


@pytest.mark.slow  # processes that import everything
def test_files_lie_where_lm_eval_puts_them(ft: Any, command: list[str], tmp_path: Path):
    code, _, err = ft(*command, "--output_path", "out", "--log_samples")
    assert code == 0, err
    (folder,) = (tmp_path / "out").iterdir()
    (results,) = folder.glob("results_*.json")
    (samples,) = folder.glob("samples_demo_sentiment_*.jsonl")
    assert results.stem.removeprefix("results_") == samples.stem.rpartition("sentiment_")[2]
    assert len(samples.read_text().splitlines()) == 2
    assert len(json.loads(results.read_text())["task_hashes"]["demo_sentiment"]) == 64
    code, _, err = ft(*command, "--output_path", "named/mine.json", "--log_samples")
    assert code == 0, err
    names = sorted(path.name[:8] for path in (tmp_path / "named").iterdir())
    assert names == ["mine_202", "samples_"]


def test_no_secret_in_files_log_and_table(
    ft: Any, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("MY_CREDENTIAL", f"{PLAIN}-1")
    monkeypatch.setenv("DB_PASSWD", "sentiment")
    command[command.index("--model_args") + 1] += f",token={TOKEN}"
    given = ["--output_path", "out", "--log_samples", "--show_config", "--write_out"]
    code, out, err = ft(*command, *given, "--system_instruction", f"say {PLAIN}-1")
    assert code == 0, err
    assert "CANARY" not in out + err + texts_below(tmp_path / "out")
    assert "[redacted]" in texts_below(tmp_path / "out")
    # a name that a secret is part of is no secret
    assert list((tmp_path / "out").rglob("samples_demo_sentiment_*.jsonl"))
    (results,) = (tmp_path / "out").rglob("results_*.json")
    found = json.loads(results.read_text())
    assert found["configs"]["demo_sentiment"]["task"] == "demo_sentiment"
    assert found["results"]["demo_sentiment"]["alias"] == "demo_sentiment"


def test_a_secret_of_no_known_shape_among_the_model_arguments(
    ft: Any, command: list[str], tmp_path: Path
):
    command[command.index("--model_args") + 1] += f",token={PLAIN}-2"
    code, out, err = ft(*command, "--output_path", "out")
    assert code == 0, err
    assert "CANARY" not in out + err + texts_below(tmp_path / "out")


def test_a_secret_in_the_models_path(
    ft: Any, command: list[str], tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """lm-eval names the folder of its results after the model."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    (tmp_path / TOKEN).symlink_to(model_folder)
    command[command.index("--model_args") + 1] = f"pretrained={TOKEN}"
    code, out, err = ft(*command, "--output_path", "out")
    assert code == 0, err
    assert "CANARY" not in out + err + texts_below(tmp_path / "out")


def test_no_secret_in_an_error_and_in_the_line_that_runs_it_again(
    ft: Any, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    command[command.index("--model_args") + 1] = f"pretrained=./{TOKEN}"
    code, out, err = ft(*command)
    assert code == 3
    assert "CANARY" not in out + err
    say(f"ft-harness lm-eval --model_args token={TOKEN}")
    assert capsys.readouterr().err == "ft-harness lm-eval --model_args token=[redacted]\n"


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("GITHUB_PAT", True), ("PAT", True), ("DB_PASSWD", True), ("MY_CREDENTIALS", True),
        ("NPM_AUTH", True), ("MYPATH", False), ("GIT_AUTHOR_NAME", False), ("XAUTHORITY", False),
    ],
)  # fmt: skip
def test_names_that_say_secret(name: str, secret: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, PLAIN)
    assert (redact_values(PLAIN) == "[redacted]") is secret


def test_the_shape_of_a_token_of_github():
    assert redact_values("ghp_" + "a1" * 18) == "[redacted]"
