"""Responses on disk: what was computed is not computed again, and nothing else is taken for it."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ft_harness.evaluation import ModelState, evaluate, plan_jobs
from ft_harness.evaluation import jobs as jobs_module
from ft_harness.evaluation.backends import generation, scorer
from ft_harness.evaluation.backends.store import Ledger, ResponseStore
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.recipe import EvalSection, ModelSection
from ft_harness.records import Evaluation, base_subject
from ft_harness.storage import append_lines
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from tests.builders.tiny import save_model, write_jsonl

pytestmark = pytest.mark.slow  # kills an evaluation at many places


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the columns of demo_qa: 48 rows a split, four greedy batches of 4 x 3."""
    folder = tmp_path_factory.mktemp("questions")
    for start, split in enumerate(("train", "validation", "test")):
        rows = [{"passage": f"Ann has {48 * start + i} hats." * (1 + i % 3), "question": "Who?", "answer": "Ann"}
                for i in range(48)]  # fmt: skip
        write_jsonl(folder / f"{split}.jsonl", rows)
    return folder


def jobs_of(
    base: BaseModel, source: Path, task: str = "demo_sentiment", digest: str = "hash", **settings
):
    section = EvalSection(splits=("test",), batch_size=3, **settings)
    tasks = load_tasks(find_task(task, metadata={"data_source": str(source)}), ["test"])
    return plan_jobs(tasks, digest, base, section)


def score(base: BaseModel, jobs, results: Path) -> Evaluation:
    (done,) = evaluate(ModelState(base_subject(base.info.pretrained), base), jobs, results)
    return done


class Asked:
    """Counts the batches that the model computes, but for those of the check of its
    architecture."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches = 0
        self.stop_after: int | None = None
        for kind in (scorer._QueryWork, generation._PromptWork):
            monkeypatch.setattr(kind, "compute", self.counting(kind.compute))

    def counting(self, compute):
        def counted(work, batch):
            if getattr(work, "_finite", True):
                if self.batches == self.stop_after:
                    raise KeyboardInterrupt
                self.batches += 1
            return compute(work, batch)

        return counted


# --- the file
# --------------------------------------------------------------------------------------------------------


def test_what_is_added_is_there_in_the_next_process(tmp_path: Path):
    store = ResponseStore(tmp_path, {"model": "a"})
    store.add({"k": [-1.25, True], "none": None})
    store.add({"k": [0.1 + 0.2, False], "text": ['好\n"x"', 3, False]})
    again = ResponseStore(tmp_path, {"model": "a"})
    assert (again["k"], again["text"], again["none"]) == (
        [0.1 + 0.2, False],
        ['好\n"x"', 3, False],
        None,
    )
    assert "other" not in again
    assert "k" not in ResponseStore(tmp_path, {"model": "b"})
    assert len(list(tmp_path.iterdir())) == 1


def test_nan_is_never_stored(tmp_path: Path):
    store = ResponseStore(tmp_path, {})
    with pytest.raises(ValueError, match="JSON compliant"):
        store.add({"good": [1.0], "bad": [float("nan")]})
    assert "good" not in ResponseStore(tmp_path, {})


def test_an_unfinished_last_line_is_ignored_and_cut_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    store = ResponseStore(tmp_path, {})
    store.add({"a": [1.0], "b": [2.0]})
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[:-7])
    torn = ResponseStore(tmp_path, {})
    assert ("a" in torn, "b" in torn) == (True, False)
    torn.add({"b": [2.0]})
    assert store.path.read_bytes() == whole
    assert not caplog.records


@pytest.mark.parametrize(
    "damage", [b"{broken", b'["a list"]', b'{"check":"00000000","key":"a","response":[1.0]}']
)
def test_a_damaged_line_is_left_out_with_a_warning(
    damage: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    store = ResponseStore(tmp_path, {})
    store.add({"a": [1.0], "b": [2.0]})
    store.path.write_bytes(store.path.read_bytes().replace(b"[1.0]", b"[1.5]", 1) + damage + b"\n")
    with caplog.at_level(logging.WARNING):
        again = ResponseStore(tmp_path, {})
    assert ("a" in again, "b" in again) == (False, True)
    assert "2 damaged lines" in caplog.text
    assert "first: line 1" in caplog.text


def test_a_pickle_is_no_store(tmp_path: Path):
    """Nothing in it is executed: the marker stays away."""
    import pickle

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "marker"),)

    path = ResponseStore(tmp_path, {}).path
    path.write_bytes(pickle.dumps(Evil()) + b"\n")
    assert "a" not in ResponseStore(tmp_path, {})
    assert not (tmp_path / "marker").exists()


def write_many(path: Path, name: str) -> None:
    for number in range(100):
        append_lines(path, [json.dumps([name, number, "x" * 20_000]) for _ in range(3)])


def test_processes_that_append_at_once_leave_whole_lines(tmp_path: Path):
    path = tmp_path / "store.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(path, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [sum(line[0] == name for line in lines) for name in "ab"] == [300, 300]


def test_the_same_request_twice_is_two_requests(tmp_path: Path):
    store = ResponseStore(tmp_path, {})
    ledger = Ledger(store, ["q", "q"])
    ledger.keep({0: ["first"]})
    assert Ledger(store, ["q", "q"]).stored([0, 1]) == {0: ["first"]}
    ledger.keep({1: ["second"]})
    assert Ledger(store, ["q", "q"]).stored([0, 1]) == {0: ["first"], 1: ["second"]}


# --- evaluations
# -----------------------------------------------------------------------------------------------------


CASES = {
    "score": ("demo_sentiment", {}),
    "greedy": ("demo_qa", {}),
    "sampled": ("demo_qa", {"generation_kwargs": {"do_sample": True, "temperature": 0.9}}),
}


@pytest.mark.parametrize("stop_after", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_an_interrupted_evaluation_goes_on_to_the_same_samples(
    case: str, stop_after: int, base: BaseModel, reviews: Path, questions: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    task, settings = CASES[case]
    jobs = jobs_of(base, reviews if task == "demo_sentiment" else questions, task, **settings)
    asked = Asked(monkeypatch)
    expected = score(base, jobs, tmp_path / "whole")
    needed = asked.batches
    asked.stop_after = needed + stop_after
    with pytest.raises(KeyboardInterrupt):
        score(base, jobs, tmp_path / "killed")
    asked.stop_after = None
    done = score(base, jobs, tmp_path / "killed")
    assert asked.batches == 2 * needed
    assert stop_after < needed
    assert list(done.samples()) == list(expected.samples())
    assert done.record.scores == expected.record.scores
    assert done.record.back_end.reused > 0 == expected.record.back_end.reused
    total = expected.record.back_end.computed
    assert done.record.back_end.computed + done.record.back_end.reused == total


def test_a_batch_of_which_a_part_is_stored_is_computed_whole(
    base: BaseModel, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    jobs = jobs_of(base, reviews)
    expected = score(base, jobs, tmp_path)
    (file,) = tmp_path.rglob("responses-*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) == 48
    file.write_bytes(b"".join(lines[:-1]))  # one response of the last batch
    (expected.folder / "record.json").unlink()
    asked = Asked(monkeypatch)
    again = score(base, jobs, tmp_path)
    assert asked.batches == 1
    assert again.record.back_end.computed == 6  # three prompts, two choices each
    assert list(again.samples()) == list(expected.samples())


@pytest.mark.parametrize("case", CASES)
def test_other_metrics_need_no_model(
    case: str,
    base: BaseModel,
    reviews: Path,
    questions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    task, settings = CASES[case]
    source = reviews if task == "demo_sentiment" else questions
    first = score(base, jobs_of(base, source, task, **settings), tmp_path)
    asked = Asked(monkeypatch)
    changed = score(base, jobs_of(base, source, task, "another definition", **settings), tmp_path)
    assert changed.folder != first.folder
    assert asked.batches == 0
    assert list(changed.samples()) == list(first.samples())
    assert changed.record.back_end.computed == 0
    assert changed.record.back_end.reused == first.record.back_end.computed


def test_what_makes_a_response_makes_its_key(
    base: BaseModel, reviews: Path, questions: Path, model_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    """Another model, dtype, context, batch size, prompt or decoding: nothing is reused."""
    score(base, jobs_of(base, reviews), tmp_path)
    score(base, jobs_of(base, questions, "demo_qa"), tmp_path)
    folder = str(model_folder)
    loads = {
        "weights": ModelSection(pretrained=str(save_model(tmp_path / model_folder.name, seed=1))),
        "dtype": ModelSection(pretrained=folder, dtype="bfloat16"),
        "max_length": ModelSection(pretrained=folder, max_length=100),
    }
    evaluations = {}
    for name, section in loads.items():
        other = load_base_model(section)
        evaluations[name] = score(other, jobs_of(other, reviews), tmp_path)
    evaluations["shots"] = score(base, jobs_of(base, reviews, num_fewshot=1), tmp_path)
    evaluations["decoding"] = score(
        base, jobs_of(base, questions, "demo_qa", generation_kwargs={"max_gen_toks": 7}), tmp_path
    )
    assert {name: e.record.back_end.reused for name, e in evaluations.items()} == dict.fromkeys(
        evaluations, 0
    )
    monkeypatch.setattr(jobs_module, "SCORING_VERSION", 1000)
    evaluations["scoring"] = score(base, jobs_of(base, reviews), tmp_path)
    assert evaluations["scoring"].record.back_end.reused == 0
    subjects = {evaluation.record.subject for evaluation in evaluations.values()}
    assert subjects == {f"base--{model_folder.name}"}  # all looked into one folder


def test_another_byte_of_an_adapter_is_another_state(
    base: BaseModel, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file, save_file

    from ft_harness.models.adapters import attached

    torch.manual_seed(5)
    model = get_peft_model(
        base.model, LoraConfig(task_type="CAUSAL_LM", r=4, init_lora_weights=False)
    )
    folder = tmp_path / "adapter"
    model.save_pretrained(folder)
    model.unload()
    asked, jobs = Asked(monkeypatch), jobs_of(base, reviews)
    for expected in (8, 16):  # 24 prompts, three in a batch
        with attached(folder, base, ["the film"]) as (tuned, info):
            evaluate(ModelState("adapter", tuned, info), jobs, tmp_path / "results")
        assert asked.batches == expected
        weights = load_file(folder / "adapter_model.safetensors")
        next(iter(weights.values())).view(-1)[0] += 1e-6
        save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})


# --- kill -9
# ---------------------------------------------------------------------------------------------------------


def test_killed_by_sigkill_it_goes_on(ft, reviews: Path, model_folder: Path, tmp_path: Path):
    """The command in a process of its own, killed as soon as a batch is on disk, and run again."""
    recipe = tmp_path / "adapters" / "mine" / "recipe.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\ndata: {{source: {reviews}}}\n"
        "eval: {splits: [test], batch_size: 1}\n"
    )
    slow = (  # a batch takes a second, so that the kill falls between two of them
        "import sys, time, ft_harness.evaluation.backends.scorer as s; f = s.score_batch\n"
        "s.score_batch = lambda *a: (time.sleep(1 if len(a[2]) > 20 else 0), f(*a))[1]\n"
        "from ft_harness.cli import main; sys.argv = ['ft-harness'] + sys.argv[1:]; main()"
    )
    out = tmp_path / "killed"
    with subprocess.Popen(
        [sys.executable, "-c", slow, "eval", str(recipe), "--out", str(out)], stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 60
        while (
            not list(out.rglob("responses-*.jsonl"))
            and time.monotonic() < deadline
            and process.poll() is None
        ):
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    (file,) = out.rglob("responses-*.jsonl")
    kept = len(file.read_bytes().splitlines())
    assert 2 <= kept < 48
    assert not list(out.rglob("record.json"))
    for folder in (out, tmp_path / "whole"):
        assert ft("eval", recipe, "--out", folder)[0] == 0
    records = [
        json.loads(next(folder.rglob("record.json")).read_text())
        for folder in (out, tmp_path / "whole")
    ]
    assert records[0]["back_end"]["reused"] == kept
    assert records[0]["scores"] == records[1]["scores"]
    samples = [
        next(folder.rglob("samples.jsonl.gz")).read_bytes() for folder in (out, tmp_path / "whole")
    ]
    assert samples[0] == samples[1]
