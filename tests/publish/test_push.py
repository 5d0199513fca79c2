"""`ft-harness push` against a hub on this machine: what is shown, refused, sent, and sent again."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants
from huggingface_hub.utils import _http

from ft_harness.models import adapters
from tests.builders.command import assert_three_lines
from tests.builders.hub import TOKEN, Hub, Repo, cache_model, running_hub

REPO = "someone/small"
BASE = "some-lab/tiny-llama"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub that the client of this process talks to, with a token and without Xet."""
    with running_hub() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(_http.time, "sleep", lambda _: None)  # between its tries
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


@pytest.fixture
def push(ft, working: Path):
    def push(*options: str) -> tuple[int, str, str]:
        folder = working / "adapters" / "small"
        return ft("push", folder, REPO, "--out", working, *options)

    return push


def test_it_shows_and_sends_one_private_commit(push, hub: Hub, working: Path):
    code, out, err = push("--yes", "--base", BASE)
    assert code == 0, err
    repo = hub.repos[REPO]
    assert repo.private
    assert len(repo.commits) == 1
    assert set(repo.files) == {
        *("README.md", "adapter_config.json", "adapter_model.safetensors", "card.json"),
        *("history.jsonl", "recipe.yaml"),
    }
    for name in repo.files:
        assert f"\n{name} " in out
    assert f"{REPO}: a new repository, private" in out
    assert "## Scores" in out  # the card
    weights = (working / "adapters/small/adapter_model.safetensors").read_bytes()
    assert f"adapter_model.safetensors  {len(weights):>13,} bytes" in out
    assert hub.objects[sha256(weights).hexdigest()] == weights
    assert out.strip().endswith(f"{hub.address}/{REPO}/commit/{1:040x}")


def test_what_arrives_names_the_base_by_its_id_and_is_whole(
    push, hub: Hub, working: Path, tmp_path: Path
):
    assert push("--yes", "--base", BASE)[0] == 0
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name in hub.repos[REPO].files:
        held = hub.content(REPO, name)
        (folder / name).write_bytes(held)
        assert str(working).encode() not in held, name
        assert b"/tmp/" not in held, name
    assert (
        json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == BASE
    )
    assert yaml.safe_load((folder / "recipe.yaml").read_text())["model"] == {
        "pretrained": BASE,
        "dtype": "auto",
    }
    readme = (folder / "README.md").read_text()
    assert f'PeftModel.from_pretrained(base, "{REPO}")' in readme
    assert f"base_model: {BASE}" in readme
    assert adapters.problems(folder) == []  # the checksums of the card are those of its files
    before = json.loads((working / "adapters/small/card.json").read_text())
    assert before["model"]["pretrained"] != BASE  # nothing changed here


@pytest.mark.slow  # three processes that load models
@pytest.mark.parametrize("faulty", [None, "model.safetensors", "config.json"])
def test_what_was_trained_on_a_folder_is_scored_on_the_hub_model_of_the_same_files(
    faulty: str | None, push, hub: Hub, tmp_path: Path, model_folder: Path, reviews: Path
):
    """Neither path nor id says whether two models are the same; their files do."""
    assert push("--yes", "--base", BASE)[0] == 0
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name in hub.repos[REPO].files:
        (folder / name).write_bytes(hub.content(REPO, name))
    blobs = cache_model(model_folder, tmp_path / "hub", BASE)
    if faulty == "config.json":  # a setting that no tensor shows
        config = json.loads((blobs / faulty).read_text())
        (blobs / faulty).write_text(json.dumps(config | {"rms_norm_eps": 0.01}))
    elif faulty:
        content = bytearray((blobs / faulty).read_bytes())
        content[-1] ^= 1
        (blobs / faulty).write_bytes(content)
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "ft_harness", "eval", folder, "--adapter", folder]
    command += ["--set", f"data.source={reviews}", "--out", tmp_path / "scored"]
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, env=environment, check=False
    )
    if faulty is None:
        assert done.returncode == 0, done.stderr
        (record, *_) = (tmp_path / "scored" / "results").rglob("record.json")
        assert json.loads(record.read_text())["model"]["identity"] == f"commit:{'0123456789' * 4}"
    else:
        assert done.returncode == 3
        lines = [line for line in done.stderr.splitlines() if "asked to run on" in line]
        assert lines[0].count("sha256:") == 2
        assert f"asked to run on {BASE}" in lines[0]


def test_a_local_base_is_refused_with_the_cure(push, hub: Hub):
    code, _, err = push("--yes")
    assert code == 2
    assert_three_lines(err, "is not a hub id", "--base OWNER/NAME")
    assert hub.requests == []


def test_nobody_is_asked_where_nobody_is(push, hub: Hub):
    code, _, err = push("--base", BASE)
    assert code == 2
    assert_three_lines(err, "--yes")
    assert hub.repos == {}


@pytest.mark.parametrize(("answer", "expected"), [("y\n", 0), ("n\n", 2)])
def test_somebody_is_asked(push, hub: Hub, monkeypatch, answer: str, expected: int):
    from io import StringIO

    terminal = StringIO(answer)
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", terminal)
    code, out, _ = push("--base", BASE)
    assert code == expected
    assert f"Upload to {REPO}?" in out
    assert (REPO in hub.repos) == (expected == 0)


def test_public_is_said_and_done(push, hub: Hub):
    code, out, _ = push("--yes", "--base", BASE, "--public")
    assert code == 0
    assert not hub.repos[REPO].private
    assert "a new repository, public" in out


def test_a_public_repository_is_refused_where_that_was_not_asked_for(push, hub: Hub):
    hub.repos[REPO] = Repo(private=False)
    code, _, err = push("--yes", "--base", BASE)
    assert code == 4
    assert_three_lines(err, "is public", "--public")
    assert hub.repos[REPO].files == {}
    hub.repos[REPO] = Repo(private=True)
    code, _, err = push("--yes", "--base", BASE, "--public")
    assert code == 2
    assert_three_lines(err, "is private")


def test_samples_go_only_where_they_are_asked_for(push, hub: Hub):
    assert push("--yes", "--base", BASE)[0] == 0
    assert not [name for name in hub.repos[REPO].files if "samples" in name or "data" in name]
    assert push("--yes", "--base", BASE, "--with-samples")[0] == 0
    samples = [name for name in hub.repos[REPO].files if name.endswith("samples.jsonl.gz")]
    assert len(samples) == 2  # of the adapter on test and validation; none of the base


def change_recipe(folder: Path, section: str, **fields: str) -> None:
    """Another recipe in the card, which then has no seal, as older versions wrote it."""
    path = folder / "card.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    card["recipe"][section] |= fields
    card.pop("seal", None)
    path.write_text(json.dumps(card), encoding="utf-8")


@pytest.mark.parametrize("name", ["README.md", "tokenizer.json"])
def test_a_secret_is_found_and_stops_it(push, hub: Hub, working: Path, name: str):
    folder = working / "adapters" / "small"
    secret = "hf_" + "Zz9" * 10
    with (folder / name).open("a") as file:
        file.write(f"\n## Mine\n\n{secret}\n")
    code, _, err = push("--yes", "--base", BASE)
    assert code == 4, err
    assert_three_lines(err, "secret")
    assert secret not in err
    assert hub.requests == []


def test_a_secret_in_packed_samples_is_found(push, hub: Hub, working: Path, monkeypatch):
    """One that the program which wrote them did not know."""
    (path, *_) = sorted((working / "results/small").rglob("samples.jsonl.gz"))
    first = json.loads(gzip.decompress(path.read_bytes()).splitlines()[0])
    monkeypatch.setenv("MY_PASSWORD", first["prompt_hash"])
    code, _, err = push("--yes", "--base", BASE, "--with-samples")
    assert code == 4, err
    assert_three_lines(err, "samples.jsonl.gz: holds what looks like a secret")
    assert hub.requests == []


def test_a_token_of_this_process_is_a_secret_too(push, hub: Hub, working: Path, monkeypatch):
    monkeypatch.setenv("MY_PASSWORD", "correct-horse-battery")
    with (working / "adapters/small/README.md").open("a") as file:
        file.write("\n## Mine\n\ncorrect-horse-battery\n")
    code, _, err = push("--yes", "--base", BASE)
    assert code == 4
    assert "correct-horse" not in err


def test_changed_weights_are_refused(push, hub: Hub, working: Path):
    path = working / "adapters/small/adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    code, _, err = push("--yes", "--base", BASE)
    assert code == 3
    assert_three_lines(err, "not the file that the card was written for")
    assert hub.requests == []


def test_an_unscored_adapter_is_refused_unless_that_is_meant(push, hub: Hub, working: Path):
    for record in (working / "results").rglob("record.json"):
        record.unlink()
    code, _, err = push("--yes", "--base", BASE)
    assert code == 4
    assert_three_lines(err, "--unscored", "ft-harness eval")
    code, _, err = push("--yes", "--base", BASE, "--unscored")
    assert code == 0, err
    assert b"It was not scored" in hub.content(REPO, "README.md")


def test_scores_of_other_weights_are_none(push, hub: Hub, working: Path):
    for record in (working / "results/small").rglob("record.json"):
        content = json.loads(record.read_text())
        content["adapter"]["identity"] = "sha256:other"
        record.write_text(json.dumps(content))
    assert push("--yes", "--base", BASE)[0] == 4


def test_no_adapter_is_named(ft, hub: Hub, tmp_path: Path):
    code, _, err = ft("push", tmp_path, REPO, "--yes")
    assert code == 3
    assert_three_lines(err, "card.json", "ft-harness train")


def test_a_score_is_stated_under_a_benchmark_only_where_the_recipe_names_one(
    push, hub: Hub, working: Path
):
    change_recipe(working / "adapters/small", "eval", benchmark="lab/reviews#binary")
    assert push("--yes", "--base", BASE)[0] == 0
    name = ".eval_results/lab--reviews--binary.yaml"
    (entry,) = yaml.safe_load(hub.content(REPO, name))
    rows = json.loads((working / "results/reports/small/rows.json").read_text())
    (primary,) = [row for row in rows if row["primary"]]
    assert entry["dataset"] == {"id": "lab/reviews", "task_id": "binary"}
    assert entry["value"] == round(primary["tuned"], 6)


# --- what may go wrong on the way ----------------------------------------------------------------


@pytest.mark.parametrize("path", ["/lfs/", "/commit/", "/objects/batch"])
@pytest.mark.parametrize("failure", [503, 429, 0])
def test_a_broken_upload_leaves_nothing_and_goes_on(push, hub: Hub, path: str, failure: int):
    method = "PUT" if path == "/lfs/" else "POST"
    hub.failures[method, path] = [failure] * 20
    code, _, err = push("--yes", "--base", BASE)
    assert code == 5, err
    assert_three_lines(err, "broke off", "run the same command again")
    assert TOKEN not in err
    assert hub.repos[REPO].files == {}
    hub.failures.clear()
    sent = sum(line.startswith("PUT /lfs/") for line in hub.requests)
    code, _, err = push("--yes", "--base", BASE)
    assert code == 0, err
    assert len(hub.repos[REPO].commits) == 1
    if path == "/commit/":  # the weights had arrived: they are not sent again
        assert sum(line.startswith("PUT /lfs/") for line in hub.requests) == sent


def test_a_short_failure_is_nothing_to_a_user(push, hub: Hub):
    hub.failures["PUT", "/lfs/"] = [503]
    assert push("--yes", "--base", BASE)[0] == 0


def test_the_same_again_makes_no_second_commit(push, hub: Hub):
    assert push("--yes", "--base", BASE)[0] == 0
    assert push("--yes", "--base", BASE)[0] == 0
    assert len(hub.repos[REPO].commits) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_may_not_write_is_named(push, hub: Hub, status: int):
    hub.failures["POST", "/api/repos/create"] = [status]
    code, _, err = push("--yes", "--base", BASE)
    assert code == 2
    assert_three_lines(err, "refuses this token", "hf auth login")


def test_without_a_token_nothing_is_asked(push, hub: Hub, monkeypatch):
    monkeypatch.setattr("ft_harness.publish.hub.get_token", lambda: None)
    code, _, err = push("--yes", "--base", BASE)
    assert code == 2
    assert_three_lines(err, "no hub token")
    assert hub.requests == []


def test_offline_is_said(push, hub: Hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, _, err = push("--yes", "--base", BASE)
    assert code == 2
    assert_three_lines(err, "HF_HUB_OFFLINE")


@pytest.mark.parametrize("name", ["small", "a/b/c", "../x", "a b/c"])
def test_a_name_that_is_none_is_named(ft, hub: Hub, working: Path, name: str):
    code, _, err = ft(
        "push", working / "adapters/small", name, "--yes", "--base", BASE, "--out", working
    )
    assert code == 2
    assert_three_lines(err, "OWNER/NAME")


@pytest.mark.slow  # the client waits between its attempts
def test_xet_where_the_client_asks_for_it(working: Path, tmp_path: Path):
    """In a process of its own, by the environment alone: as a user has it."""
    with running_hub() as hub:
        environment = os.environ | {
            "HF_ENDPOINT": hub.address,
            "HF_TOKEN": TOKEN,
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(tmp_path / "home"),
        }
        command = [sys.executable, "-m", "ft_harness", "push", "adapters/small", REPO]
        done = subprocess.run(
            [*command, "--yes", "--base", BASE],
            cwd=working,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr + "\n".join(hub.requests)
        repo = hub.repos[REPO]
        weights = (working / "adapters/small/adapter_model.safetensors").read_bytes()
        assert repo.files["adapter_model.safetensors"] == sha256(weights).hexdigest()
        assert hub.xorbs
