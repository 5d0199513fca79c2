"""Perplexities on real text with a real pretrained model, against loops in plain transformers;
skipped where FT_HARNESS_SHARED is not set."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from ft_harness.evaluation import ModelState, evaluate, plan_jobs
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.recipe import EvalSection, ModelSection
from ft_harness.records import Evaluation, base_subject
from ft_harness.tasks.definition import TaskDefinition
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from tests.builders.tiny import write_jsonl

pytestmark = pytest.mark.slow  # whole trainings and scorings on real data

COURSE = """task: course_ppl
custom_dataset: !function ft_harness.data.load_splits
dataset_kwargs: {data: {columns: {instruction: [], answer: [output]}}}
training_split: train
validation_split: validation
test_split: test
output_type: loglikelihood
doc_to_text: "{{instruction | trim}}\\n回答："
doc_to_target: "{{' ' + answer}}</s>"
target_delimiter: ""
process_results: !function ft_harness.metrics.score_answer_ppl
metric_list:
  - {metric: token_ppl, aggregation: !function ft_harness.metrics.aggregate_token_ppl, higher_is_better: false}
  - {metric: item_ppl, aggregation: !function ft_harness.metrics.aggregate_item_ppl, higher_is_better: false}
  - {metric: byte_ppl, aggregation: !function ft_harness.metrics.aggregate_byte_ppl, higher_is_better: false}
  - {metric: char_ppl, aggregation: !function ft_harness.metrics.aggregate_char_ppl, higher_is_better: false}
metadata: {version: 1.0}
"""


def stories(shared: Path, max_length: int | None = None) -> BaseModel:
    section = ModelSection(pretrained=str(shared / "models/stories260k-hf"), max_length=max_length)
    return load_base_model(section)


def score(base: BaseModel, spec: TaskDefinition, out: Path) -> Evaluation:
    settings = EvalSection(splits=["test"], batch_size=8)
    jobs = plan_jobs(load_tasks(spec, settings.splits), "hash", base, settings)
    (done,) = evaluate(ModelState(base_subject(base.info.pretrained), base), jobs, out)
    return done


def values(done: Evaluation) -> dict[str, float]:
    return {score.metric: score.value for score in done.record.scores}


def log_probabilities(base: BaseModel, read: list[int], scored: list[int]) -> float:
    with torch.no_grad():
        logits = (
            base.model(torch.tensor([read], device=base.device)).logits[0].double().log_softmax(-1)
        )
    return sum(float(logits[len(read) - len(scored) + i, token]) for i, token in enumerate(scored))


def bare_loop(base: BaseModel, ids: list[int]) -> float:
    """Windows of the model's context: the first opens with BOS, the others with the token before;
    the last reads as much of what comes before as fits."""
    length = base.max_length
    total = log_probabilities(base, [1, *ids[: length - 1]][: len(ids)], ids[:length])
    for start in range(length, len(ids), length):
        end = min(start + length, len(ids))
        total += log_probabilities(base, ids[end - 1 - length : end - 1], ids[start:end])
    return total


def texts_of(shared: Path, name: str) -> list[str]:
    if name == "stories":
        content = (shared / "data/tinystories_sample/tinystories_sample.txt").read_text(
            encoding="utf-8"
        )
        return [story.strip() for story in content.split("<|endoftext|>")[:60]]
    lines = (shared / "data/wikitext2_raw/wiki.test.raw").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip()][:40]


@pytest.mark.parametrize(
    ("name", "max_length"), [("stories", 64), ("stories", 512), ("wikitext", 512)]
)
def test_running_text_equals_a_bare_loop(shared: Path, tmp_path: Path, name: str, max_length: int):
    base, texts = stories(shared, max_length), texts_of(shared, name)
    source = write_jsonl(tmp_path / "texts.jsonl", [{"text": text} for text in texts])
    done = score(
        base,
        find_task("text_ppl_custom", metadata={"data_source": str(source), "test_all": True}),
        tmp_path,
    )
    total = tokens = 0.0
    for sample, text in zip(done.samples(), texts, strict=True):
        ids = base.tokenizer(text, add_special_tokens=False)["input_ids"]
        expected = bare_loop(base, ids)
        log_likelihood, count = sample.scores["token_ppl"]
        assert count == len(ids)
        assert log_likelihood == pytest.approx(expected, rel=1e-4)
        total, tokens = total + expected, tokens + len(ids)
    assert values(done)["token_ppl"] == pytest.approx(math.exp(-total / tokens), rel=1e-4)
    size = sum(len(text.encode()) for text in texts)
    assert values(done)["byte_ppl"] == pytest.approx(math.exp(-total / size), rel=1e-4)


def test_a_model_knows_the_text_it_was_trained_on(shared: Path, tmp_path: Path):
    """Per byte, so that the two may be compared: stories by far the likelier; a longer context
    helps."""
    ppl = {}
    for name, max_length in (("stories", 64), ("stories", 512), ("wikitext", 512)):
        out = tmp_path / f"{name}{max_length}"
        source = write_jsonl(
            out / "texts.jsonl", [{"text": text} for text in texts_of(shared, name)]
        )
        spec = find_task("text_ppl_custom", metadata={"data_source": str(source), "test_all": True})
        ppl[name, max_length] = values(score(stories(shared, max_length), spec, out))["byte_ppl"]
    assert ppl["stories", 512] < ppl["stories", 64] < ppl["wikitext", 512]
    assert 1.4 < ppl["stories", 512] < 2.0


@pytest.fixture(scope="module")
def instructions(shared: Path) -> list[dict]:
    """The first 60 rows whose prompt and answer fit the model's context."""
    rows = json.loads((shared / "data/adl2023_hw3/public_test.json").read_text(encoding="utf-8"))
    return [row for row in rows if len(row["instruction"] + row["output"]) < 150][:60]


def course_perplexities(base: BaseModel, rows: list[dict], *, eos: bool) -> list[float]:
    """The usual course formula: bos + prompt + answer + eos, prompt and answer tokenised apart, exp
    of the mean cross-entropy of answer and eos."""
    found = []
    for row in rows:
        prompt = base.tokenizer(f"{row['instruction'].strip()}\n回答：", add_special_tokens=False)[
            "input_ids"
        ]
        answer = (
            base.tokenizer(row["output"].strip(), add_special_tokens=False)["input_ids"] + [2] * eos
        )
        found.append(
            math.exp(-log_probabilities(base, [1, *prompt, *answer[:-1]], answer) / len(answer))
        )
    return found


def test_the_course_formula_is_item_ppl_with_eos_in_the_target(
    shared: Path, tmp_path: Path, instructions: list[dict]
):
    base = stories(shared)
    (tmp_path / "course_ppl.yaml").write_text(COURSE, encoding="utf-8")
    source = write_jsonl(tmp_path / "rows.jsonl", instructions)
    spec = find_task("course_ppl", str(tmp_path), {"data_source": str(source), "test_all": True})
    course = course_perplexities(base, instructions, eos=True)
    got = values(score(base, spec, tmp_path / "eos"))
    assert len(course) == 60
    assert got["item_ppl"] == pytest.approx(sum(course) / 60, rel=1e-4)
    assert abs(got["token_ppl"] / got["item_ppl"] - 1) > 0.01, (
        "the token-weighted figure is another one"
    )

    (tmp_path / "course_ppl.yaml").write_text(COURSE.replace("</s>", ""), encoding="utf-8")
    spec = find_task("course_ppl", str(tmp_path), {"data_source": str(source), "test_all": True})
    without = values(score(base, spec, tmp_path / "plain"))["item_ppl"]
    assert without == pytest.approx(
        sum(course_perplexities(base, instructions, eos=False)) / 60, rel=1e-4
    )
    assert abs(without / got["item_ppl"] - 1) > 0.01
