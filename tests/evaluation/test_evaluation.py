"""Scoring through lm-eval: the same numbers as the stock command, to the item; reused, sampled and
honest about NaN."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ft_harness.errors import NonFiniteError
from ft_harness.evaluation import ModelState, evaluate, fingerprint, plan_jobs, runner
from ft_harness.models.adapters import attached
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.paths import task_yamls_dir
from ft_harness.recipe import EvalSection, ModelSection
from ft_harness.records import base_subject
from ft_harness.records.finding import load_records
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from tests.builders.tiny import save_model, write_jsonl

SETTINGS = EvalSection(train_limit=20, batch_size=4)


def jobs_of(
    base: BaseModel,
    source: Path,
    task: str = "demo_sentiment",
    settings: EvalSection = SETTINGS,
    **metadata,
):
    spec = find_task(task, metadata={"data_source": str(source), **metadata})
    return plan_jobs(load_tasks(spec, settings.splits), "hash", base, settings)


def state_of(base: BaseModel) -> ModelState:
    return ModelState(base_subject(base.info.pretrained), base)


def stock_scores(model_args: str, source: Path) -> tuple[dict, list[dict]]:
    """(results, samples) of demo_sentiment's test split by lm-eval alone."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager(
        include_path=str(task_yamls_dir()),
        include_defaults=False,
        metadata={"data_source": str(source)},
    )
    outcome = lm_eval.simple_evaluate(
        model="hf", model_args=model_args, tasks=["demo_sentiment"], task_manager=manager, device="cpu", batch_size=3,
        bootstrap_iters=0,
    )  # fmt: skip
    return outcome["results"]["demo_sentiment"], outcome["samples"]["demo_sentiment"]


@pytest.fixture(scope="module")
def adapter(base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("adapters") / "random"
    torch.manual_seed(5)
    model = get_peft_model(
        base.model, LoraConfig(task_type="CAUSAL_LM", r=4, init_lora_weights=False)
    )
    model.save_pretrained(folder)
    model.unload()
    return folder


@pytest.mark.parametrize("tuned", [False, True], ids=["base", "adapter"])
def test_scores_equal_stock_lm_eval_to_the_item(
    tuned: bool, base: BaseModel, adapter: Path, reviews: Path, tmp_path: Path, model_folder: Path
):
    jobs = [job for job in jobs_of(base, reviews) if job.settings.split == "test"]
    if tuned:
        with attached(adapter, base, ["the film"]) as (model, info):
            (ours,) = evaluate(ModelState("random", model, info), jobs, tmp_path)
    else:
        (ours,) = evaluate(state_of(base), jobs, tmp_path)
    results, samples = stock_scores(
        f"pretrained={model_folder}" + (f",peft={adapter}" if tuned else ""), reviews
    )
    for score in ours.record.scores:
        tolerance = (
            1e-4 if score.metric in ("ece", "brier") else 1e-12
        )  # log-likelihoods themselves, or counts
        assert (
            score.value == pytest.approx(results[f"{score.metric},none"], abs=tolerance)
            or score.value is None
        )
    mine = list(ours.samples())
    assert (
        [sample.doc_id for sample in mine]
        == [sample["doc_id"] for sample in samples]
        == list(range(24))
    )
    for sample, stock in zip(mine, samples, strict=True):
        assert sample.prompt_hash == stock["prompt_hash"]
        assert [r[0] for r in sample.responses] == pytest.approx(
            [r[0] for r in stock["filtered_resps"]], abs=1e-4
        )
        assert sample.scores["acc"] == stock["acc"]


def test_a_record_says_everything_and_reads_back(base: BaseModel, reviews: Path, tmp_path: Path):
    done = evaluate(state_of(base), jobs_of(base, reviews), tmp_path)
    assert load_records([tmp_path]) == sorted(done, key=lambda found: found.folder)
    by_split = {found.record.settings.split: found for found in done}
    assert {split: found.record.scores[0].n for split, found in by_split.items()} == {
        "train": 20, "validation": 16, "test": 24,
    }  # fmt: skip
    assert by_split["train"].record.settings.sample_seed == SETTINGS.seed
    assert by_split["test"].record.settings.sample_seed is None
    doc_ids = [sample.doc_id for sample in by_split["train"].samples()]
    assert doc_ids == sorted(doc_ids)
    accuracy = by_split["test"].record.scores[0]
    assert accuracy.low < accuracy.value < accuracy.high


def test_macro_f1_equals_scikit_learn(base: BaseModel, reviews: Path, tmp_path: Path):
    from sklearn.metrics import f1_score

    (done,) = evaluate(state_of(base), jobs_of(base, reviews)[-1:], tmp_path)
    samples = list(done.samples())
    expected = f1_score(
        [s.target for s in samples],
        [s.prediction for s in samples],
        average="macro",
        labels=["bad", "good"],
    )
    value = next(score.value for score in done.record.scores if score.metric == "f1_macro")
    defined = len({s.target for s in samples} | {s.prediction for s in samples})
    assert defined == 2
    assert value == pytest.approx(expected, abs=1e-12)


def test_a_finished_evaluation_is_not_scored_again(
    base: BaseModel, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    jobs = jobs_of(base, reviews)
    first = evaluate(state_of(base), jobs, tmp_path)
    monkeypatch.setattr(runner, "make_lm", lambda *_: pytest.fail("the model was asked again"))
    assert evaluate(state_of(base), jobs, tmp_path) == first


def test_a_missing_samples_file_is_scored_again(base: BaseModel, reviews: Path, tmp_path: Path):
    jobs = jobs_of(base, reviews)[-1:]
    (done,) = evaluate(state_of(base), jobs, tmp_path)
    (done.folder / "samples.jsonl.gz").unlink()
    (again,) = evaluate(state_of(base), jobs, tmp_path)
    assert len(list(again.samples())) == 24


def test_what_makes_a_score_makes_its_identity(base: BaseModel, reviews: Path, tmp_path: Path):
    job = jobs_of(base, reviews)[-1]
    other = load_base_model(ModelSection(pretrained=str(save_model(tmp_path / "other", seed=1))))
    shots = jobs_of(base, reviews, settings=EvalSection(num_fewshot=1, splits=("test",)))[-1]
    changed = write_jsonl(
        tmp_path / "changed" / "all.jsonl", [{"text": f"t {i}", "label": i % 2} for i in range(30)]
    )
    data = jobs_of(base, changed)[-1]
    prints = [
        fingerprint(state_of(base), job),
        fingerprint(state_of(other), job),
        fingerprint(state_of(base), shots),
        fingerprint(state_of(base), data),
    ]
    assert len(set(prints)) == 4


def test_a_model_that_gives_nan_has_no_accuracy(base: BaseModel, reviews: Path, tmp_path: Path):
    weight = base.model.get_output_embeddings().weight
    kept = weight.data.clone()
    weight.data.fill_(float("nan"))
    try:
        with pytest.raises(NonFiniteError) as caught:
            evaluate(state_of(base), jobs_of(base, reviews), tmp_path)
    finally:
        weight.data.copy_(kept)
    assert caught.value.exit_code == 8
    assert not list(tmp_path.rglob("record.json"))


def test_a_model_that_gives_nan_has_no_exact_match(model_folder: Path, tmp_path: Path):
    """Finite weights, NaN logits, a generated answer: nothing of it is a score."""
    base = load_base_model(ModelSection(pretrained=str(model_folder)))
    base.model.model.norm.weight.data.fill_(3e38)
    rows = [
        {"passage": f"Ann has {i} hats.", "question": "Who?", "answer": "Ann"} for i in range(30)
    ]
    source = write_jsonl(tmp_path / "qa.jsonl", rows)
    with pytest.raises(NonFiniteError):
        evaluate(state_of(base), jobs_of(base, source, "demo_qa")[-1:], tmp_path / "results")


def test_nan_weights_are_found_when_the_model_is_loaded(tmp_path: Path):
    from safetensors.torch import load_file, save_file

    folder = save_model(tmp_path / "nan", seed=0)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    next(iter(tensors.values())).view(-1)[3] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(NonFiniteError):
        load_base_model(ModelSection(pretrained=str(folder)))


def test_cut_prompts_are_flagged_and_counted(reviews: Path, model_folder: Path, tmp_path: Path):
    short = load_base_model(ModelSection(pretrained=str(model_folder), max_length=12))
    jobs = [job for job in jobs_of(short, reviews) if job.settings.split == "test"]
    (done,) = evaluate(state_of(short), jobs, tmp_path)
    lengths = [len(short.tokenizer(s.prompt + " good")["input_ids"]) for s in done.samples()]
    assert [sample.truncated for sample in done.samples()] == [length > 13 for length in lengths]
    assert done.record.scores[0].n_truncated == sum(length > 13 for length in lengths) > 0


def test_generated_answers_are_scored_and_kept(base: BaseModel, tmp_path: Path):
    rows = [
        {"passage": f"Ann has {i} hats.", "question": "Who?", "answer": "Ann"} for i in range(30)
    ]
    source = write_jsonl(tmp_path / "qa.jsonl", rows)
    (done,) = evaluate(state_of(base), jobs_of(base, source, "demo_qa")[-1:], tmp_path / "results")
    names = [score.metric for score in done.record.scores]
    assert names == ["exact_match", "token_f1", "empty", "truncated", "run_on"]
    sample = next(done.samples())
    assert sample.target == "Ann"
    assert isinstance(sample.prediction, str)


def test_base_subject_is_one_folder_name():
    assert base_subject("org/model-1.5B") == "base--model-1.5B"
    assert base_subject("../../x y") == "base--x-y"
