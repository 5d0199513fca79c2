"""Every shipped task YAML, found recursively: sound, documented, and the same numbers under the
stock `lm_eval`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ft_harness.errors import InputError
from ft_harness.evaluation import ModelState, evaluate, plan_jobs
from ft_harness.metrics import find_metric
from ft_harness.models.base_model import load_base_model
from ft_harness.paths import is_installed, task_yamls_dir
from ft_harness.pipeline.task_checks import check_task
from ft_harness.recipe import EvalSection, ModelSection
from ft_harness.storage.strict_files import read_yaml
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.listing import TaskReader, merge_includes
from ft_harness.tasks.loading import load_tasks, task_training_problems

SHIPPED = sorted(task_yamls_dir().rglob("*.yaml"))
NAMES = [path.stem for path in SHIPPED]
LISTS = sorted((task_yamls_dir() / "metric_lists").glob("*.yml"))
ANSWERS = ["a cat", "cat", "the dog", "no one", "a red cat", "two"]
PAIRS = [
    ("A dog runs.", "It moves."),
    ("A man sleeps.", "He sings."),
    ("She eats.", "She has a red hat."),
]


def row_of(family: str, split: str, i: int) -> dict:
    """A row in the columns that the family's README names."""
    if family in ("sst2", "imdb", "demo_sentiment"):
        field = "sentence" if family == "sst2" else "text"
        return {field: f"a film number {i} of {split}", "label": ("negative", "positive")[i % 2]}
    if family in ("snli", "demo_nli"):
        premise, hypothesis = PAIRS[i % 3]
        return {"premise": f"{premise} {split} {i}", "hypothesis": hypothesis, "label": i % 3}
    if family == "squad":
        answers = [] if i % 3 == 2 else [ANSWERS[i], "it"]
        answers = answers or ["none"] if split == "v1" else answers
        return {"id": f"{split}-{i}", "title": f"{split} {i % 2}", "context": f"Tom has {ANSWERS[i]}. {i}",
                "question": "What has Tom?", "answers": answers}  # fmt: skip
    if family == "demo_qa":
        return {
            "passage": f"Tom has {ANSWERS[i]}. {split} {i}",
            "question": "What?",
            "answer": ANSWERS[i],
        }
    if family in ("demo_zh", "zh_classical"):
        return {"instruction": f"翻譯：明日{i}{split}", "output": f"第二天{i}"}
    if family == "instruction":
        return {"prompt": f"Say {ANSWERS[i]} {split} {i}.", "response": ANSWERS[i]}
    if family == "control_text":
        return {"text": f"a story of {ANSWERS[i]} in {split}. It ends."}
    if family in ("control_grammar", "control_words"):
        return {"prompt": f"In {split} {i} she", "choices": ["saw him.", "sees he."], "answer": 0}
    if family in ("preference", "demo_preference"):
        return {
            "prompt": f"Say {ANSWERS[i]} {split} {i}.",
            "chosen": ANSWERS[i],
            "rejected": f"no {i}",
        }
    assert family == "text_ppl", f"no rows for the family {family}"
    return {"text": f"a story of {ANSWERS[i]} in {split}. It ends."}


def family_of(path: Path) -> str:
    return path.stem if path.parent.name in ("demo", "controls") else path.parent.name


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Family -> a folder with 6, 4 and 4 rows; questions of SQuAD v1.1 all have an answer."""
    root, found = tmp_path_factory.mktemp("families"), {}
    for path in SHIPPED:
        family = family_of(path)
        for split, count in (("train", 6), ("validation", 4), ("test", 4)):
            rows = [row_of(family, split, i) for i in range(count)]
            if path.stem == "squad_custom":
                rows = [{**row, "answers": row["answers"] or ["none"]} for row in rows]
            target = root / path.stem / f"{split}.jsonl"
            target.parent.mkdir(exist_ok=True)
            target.write_text(
                "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
                encoding="utf-8",
            )
        found[path.stem] = str(root / path.stem)
    return found


def load(name: str, sources: dict[str, str], **metadata):
    return load_tasks(
        find_task(name, metadata={"data_source": sources[name], **metadata}),
        ["train", "validation", "test"],
    )


def test_tasks_are_shipped():
    assert len(SHIPPED) >= 15, "the shipped task YAMLs were not found"
    assert len(set(NAMES)) == len(NAMES)
    assert all(map(is_installed, SHIPPED))


def test_the_families_are_there_in_both_forms():
    wanted = {"snli_custom", "sst2_custom", "imdb_custom"}
    wanted |= {f"{name}_gen" for name in wanted} | {
        "squad_custom",
        "squad_v2_custom",
        "zh_classical_custom",
    }
    wanted |= {
        "instruction_custom",
        "zh_classical_ppl_custom",
        "instruction_ppl_custom",
        "text_ppl_custom",
        "preference_custom",
    }
    assert wanted <= set(NAMES)


@pytest.mark.parametrize("path", SHIPPED, ids=NAMES)
def test_every_task_is_named_versioned_and_documented(path: Path):
    content, _ = read_yaml(path)
    assert content["task"] == path.stem
    assert re.search(r"_custom(_gen)?$|^demo_|^control_", path.stem)
    readme = (path.parent / "README.md").read_text(encoding="utf-8")
    assert f"| `{path.stem}` |" in readme
    assert str(content["metadata"]["version"]) in readme.partition("Changelog: ")[2]
    for part in (
        "| source |",
        "| licence |",
        "| splits |",
        "| metrics |",
        "prompt",
        "Known scores",
        "Changelog: ",
    ):
        assert part in readme, part


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_every_list_of_metrics_is_documented_and_used(path: Path):
    readme = (path.parent / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{path.name}` \| `(\w+)` \| (.+) \|$", readme, re.MULTILINE)
    content, _ = read_yaml(path)
    assert content["process_results"] == f"!function ft_harness.metrics.{row[0]}"
    scored = [
        task.stem
        for task in SHIPPED
        if merge_includes(TaskReader().follow(task))["metric_list"] == content["metric_list"]
    ]
    assert sorted(re.findall(r"`(\w+)`", row[1])) == sorted(scored)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("control_")])
def test_every_task_loads_renders_and_lists_its_metrics(name: str, sources: dict[str, str]):
    loaded = load(name, sources)
    assert {split: (task.config.task, len(task.eval_docs)) for split, task in loaded.items()} == {
        "train": (f"{name}@train", 6),
        "validation": (f"{name}@validation", 4),
        "test": (f"{name}@test", 4),
    }
    task = loaded["train"]
    for metric, higher_is_better in task.higher_is_better().items():
        assert find_metric(metric).higher_is_better is higher_is_better
    rolling = task.OUTPUT_TYPE == "loglikelihood_rolling"
    assert bool(task_training_problems(task)) == rolling
    for doc in task.eval_docs:
        prompt, target = task.doc_to_text(doc), task.doc_to_target(doc)
        assert prompt == prompt.rstrip()
        assert prompt
        assert (
            target in range(len(task.doc_to_choice(doc)))
            if task.config.doc_to_choice
            else str(target).strip()
        )
        assert "{{" not in f"{prompt}{target}"
    assert rolling or list(loaded["test"].fewshot_docs()) == list(task.eval_docs), (
        "examples come from train"
    )


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("control_")])
def test_a_control_has_test_docs_alone_and_right_answers_among_its_choices(name: str):
    """Whatever the data, all of it is scored and none of it can be trained on."""
    definition = find_task(name)
    assert definition.splits == ("test",)
    (task,) = load_tasks(definition, ["test"]).values()
    assert len(task.eval_docs) >= 40
    for metric, higher_is_better in task.higher_is_better().items():
        assert find_metric(metric).higher_is_better is higher_is_better
    for doc in task.eval_docs if task.config.doc_to_choice else []:
        choices = task.doc_to_choice(doc)
        assert task.doc_to_target(doc) in range(len(choices))
        assert len(set(choices)) == len(choices)
    with pytest.raises(InputError, match="no train split"):
        load_tasks(definition, ["train"])


@pytest.mark.parametrize("name", ["snli_custom", "squad_v2_custom", "text_ppl_custom"])
def test_a_task_checks_without_a_recipe(name: str, sources: dict[str, str]):
    task, docs, metrics, *_ = check_task(
        find_task(name, metadata={"data_source": sources[name]})
    ).facts
    assert task.startswith(f"task {name} (")
    assert docs == "train 6 docs, validation 4 docs, test 4 docs"
    assert metrics.endswith("metrics, on mock answers too")


@pytest.mark.parametrize(
    ("name", "index", "prompt", "target"),
    [
        ("sst2_custom_gen", 1, "Review: a film number 1 of test\nSentiment:", "good"),
        (
            "snli_custom_gen",
            2,
            "She eats. test 2\nQuestion: She has a red hat. Yes, maybe or no?\nAnswer:",
            "no",
        ),
        ("imdb_custom", 0, "Review: a film number 0 of test\nSentiment:", 0),
        ("squad_custom", 0, "Tom has a cat. 0\nQuestion: What has Tom?\nAnswer:", "a cat"),
        (
            "squad_v2_custom",
            2,
            "Tom has the dog. 2\nQuestion: What has Tom? Say unanswerable if the passage does not tell.\nAnswer:",
            "unanswerable",
        ),
        ("zh_classical_custom", 1, "指令：翻譯：明日1test\n回答：", "第二天1"),
        ("instruction_custom", 3, "Say no one test 3.\n\nAnswer:", "no one"),
    ],
)
def test_prompts_and_answers(
    name: str, index: int, prompt: str, target: str | int, sources: dict[str, str]
):
    task = load(name, sources)["test"]
    doc = task.eval_docs[index]
    assert task.doc_to_text(doc) == prompt
    assert task.doc_to_target(doc) == target


def test_line_breaks_of_a_web_page_become_blanks(tmp_path: Path):
    from lm_eval.utils import apply_template

    template = find_task("imdb_custom").content["doc_to_text"]
    assert (
        apply_template(template, {"text": " Good.<br /><br />Bad. "})
        == "Review: Good.  Bad.\nSentiment:"
    )


@pytest.mark.parametrize(
    ("one", "other"), [("sst2_custom", "sst2_custom_gen"), ("squad_custom", "squad_v2_custom")]
)
def test_a_task_that_includes_another_has_a_hash_of_its_own(one: str, other: str):
    hashes = {find_task(name).task_hash for name in (one, other)}
    assert len(hashes) == 2


# the same numbers under the stock lm_eval


STOCK = [
    "sst2_custom",
    "snli_custom_gen",
    "squad_v2_custom",
    "instruction_custom",
    "zh_classical_ppl_custom",
    "control_grammar",
    "preference_custom",
]
OURS_ALONE = {
    "truncated",
    "token_ppl",
    "item_ppl",
    "preference_acc_token",
}  # what lm-eval's own back-end doesn't tell


@pytest.mark.parametrize("name", STOCK)
def test_a_family_scores_the_same_under_stock_lm_eval(
    name: str, sources: dict[str, str], model_folder: Path, tmp_path: Path
):
    import lm_eval
    from lm_eval.tasks import TaskManager

    base = load_base_model(ModelSection(pretrained=str(model_folder)))
    settings = EvalSection(splits=("test",), batch_size=4)
    tasks = load_tasks(find_task(name, metadata={"data_source": sources[name]}), ["test"])
    tasks["test"].config.generation_kwargs = short(tasks["test"].config.generation_kwargs)
    jobs = plan_jobs(tasks, "hash", base, settings)
    (ours,) = evaluate(ModelState("base--tiny", base), jobs, tmp_path)
    manager = TaskManager(
        include_path=str(task_yamls_dir()),
        include_defaults=False,
        metadata={"data_source": sources[name]},
    )
    outcome = lm_eval.simple_evaluate(
        model="hf", model_args=f"pretrained={model_folder},softmax_dtype=float32", tasks=[name], task_manager=manager,
        device="cpu", batch_size=4, bootstrap_iters=0,
        gen_kwargs="max_gen_toks=24" if tasks["test"].OUTPUT_TYPE == "generate_until" else None,
    )  # fmt: skip
    stock = outcome["results"][name]
    scores = {score.metric: score.value for score in ours.record.scores}
    assert scores.keys() == {
        key.partition(",")[0] for key in stock if key.endswith(",none") and "_stderr" not in key
    }
    for metric, value in scores.items():
        found = stock[f"{metric},none"]
        if metric in OURS_ALONE or value is None:
            assert found is None
        else:
            assert found == pytest.approx(value, rel=1e-6), metric
    scored = 4 if name in sources and not name.startswith("control_") else 14  # test_all
    assert ours.record.scores[0].n == scored
    assert len(outcome["samples"][name]) == scored


def short(kwargs: dict | None) -> dict | None:
    return {**kwargs, "max_gen_toks": 24} if kwargs else None
