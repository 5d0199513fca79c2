"""Few-shot examples: lm-eval's own prompts, from the training split only, never the scored item."""

from __future__ import annotations

from pathlib import Path

import pytest

from ft_harness.errors import InputError, ProblemsError
from ft_harness.evaluation import Job, ModelState, evaluate, fingerprint, plan_jobs
from ft_harness.models.base_model import BaseModel
from ft_harness.paths import task_yamls_dir
from ft_harness.pipeline.preflight import Scope, check
from ft_harness.recipe import EvalSection, Protocol, Recipe
from ft_harness.tasks import fewshot
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from tests.builders.tiny import review_rows, write_jsonl


def settings_of(**changes) -> EvalSection:
    return EvalSection.model_validate({"splits": ["test"], "batch_size": 8} | changes)


def job_of(base: BaseModel, source: Path, **changes) -> Job:
    settings = settings_of(**changes)
    tasks = load_tasks(
        find_task("demo_sentiment", metadata={"data_source": str(source)}), settings.splits
    )
    (job,) = plan_jobs(tasks, "hash", base, settings)
    return job


def prompts_of(base: BaseModel, job: Job, folder: Path) -> list[str]:
    (done,) = evaluate(ModelState("base", base), [job], folder)
    return [sample.prompt for sample in done.samples()]


def stock_prompts(
    model_folder: Path, source: Path, include: Path, task: str, shots: int
) -> list[str]:
    """The prompts of the test split by lm-eval alone, at its own default seeds (1234 for few-shot
    examples)."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager(
        include_path=str(include), include_defaults=False, metadata={"data_source": str(source)}
    )
    outcome = lm_eval.simple_evaluate(
        model="hf", model_args=f"pretrained={model_folder}", tasks=[task], num_fewshot=shots, task_manager=manager,
        device="cpu", batch_size=8, bootstrap_iters=0,
    )  # fmt: skip
    return [sample["arguments"][0][0] for sample in outcome["samples"][task]]


def reviews_with(folder: Path, train: list[dict], test: list[dict]) -> Path:
    write_jsonl(folder / "train.jsonl", train)
    write_jsonl(folder / "validation.jsonl", review_rows(6, start=500))
    write_jsonl(folder / "test.jsonl", test)
    return folder


def recipe_of(model_folder: Path, source: Path, **changes) -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"pretrained": str(model_folder)},
            "task": {"name": "demo_sentiment"},
            "data": {"source": str(source)},
            "eval": settings_of(**changes).model_dump(mode="json", exclude_unset=True),
        }
    )


def test_a_seeded_sample_gives_the_prompts_of_the_stock_command(
    base: BaseModel, reviews: Path, model_folder: Path, tmp_path: Path
):
    ours = prompts_of(base, job_of(base, reviews, num_fewshot=3), tmp_path)
    assert ours == stock_prompts(model_folder, reviews, task_yamls_dir(), "demo_sentiment", 3)
    assert ours[0].count("Sentiment:") == 4
    assert len(set(ours)) == 24


def test_first_rows_are_lm_evals_first_n(
    base: BaseModel, reviews: Path, model_folder: Path, tmp_path: Path
):
    (tmp_path / "first.yaml").write_text(
        f"include: {task_yamls_dir() / 'demo' / 'demo_sentiment.yaml'}\ntask: first\n"
        "fewshot_config: {sampler: first_n}\n",
        encoding="utf-8",
    )
    ours = prompts_of(base, job_of(base, reviews, fewshot_ids="first:2"), tmp_path / "results")
    assert ours == stock_prompts(model_folder, reviews, tmp_path, "first", 2)


@pytest.mark.parametrize(("ids", "rows"), [("last:3", [61, 62, 63]), ([5, 0], [5, 0])])
def test_fixed_rows_stand_before_every_item_in_their_order(
    ids, rows: list[int], base: BaseModel, reviews: Path
):
    job = job_of(base, reviews, fewshot_ids=ids)
    assert (job.settings.num_fewshot, job.settings.fewshot_ids) == (len(rows), rows)
    job.shots.install(job.task, 1234)
    train, words = review_rows(64), {"positive": "good", "negative": "bad"}
    shown = "".join(f"{train[i]['text']}|{words[train[i]['label']]}|" for i in rows)
    for doc in list(job.task.eval_docs)[:3]:
        blocks = job.task.fewshot_context(doc, len(rows)).split("\n\n")
        found = [
            block.removeprefix("Review: ").replace("\nSentiment: ", "|") for block in blocks[:-1]
        ]
        assert "".join(f"{block}|" for block in found) == shown
        assert blocks[-1].endswith(f"{doc['text']}\nSentiment:")


def test_what_is_shown_is_part_of_the_identity_of_a_score(
    base: BaseModel, reviews: Path, tmp_path: Path
):
    state = ModelState("base", base)
    other = reviews_with(tmp_path, review_rows(64, start=300), review_rows(24, start=200))
    jobs = [
        job_of(base, reviews),
        job_of(base, reviews, num_fewshot=3),
        job_of(base, reviews, fewshot_ids="last:3"),
        job_of(base, reviews, fewshot_ids="first:3"),
        job_of(
            base, other
        ),  # the same test rows: another pool matters only where examples are shown
        job_of(base, other, num_fewshot=3),
        job_of(base, other, fewshot_ids="last:3"),
    ]
    prints = [fingerprint(state, job) for job in jobs]
    assert prints[0] == prints[4]
    assert len(set(prints)) == 6


@pytest.mark.parametrize("shots", [{"num_fewshot": 2}, {"fewshot_ids": "last:2"}])
def test_scoring_the_split_of_the_examples_is_refused(
    shots: dict, model_folder: Path, reviews: Path, tmp_path: Path
):
    with pytest.raises(
        InputError, match="the split train would come from that split itself"
    ) as caught:
        check(
            recipe_of(model_folder, reviews, splits=["train", "test"], **shots),
            [tmp_path],
            Scope(trains=True),
        )
    assert caught.value.exit_code == 3
    assert "--set 'eval.splits=[validation,test]'" in caught.value.action


def test_fixed_rows_that_are_scored_are_refused(model_folder: Path, tmp_path: Path):
    train, test = review_rows(10), review_rows(6, start=100)
    source = reviews_with(
        tmp_path / "data", train, [*test, {"text": train[8]["text"].upper(), "label": "positive"}]
    )
    with pytest.raises(
        InputError, match=r"1 of the rows of eval\.fewshot_ids are scored too, first row 8"
    ) as caught:
        check(recipe_of(model_folder, source, fewshot_ids="last:3"), [tmp_path], Scope(trains=True))
    assert caught.value.exit_code == 3
    check(recipe_of(model_folder, source, fewshot_ids="first:3"), [tmp_path], Scope(trains=True))


def test_scored_rows_are_left_out_of_the_pool_and_counted(
    base: BaseModel, model_folder: Path, tmp_path: Path
):
    # 8 of 10 training rows stand in the test split too, one of them in other case and blanks: 2 can
    # be shown.
    train = review_rows(10)
    copied = [
        *train[:7],
        {"text": train[7]["text"].upper().replace(" ", "  "), "label": train[7]["label"]},
    ]
    source = reviews_with(tmp_path / "data", train, copied)
    report = check(
        recipe_of(model_folder, source, num_fewshot=2), [tmp_path], Scope(trains=True)
    ).findings.facts
    assert (
        "test: 2 few-shot examples for each item out of 2, 8 rows left out that are scored too"
        in report
    )
    job = job_of(base, source, num_fewshot=2)
    prompts = prompts_of(base, job, tmp_path / "results")
    assert len(prompts) == 8
    for prompt in prompts:
        assert sorted(prompt.split("number ")[i][0] for i in (1, 2)) == ["8", "9"]
    again = job_of(base, source, num_fewshot=2)
    assert prompts_of(base, again, tmp_path / "again") == prompts  # what base and adapter are given


def test_a_row_with_another_id_is_the_same_item(tmp_path: Path):
    row = {"title": "t", "context": "Ann has a hat.", "question": "Who?", "answers": ["Ann"]}
    others = [{**row, "context": f"Ann has {i} hats.", "id": f"o{i}"} for i in range(4)]
    write_jsonl(tmp_path / "train.jsonl", [*others, {**row, "id": "train-1"}])
    for split in ("validation", "test"):
        write_jsonl(tmp_path / f"{split}.jsonl", [{**row, "id": f"{split}-1"}])
    task = load_tasks(find_task("squad_custom", metadata={"data_source": str(tmp_path)}), ["test"])[
        "test"
    ]
    assert fewshot.find_shots(task, Protocol(shots=2)).left_out == 1


def test_another_answer_to_a_scored_question_is_left_out_too(tmp_path: Path):
    """Whether it is a wrong label or the answer in other words: it would stand right before the
    question."""
    row = {
        "title": "t",
        "context": "Ann has a hat.",
        "question": "Who?",
        "answers": ["Ann"],
        "id": "1",
    }
    others = [{**row, "context": f"Ann has {i} hats.", "id": f"o{i}"} for i in range(4)]
    write_jsonl(
        tmp_path / "train.jsonl", [*others, {**row, "question": "WHO?  ", "answers": ["Ann."]}]
    )
    for split in ("validation", "test"):
        write_jsonl(tmp_path / f"{split}.jsonl", [row])
    task = load_tasks(find_task("squad_custom", metadata={"data_source": str(tmp_path)}), ["test"])[
        "test"
    ]
    shots = fewshot.find_shots(task, Protocol(shots=2))
    assert (shots.left_out, len(shots.rows)) == (1, 4)


def test_a_pool_smaller_than_the_shots_is_refused_with_numbers(model_folder: Path, tmp_path: Path):
    train = review_rows(10)
    source = reviews_with(tmp_path / "data", train, train[:8])
    with pytest.raises(InputError) as caught:
        check(recipe_of(model_folder, source, num_fewshot=3), [tmp_path], Scope(trains=True))
    assert caught.value.what == (
        "demo_sentiment@test: 3 few-shot examples are asked for, 2 of 10 training rows can be shown (8 are scored too)"
    )
    for ids in ("last:11", [10]):
        with pytest.raises(InputError, match="doesn't have"):
            check(recipe_of(model_folder, source, fewshot_ids=ids), [tmp_path], Scope(trains=True))


def test_every_fault_of_the_examples_is_found_at_once(
    model_folder: Path, reviews: Path, tmp_path: Path
):
    recipe = recipe_of(
        model_folder, reviews, splits=["train", "validation", "test"], num_fewshot=65
    )
    with pytest.raises(ProblemsError) as caught:
        check(recipe, [tmp_path], Scope(trains=True))
    assert [problem.what.split(":")[0] for problem in caught.value.problems] == [
        "demo_sentiment", "demo_sentiment@validation", "demo_sentiment@test",
    ]  # fmt: skip


def test_everything_in_test_leaves_no_examples(reviews: Path):
    metadata = {"data_source": str(reviews), "test_all": True}
    task = load_tasks(find_task("demo_sentiment", metadata=metadata), ["test"])["test"]
    with pytest.raises(InputError, match="0 of 0 training rows"):
        fewshot.find_shots(task, Protocol(shots=1))


def test_running_text_has_no_examples(tmp_path: Path):
    for split in ("train", "validation", "test"):
        write_jsonl(tmp_path / f"{split}.jsonl", [{"text": f"{split} {i}"} for i in range(3)])
    task = load_tasks(
        find_task("text_ppl_custom", metadata={"data_source": str(tmp_path)}), ["test"]
    )["test"]
    with pytest.raises(InputError, match="running text"):
        fewshot.find_shots(task, Protocol(shots=1))


def test_examples_of_another_split_than_train_are_refused(reviews: Path, tmp_path: Path):
    (tmp_path / "other.yaml").write_text(
        "task: other\ncustom_dataset: !function ft_harness.data.load_splits\n"
        f"dataset_kwargs: {{data: {{source: {reviews}, columns: {{text: [], label: []}}}}}}\n"
        "training_split: train\nvalidation_split: validation\ntest_split: test\nfewshot_split: validation\n"
        'output_type: generate_until\ndoc_to_text: "{{text}}"\ndoc_to_target: label\n'
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\n",
        encoding="utf-8",
    )
    task = load_tasks(find_task("other", include_path=str(tmp_path)), ["test"])["test"]
    with pytest.raises(InputError, match="come from the split validation"):
        fewshot.find_shots(task, Protocol(shots=1))
