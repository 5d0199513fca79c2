"""Memory runs out: the same requests in smaller batches, the same scores; what doesn't fit alone is
marked."""

from __future__ import annotations

import gc
import re
import weakref
from pathlib import Path

import pytest
import torch
from lm_eval.api.instance import Instance

from ft_harness.comparison.aggregator import aggregate, compare
from ft_harness.errors import NotComparableError, ResourceError
from ft_harness.evaluation import ModelState, evaluate, plan_jobs
from ft_harness.evaluation.backends import generation, make_causal_lm, scorer
from ft_harness.models import memory as out_of_memory
from ft_harness.models.base_model import BaseModel
from ft_harness.models.memory import attempt, is_out_of_memory
from ft_harness.recipe import EvalSection
from ft_harness.records import Evaluation
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from tests.builders.command import assert_three_lines
from tests.builders.tiny import write_jsonl

FORMS = {
    "class": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "cuda": RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA"),
    "cublas": RuntimeError(
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
    ),
    "cudnn": RuntimeError(
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in ..."
    ),
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried "
    ),
    "python": MemoryError(),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 18.00 GB)"),
    "hpu": RuntimeError("FATAL ERROR :: MODULE:PT_DEVMEM Allocation failed for size::1024"),
}
OTHERS = [
    RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
    RuntimeError("CUDA error: device-side assert triggered"),
    ValueError("out of memory"),
    KeyError("DefaultCPUAllocator"),
]
PAIRS = [
    (f"{'the film was good and ' * (1 + i % 4)}number {i}", answer)
    for i in range(24)
    for answer in (" good", " cold as it")
]


class Memory:
    """A machine that runs out of memory where a batch is too much for it; counts how often."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, too_much, error: Exception = FORMS["class"]
    ) -> None:
        self.too_much = too_much
        self.error = error
        self.refusals = 0
        self.batches: list[tuple[int, int]] = []
        logits_of, write = scorer.logits_of, generation.Generator.write

        def forward(model, inputs, cached, traits):
            rows, width = inputs.ids.shape
            self.load(rows, width + (cached.get_seq_length() if cached is not None else 0))
            return logits_of(model, inputs, cached, traits)

        def generate(generator, prompts):
            at_once = generator._at_once(prompts)
            self.load(at_once, max(len(prompt.ids) for prompt in prompts))
            return write(generator, prompts)

        monkeypatch.setattr(scorer, "logits_of", forward)
        monkeypatch.setattr(generation.Generator, "write", generate)

    def load(self, rows: int, width: int) -> None:
        if self.too_much(rows, width):
            self.refusals += 1
            raise self.error
        self.batches.append((rows, width))


def likelihoods(lm, pairs=PAIRS) -> list:
    requests = [Instance("loglikelihood", {}, pair, 0, metadata=("t", 0, 1)) for pair in pairs]
    return lm.loglikelihood(requests, disable_tqdm=True)


def texts(lm, count: int = 12) -> list[str]:
    arguments = {"until": ["\n"], "max_gen_toks": 6, "do_sample": False}
    prompts = [f"{'the film was good ' * (1 + i % 3)}{i}" for i in range(count)]
    requests = [
        Instance("generate_until", {}, (prompt, arguments), 0, metadata=("t", 0, 1))
        for prompt in prompts
    ]
    return lm.generate_until(requests, disable_tqdm=True)


# --- what it is
# ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_the_message_are_known(form: str):
    assert is_out_of_memory(FORMS[form])


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_nothing_else_is_taken_for_it(error: Exception):
    assert not is_out_of_memory(error)


def test_tensors_of_the_failed_try_are_free_before_the_next(monkeypatch: pytest.MonkeyPatch):
    """The error's traceback holds the frame that held them."""
    held: list[weakref.ref] = []
    alive: list[bool] = []

    def compute():
        tensor = torch.zeros(4)
        held.append(weakref.ref(tensor))
        raise MemoryError

    def look() -> None:
        gc.collect()
        alive.append(held[0]() is not None)

    monkeypatch.setattr(out_of_memory, "free_memory", look)
    assert out_of_memory.attempt(compute) is None
    assert alive == [False]


# --- smaller batches, the same answers
# -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_likelihoods_are_those_of_small_batches(
    form: str, base: BaseModel, monkeypatch: pytest.MonkeyPatch
):
    expected = likelihoods(make_causal_lm(base, 1))
    memory = Memory(monkeypatch, lambda rows, width: rows > 4, FORMS[form])
    lm = make_causal_lm(base)
    found = likelihoods(lm)
    assert memory.refusals > 0
    assert 1 < max(rows for rows, _ in memory.batches) <= 4  # more are refused; halving gives 3
    assert [score for score, _ in found] == pytest.approx(
        [score for score, _ in expected], abs=1e-4
    )
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert (lm.effort.computed, lm.effort.failed) == (len(PAIRS), 0)
    assert lm.effort.halvings > 0


@pytest.mark.parametrize("form", FORMS)
def test_texts_are_those_of_small_batches(
    form: str, base: BaseModel, monkeypatch: pytest.MonkeyPatch
):
    expected = texts(make_causal_lm(base, 1))
    memory = Memory(monkeypatch, lambda rows, width: rows > 4, FORMS[form])
    lm = make_causal_lm(base)
    assert texts(lm) == expected
    assert memory.refusals > 0
    assert max(rows for rows, _ in memory.batches) > 1
    assert (lm.effort.computed, lm.effort.failed) == (12, 0)


def test_a_row_with_branches_is_taken_apart(base: BaseModel, monkeypatch: pytest.MonkeyPatch):
    """The longest prompt with both answers is more than the machine bears, with one of them it is
    not."""
    lm = make_causal_lm(base)
    longest = max(len(lm.tok_encode(prompt + answer)) for prompt, answer in PAIRS)
    expected = likelihoods(make_causal_lm(base, 1))
    memory = Memory(monkeypatch, lambda rows, width: width > longest)
    found = likelihoods(lm)
    assert memory.refusals > 0
    assert [score for score, _ in found] == pytest.approx(
        [score for score, _ in expected], abs=1e-4
    )
    assert lm.effort.failed == 0


def test_without_room_for_a_shared_prefix_prompts_are_computed_whole(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
):
    shot = "Review: a slow, dull story. Sentiment: bad\n\n"
    pairs = [
        (f"{shot}{chr(97 + i)} film was", answer)
        for i in range(12)
        for answer in (" good", " cold as it")
    ]
    expected = likelihoods(make_causal_lm(base, 1), pairs)
    read_prefix = scorer.read_prefix

    def full(model, prefix):
        if len(prefix) > 9:  # that of the check has nine
            raise FORMS["cublas"]
        return read_prefix(model, prefix)

    monkeypatch.setattr(scorer, "read_prefix", full)
    lm = make_causal_lm(base)
    found = likelihoods(lm, pairs)
    assert lm.effort.halvings > 0
    assert [score for score, _ in found] == pytest.approx(
        [score for score, _ in expected], abs=1e-4
    )
    assert lm.effort.failed == 0


@pytest.mark.parametrize("ask", [likelihoods, texts])
def test_what_was_too_much_is_not_tried_again(
    ask, base: BaseModel, monkeypatch: pytest.MonkeyPatch
):
    memory = Memory(monkeypatch, lambda rows, width: rows > 2)
    lm = make_causal_lm(base)
    ask(lm)
    before = memory.refusals
    assert before > 0
    ask(lm)
    assert memory.refusals == before


def test_what_was_too_much_is_not_tried_again_by_the_next_batch(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
):
    """24 prompts of one length, eight of them at once: the first try finds out that eight and four
    are too many. What is halved twice is four batches of six, and none of the others is tried as it
    was."""
    prompts = [f"the film was {letter}" for letter in "abcdefghijklmnopqrstuvwx"]
    arguments = {"until": ["\n"], "max_gen_toks": 6, "do_sample": False}
    requests = [
        Instance("generate_until", {}, (prompt, arguments), 0, metadata=("t", 0, 1))
        for prompt in prompts
    ]
    lm = make_causal_lm(base, 8)
    lm.generate_until(requests[:1], disable_tqdm=True)  # the check of the model comes first
    memory = Memory(monkeypatch, lambda rows, width: rows > 2)
    lm.generate_until(requests, disable_tqdm=True)
    assert memory.refusals == 2
    assert [rows for rows, _ in memory.batches] == [2] * 4


def test_other_lengths_keep_their_budget(base: BaseModel, monkeypatch: pytest.MonkeyPatch):
    """Only prompts of 16 tokens and more are too many: shorter ones still share a batch of more
    than four."""
    memory = Memory(monkeypatch, lambda rows, width: width >= 16 and rows > 1)
    texts(make_causal_lm(base), 24)
    assert memory.refusals > 0
    assert max(rows for rows, width in memory.batches if width >= 16) == 1
    assert max(rows for rows, width in memory.batches if width < 16) > 4


def test_other_errors_come_through(base: BaseModel, monkeypatch: pytest.MonkeyPatch):
    Memory(monkeypatch, lambda rows, width: True, OTHERS[1])
    with pytest.raises(RuntimeError, match="device-side"):
        texts(make_causal_lm(base))
    with pytest.raises(RuntimeError, match="device-side"):
        likelihoods(make_causal_lm(base))


@pytest.mark.parametrize("ask", [likelihoods, texts])
def test_under_the_stock_command_a_request_that_does_not_fit_is_an_error(
    ask, base: BaseModel, monkeypatch: pytest.MonkeyPatch
):
    Memory(monkeypatch, lambda rows, width: width > 15)
    with pytest.raises(ResourceError) as caught:
        ask(make_causal_lm(base))
    assert caught.value.exit_code == 5
    assert "tokens" in caught.value.what


def test_without_memory_for_a_dozen_tokens_nothing_is_tried_further(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
):
    memory = Memory(monkeypatch, lambda rows, width: True)
    with pytest.raises(ResourceError):
        likelihoods(make_causal_lm(base))
    assert memory.refusals < 20


# --- evaluations
# -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the columns of demo_sentiment; doc 5 of the 12 test docs is much longer
    than the others."""
    folder = tmp_path_factory.mktemp("lengths")
    for start, split in enumerate(("train", "validation", "test")):
        rows = [{"text": f"the film {i + 50 * start} was {'so ' * (20 if i == 5 else 1 + i % 3)}good",
                 "label": ("negative", "positive")[i % 2]} for i in range(12)]  # fmt: skip
        write_jsonl(folder / f"{split}.jsonl", rows)
    return folder


def score(
    base: BaseModel, source: Path, results: Path, subject: str = "base--tiny", adapter=None
) -> Evaluation:
    tasks = load_tasks(find_task("demo_sentiment", metadata={"data_source": str(source)}), ["test"])
    jobs = plan_jobs(tasks, "hash", base, EvalSection(splits=("test",), batch_size=4))
    (done,) = evaluate(ModelState(subject, base, adapter), jobs, results)
    return done


def test_an_item_that_does_not_fit_is_marked_and_tried_again(
    base: BaseModel, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    expected = score(base, source, tmp_path / "whole")
    with monkeypatch.context() as patch:
        Memory(patch, lambda rows, width: width > 40)
        partial = score(base, source, tmp_path / "results")
    samples = list(partial.samples())
    (failed,) = [sample for sample in samples if sample.failed]
    assert failed.doc_id == 5
    length = len(base.tokenizer(failed.prompt + " bad")["input_ids"])  # its first choice
    assert f"out of memory with {length} tokens" in failed.failed
    assert "max_length" in failed.failed
    assert set(failed.scores.values()) == {None}
    assert (failed.prediction, failed.responses, failed.invalid) == (None, [], False)
    assert partial.record.status == "partial"
    assert {entry.n for entry in partial.record.scores if entry.metric == "acc"} == {11}
    assert partial.record.back_end.failed == 2  # its two choices
    for mine, right in zip(samples, expected.samples(), strict=True):
        if not mine.failed:
            assert mine.model_dump(exclude={"responses", "scores"}) == right.model_dump(
                exclude={"responses", "scores"}
            )
            assert [r[0] for r in mine.responses] == pytest.approx(
                [r[0] for r in right.responses], abs=1e-4
            )
    memory = Memory(monkeypatch, lambda rows, width: False)
    again = score(base, source, tmp_path / "results")
    assert again.folder == partial.folder
    assert again.record.status == "complete"
    assert (again.record.back_end.computed, again.record.back_end.reused) == (2, 22)
    assert [rows for rows, width in memory.batches if width > 40] == [1]
    mine = {sample.doc_id: [r[0] for r in sample.responses] for sample in again.samples()}
    right = {sample.doc_id: [r[0] for r in sample.responses] for sample in expected.samples()}
    assert {doc: pytest.approx(values, abs=1e-4) for doc, values in right.items()} == mine


def test_no_item_that_fits_is_no_evaluation(
    base: BaseModel, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    Memory(
        monkeypatch, lambda rows, width: width > 16
    )  # the check has at most 14 tokens, a doc at least 17
    with pytest.raises(ResourceError, match="no item could be scored") as caught:
        score(base, source, tmp_path)
    assert caught.value.exit_code == 5
    assert not list(tmp_path.rglob("record.json"))


def test_a_partial_evaluation_is_compared_with_nothing(
    base: BaseModel, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = score(base, source, tmp_path)
    Memory(monkeypatch, lambda rows, width: width > 40)
    info = {
        "name": "tuned", "path": "tuned", "identity": "x", "trainable_parameters": 1,
        "live_proof": {"prompts": 1, "max_logit_change": 1.0, "changed_prompts": 1},
    }  # fmt: skip
    from ft_harness.records import AdapterInfo

    partial = score(base, source, tmp_path, "tuned", AdapterInfo.model_validate(info))
    assert partial.record.status == "partial"
    with pytest.raises(NotComparableError, match=r"\n  status  'complete'  'partial'"):
        compare(whole, partial)
    study = aggregate([whole, partial], name="x", command="x")
    assert study.comparisons == []
    assert any("partial, not compared" in note for note in study.notes)


def write_mine(folder: Path, model: Path, source: Path, *sections: str) -> Path:
    recipe = folder / "adapters" / "mine" / "recipe.yaml"
    recipe.parent.mkdir(parents=True)
    common = (
        f"model: {{pretrained: {model}}}",
        "task: {name: demo_sentiment}",
        f"data: {{source: {source}}}",
    )
    recipe.write_text("\n".join((*common, *sections)) + "\n")
    return recipe


def test_the_command_ends_with_6_and_says_what_to_do(
    ft, source: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    recipe = write_mine(tmp_path, model_folder, source, "eval: {splits: [test]}")
    with monkeypatch.context() as patch:
        Memory(patch, lambda rows, width: width > 40)
        code, out, err = ft("eval", recipe)
    assert code == 6
    assert_three_lines(
        err, "1 items have no score", "out of memory with", "run the same command again"
    )
    assert "acc" in out
    assert re.search(r"│ +11 │", out)
    code, out, err = ft("eval", recipe)
    assert code == 0
    assert re.search(r"n 12\b|│ +12 │", out)


def test_a_whole_run_ends_with_6_and_its_report_leaves_the_evaluation_out(
    ft, source: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    recipe = write_mine(
        tmp_path,
        model_folder,
        source,
        "adapter: {r: 4, lora_alpha: 8}",
        "train: {num_train_epochs: 1, learning_rate: 0.02, per_device_train_batch_size: 4}",
        "eval: {splits: [test, validation]}",
    )
    Memory(monkeypatch, lambda rows, width: width > 40)
    code, _, err = ft("run", recipe)
    assert code == 6, err
    assert_three_lines(err, "items have no score")
    assert "partial, not compared" in (tmp_path / "results/reports/mine/report.md").read_text()


def test_no_process_tries_again_alone_where_all_compute_one_model(monkeypatch: pytest.MonkeyPatch):
    """The others would wait for it in the try that failed."""

    def fail() -> None:
        raise MemoryError

    assert attempt(fail) is None
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(MemoryError):
        attempt(fail)
