"""Sweeps as a user runs them: what is shared, what is repeated, and what a failed point leaves."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ft_harness import processes
from ft_harness.errors import ResourceError
from ft_harness.pipeline import point_runner, preflight, stages
from tests.builders.command import assert_three_lines
from tests.builders.tiny import build_tokenizer, review_rows, write_jsonl
from tests.sweep.killing import FIRST, SECOND, SIZES, STEPS, rows


def report(folder: Path, name: str = "rows.json"):
    return json.loads((folder / "results" / "reports" / "mine" / name).read_text())


@pytest.mark.slow  # three sweeps
def test_one_load_one_base_scoring_and_only_new_points(
    ft, write, loads, scored, tmp_path: Path, monkeypatch
):
    read: list[str] = []
    load_tasks = preflight.load_tasks
    monkeypatch.setattr(
        preflight, "load_tasks", lambda *given: (read.append("data"), load_tasks(*given))[1]
    )
    tokenised: list[str] = []
    build = stages.build_training_set
    monkeypatch.setattr(
        stages, "build_training_set", lambda *given: (tokenised.append("rows"), build(*given))[1]
    )
    recipe = write(SIZES)
    code, _, err = ft("sweep", recipe)
    assert code == 0, err
    assert len(loads) == 1
    assert (len(read), len(tokenised)) == (2, 2)  # one a training size, whatever the seeds
    assert scored.count("base--tiny") == 2  # validation and test
    assert len(scored) == 2 + 4 * 2
    points = [f"mine-train_size_{size}-seed_{seed}" for seed in (0, 1) for size in (32, 16)]
    said = [line for line in err.splitlines() if line.startswith("point ")]
    assert said == [f"point {n} of 4, {name}: done" for n, name in enumerate(points, start=1)]
    for name in points:
        folder = tmp_path / "adapters" / name
        assert {"recipe.yaml", "card.json", "history.jsonl"} <= {p.name for p in folder.iterdir()}
    rows = report(tmp_path)
    assert {row["tuned_subject"] for row in rows if row["tuned_subject"]} == set(points)

    # the grid is edited: a size more, and the seeds are the default's
    write(SIZES.replace("[16, 32]", "[16, 24, 32]"))
    scored.clear()
    code, _, err = ft("sweep", recipe)
    assert code == 0, err
    assert sorted(set(scored)) == ["mine-train_size_24-seed_0", "mine-train_size_24-seed_1"]

    # another field in the names: what has the same fingerprint is not trained again
    write(SIZES.replace("train.seed: [0, 1]", "train.seed: [0, 1], adapter.r: [4]"))
    scored.clear()
    code, _, err = ft("sweep", recipe)
    assert code == 0, err
    assert not scored
    assert err.count("finished already") == 4


@pytest.mark.slow  # two sweeps
def test_a_changed_recipe_never_meets_an_old_points_folder(ft, write, tmp_path: Path):
    recipe = write(SIZES)
    assert ft("sweep", recipe)[0] == 0
    recipe.write_text(recipe.read_text().replace("learning_rate: 0.02", "learning_rate: 0.01"))
    code, _, err = ft("sweep", recipe)
    assert code == 0, err
    folders = sorted(
        path.name for path in (tmp_path / "adapters").glob("mine-train_size_16-seed_0*")
    )
    assert len(folders) == 2
    assert {row["tuned_subject"] for row in report(tmp_path)} >= {folders[1]}


@pytest.mark.slow  # a sweep of several points
def test_failed_points_are_rows_and_exit_6(ft, write, loads, monkeypatch, tmp_path: Path):
    """One gradient is not finite, one point has no memory; the others are done."""
    recipe = write("sweep: {vary: {train.learning_rate: [0.02, 1.0e+30], adapter.r: [4, 8, 16]}}")
    train = point_runner.train_stage

    def run_out(stage, plan, say, forecast):
        if plan.recipe.adapter.r == 16:
            raise ResourceError("out of memory at batch 1", "memory", "a smaller model")
        return train(stage, plan, say, forecast)

    monkeypatch.setattr(point_runner, "train_stage", run_out)
    code, out, err = ft("sweep", recipe)
    assert code == 6
    assert_three_lines(err, "4 of 6 points have no result", "the same command again")
    found = {each["name"]: each["reason"] for each in report(tmp_path, "sweep.json")["points"]}
    assert found["mine-learning_rate_0.02-r_4"] is None
    assert found["mine-learning_rate_0.02-r_8"] is None
    assert found["mine-learning_rate_0.02-r_16"] == "out of memory at batch 1"
    assert "not finite" in found["mine-learning_rate_1e30-r_4"]
    text = (tmp_path / "results" / "reports" / "mine" / "report.md").read_text()
    assert "out of memory at batch 1" in text
    assert "out of memory at batch 1" in out

    monkeypatch.setattr(point_runner, "train_stage", train)
    code, _, err = ft("sweep", recipe)
    assert code == 6  # those that are not finite are tried again, and are not finite again
    assert "point 3 of 6, mine-learning_rate_0.02-r_16: done" in err


def test_a_point_that_cannot_fit_is_not_tried(ft, write, monkeypatch, tmp_path: Path):
    """It would end the process, and with it all other points."""
    forecast = point_runner.make_forecast

    def foresee(plan):
        found = forecast(plan)
        room = found.memory.total - 1 if plan.recipe.adapter.r == 8 else found.memory.room
        return replace(found, memory=replace(found.memory, room=room))

    monkeypatch.setattr(point_runner, "make_forecast", foresee)
    code, out, _ = ft("sweep", write("sweep: {vary: {adapter.r: [4, 8]}}"))
    assert code == 6
    assert "mine-r_8: not tried: peak memory of about" in out
    assert (tmp_path / "adapters" / "mine-r_4" / "card.json").exists()


def save_hollow(folder: Path, layers: int) -> Path:
    """A Llama of 17 GB a layer, whose weights, all of them 0, take no room on the disk; a file for
    each tensor, as no larger ones are mapped than there is memory."""
    tokenizer = build_tokenizer("bpe_bos")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16384, intermediate_size=65536,
        num_hidden_layers=layers, num_attention_heads=32, max_position_embeddings=128,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    with torch.device("meta"):
        weights = LlamaForCausalLM(config).state_dict()
    config.architectures, config.dtype = ["LlamaForCausalLM"], "float32"
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    files = {name: f"model-{number:05}.safetensors" for number, name in enumerate(weights)}
    for name, tensor in weights.items():
        size = 4 * tensor.numel()
        about = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [0, size]}
        text = json.dumps({name: about, "__metadata__": {"format": "pt"}}).encode()
        with (folder / files[name]).open("wb") as handle:
            handle.write(struct.pack("<Q", len(text)) + text)
            handle.truncate(8 + len(text) + size)
    index = {"metadata": {}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.slow  # two bases are read
def test_a_base_that_memory_cannot_hold_is_a_row(ft, write, model_folder, tmp_path: Path):
    """One of 515 GB in float32; nothing is faked."""
    huge = save_hollow(tmp_path / "huge", layers=30)
    recipe = write(f"sweep: {{vary: {{model.pretrained: [{model_folder}, {huge}]}}}}")
    code, out, err = ft("sweep", recipe)
    assert code == 6, err
    assert_three_lines(err, "1 of 2 points have no result", "the same command again")
    found = {
        each["values"]["model.pretrained"]: each["reason"]
        for each in report(tmp_path, "sweep.json")["points"]
    }
    assert found[str(model_folder)] is None
    assert found[str(huge)].startswith("not tried: peak memory of about 55")  # GiB, with 15 %
    assert "not tried: peak memory" in out


@pytest.fixture
def limited() -> Iterator[Callable[[int], Callable[[], object]]]:
    """Makes what puts a process into a control group with so many bytes of memory."""
    own = next(processes.control_groups("memory"), (Path("/nowhere"), 1))[0]
    group = own / f"ft-harness-{os.getpid()}"

    def limit(most: int) -> Callable[[], object]:
        try:
            group.mkdir()
            (group / "memory.limit_in_bytes").write_text(str(most))
        except OSError as error:
            pytest.skip(f"no control group can be made: {error}")
        return lambda: (group / "cgroup.procs").write_text(str(os.getpid()))

    yield limit
    if group.is_dir():
        group.rmdir()


@pytest.mark.slow  # 20,000 rows are read
def test_a_batch_that_the_memory_of_a_job_cannot_hold_is_a_row(
    write, reviews, limited, tmp_path: Path
):
    """16,384 rows in 2 GiB, which the system enforces by SIGKILL; nothing is faked."""
    shutil.copytree(reviews, tmp_path / "many")
    write_jsonl(tmp_path / "many" / "train.jsonl", review_rows(20_000))
    recipe = write("sweep: {vary: {train.per_device_train_batch_size: [8, 16384]}}", "max_steps: 2")
    recipe.write_text(recipe.read_text().replace(str(reviews), str(tmp_path / "many")))
    done = subprocess.run(
        [sys.executable, "-m", "ft_harness", "sweep", str(recipe), "--out", str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, preexec_fn=limited(2 * 2**30),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 6, done.stderr
    assert_three_lines(done.stderr, "1 of 2 points have no result", "not tried: peak memory of")
    found = report(tmp_path, "sweep.json")["points"]
    assert [each["reason"] is None for each in found] == [True, False]


def test_no_point_starts_after_the_last_hour(ft, write, tmp_path: Path):
    code, _, err = ft("sweep", write(SIZES), "--max-hours", "0")
    assert code == 6
    assert_three_lines(err, "4 of 4 points have no result", "not started: --max-hours had passed")


def test_a_fault_of_one_point_is_found_before_any_runs(ft, write, no_model):
    code, _, err = ft("sweep", write("sweep: {vary: {data.train_size: [16, 6400]}}"))
    assert code == 3
    assert_three_lines(err, "mine-train_size_6400: ", "data.train_size is 6400")


@pytest.mark.slow  # a sweep of several points
def test_run_of_such_a_recipe_says_so_and_does_it(ft, write, tmp_path: Path):
    code, _, err = ft("run", write(""), "--seeds", 2, "--set", "adapter.r=2,4")
    assert code == 0, err
    assert "mine: a sweep of 4 points" in err
    assert (tmp_path / "adapters" / "mine-r_4-seed_1" / "card.json").exists()


@pytest.mark.slow  # a sweep in several processes
def test_killed_anywhere_it_ends_with_the_same_rows(ft, write, tmp_path: Path):
    """SIGKILL in the middle of a training, in the middle of a scoring, and between two points."""
    recipe = write(SIZES)
    assert ft("sweep", recipe)[0] == 0
    whole = (tmp_path / "results" / "reports" / "mine" / "rows.json").read_bytes()
    swept = json.dumps(report(tmp_path, "sweep.json")["effects"])
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "ft_harness", "sweep", str(recipe), "--out", str(out)]
    first, second = (out / "adapters" / f"mine-train_size_{n}-seed_0" for n in (32, 16))
    moments = [
        lambda: (first / "history.jsonl").exists(),
        lambda: any((out / "results" / first.name).glob("*/record.json")),
        lambda: second.exists(),
    ]
    for moment in moments:
        process = subprocess.Popen(
            command,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        while process.poll() is None:
            if moment():
                process.send_signal(signal.SIGKILL)
                process.wait()
        assert process.returncode == -signal.SIGKILL
    code, _, err = ft("sweep", recipe, "--out", out)
    assert code == 0, err
    assert (out / "results" / "reports" / "mine" / "rows.json").read_bytes() == whole
    assert json.dumps(report(out, "sweep.json")["effects"]) == swept


CHECKPOINTS = f"adapters/{FIRST}/checkpoints"
MOMENTS: list[tuple[str, int, list[str]]] = [
    # (before this is written, renamed or deleted, for which time, the step that this start continues from)
    (f"open .*/adapters/{FIRST}/history.jsonl$", 33, []),  # in the middle, after one checkpoint
    (f"open .*{CHECKPOINTS}/.unfinished/checkpoint-40/.progress.json", 1, ["20"]),
    (f"rename .*{CHECKPOINTS}/.unfinished/checkpoint-40 ", 1, ["20"]),  # whole, but unnamed
    (f"rename .*{CHECKPOINTS}/checkpoint-20 ", 1, ["20"]),  # an old one is about to go
    (f"rename .*/adapters/{FIRST}/.card.json", 1, ["60"]),  # trained, but not finished
    (f"rmtree .*{CHECKPOINTS}$", 1, ["120"]),  # finished, which they outlive
    (f"open .*/results/{FIRST}/responses", 1, []),  # not scored
    (f"open .*/adapters/{SECOND}/history.jsonl$", 80, []),
    ("rename .*/reports/mine/.rows.json", 1, ["40"]),
]


@pytest.mark.slow  # a sweep in ten processes
def test_killed_around_its_checkpoints_it_continues_from_them(ft, write, local, tmp_path: Path):
    command = ["sweep", str(write(SIZES, STEPS)), "--out", str(tmp_path / "killed")]
    script = Path(__file__).with_name("killed_at.py")
    for pattern, times, steps in MOMENTS:
        done = subprocess.run(
            [sys.executable, script, pattern, str(times), *command], capture_output=True, text=True
        )
        assert done.returncode == -signal.SIGKILL, (pattern, done.stderr)
        said = re.findall(r"continues from the checkpoint of step (\d+)", done.stderr)
        assert said == steps, pattern
    code, _, err = ft(*command)
    assert code == 0, err
    assert "continues from" not in err
    assert rows(tmp_path / "killed") == local
    assert not list((tmp_path / "killed").glob("adapters/*/checkpoints"))


@pytest.mark.slow  # three trainings
def test_stretches_go_on_from_each_other(ft, write, tmp_path: Path):
    recipe = write("sweep: {stretches: {train.num_train_epochs: [1, 2]}}")
    code, _, err = ft("sweep", recipe)
    assert code == 0, err
    card = json.loads(
        (tmp_path / "adapters" / "mine-num_train_epochs_1_2" / "card.json").read_text()
    )
    assert [each["name"] for each in card["lineage"]] == ["mine-num_train_epochs_1"]


def test_bases_alone_are_scored_from_one_load(ft, write, loads, scored, tmp_path: Path):
    section = "sweep: {trains: false, vary: {eval.num_fewshot: [0, 1, 3], eval.seed: [0, 1]}}"
    code, _, err = ft("sweep", write(section))
    assert code == 0, err
    assert len(loads) == 1
    assert set(scored) == {"base--tiny"}
    assert not list((tmp_path / "adapters").glob("mine-*"))
    found = report(tmp_path, "sweep.json")
    assert [each["values"] for each in found["settings"]] == [
        {"eval.num_fewshot": shots} for shots in (0, 1, 3)
    ]
    assert [each["seeds"] for each in found["settings"]] == [2, 2, 2]


def test_a_point_scored_in_several_ways_is_measured_by_the_first(ft, write, tmp_path: Path):
    recipe = write("sweep: {trains: false, vary: {eval.seed: [0, 1], eval.batch_size: [2, 4]}}")
    text = recipe.read_text()
    recipe.write_text(text.replace("eval: {", "eval: {num_fewshot: [1, 0], "))
    code, _, err = ft("sweep", recipe)
    assert code == 0, err
    found = report(tmp_path, "sweep.json")
    ids = {id for each in found["settings"] for s in each["scores"] for id in s["evaluations"]}
    records = [json.loads(path.read_text()) for path in (tmp_path / "results").rglob("record.json")]
    shots = {each["eval_id"]: each["settings"]["num_fewshot"] for each in records}
    assert set(shots.values()) == {0, 1}
    assert {shots[each] for each in ids} == {1}


def test_where_nothing_is_trained_no_difference_can_be_required(ft, write, no_model):
    section = "sweep: {trains: false, vary: {eval.num_fewshot: [0, 1]}}"
    for more in ([], ["--dry-run"]):
        code, _, err = ft("sweep", write(section), "--require", "acc>=+2", *more)
        assert code == 2
        assert_three_lines(err, "--require 'acc>=+2': nothing is trained", "leave it out")


def test_several_bases_are_loaded_once_each(ft, write, loads, model_folder, tmp_path: Path):
    shutil.copytree(model_folder, tmp_path / "other")
    vary = f"eval.num_fewshot: [0, 1], model.pretrained: [{model_folder}, other], eval.seed: [0, 1]"
    code, _, err = ft("sweep", write(f"sweep: {{trains: false, vary: {{{vary}}}}}"))
    assert code == 0, err
    assert loads == [str(model_folder), "other"]


def test_check_goes_through_the_grid(ft, write):
    assert "a sweep of 4 points" in ft("check", write(SIZES))[1]
    code, _, err = ft("check", write("sweep: {vary: {train.sed: [0, 1]}}"))
    assert code == 2
    assert_three_lines(err, "train.sed; did you mean train.seed?")
