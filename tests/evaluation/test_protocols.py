"""One load of a base: several numbers of shots and several decodings, each as if it were asked for
alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ft_harness.evaluation import ModelState, evaluate, plan_jobs
from ft_harness.evaluation.backends import decoding
from ft_harness.models.base_model import load_base_model
from ft_harness.recipe import EvalSection, ModelSection
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from tests.builders.command import assert_three_lines
from tests.builders.tiny import write_jsonl

SPLITS = ("validation", "test")
BEAMS = {"num_beams": 3}
DRAWN = {"do_sample": True, "temperature": 0.7}


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("questions")
    for split, count in (("train", 12), ("validation", 4), ("test", 6)):
        rows = [
            {"passage": f"Ann has {i} {split} cups.", "question": "How many?", "answer": str(i)}
            for i in range(count)
        ]
        write_jsonl(folder / f"{split}.jsonl", rows)
    return folder


def scored(model_folder: Path, questions: Path, out: Path, **settings):
    section = EvalSection(splits=SPLITS, batch_size=4, **settings)
    base = load_base_model(ModelSection(pretrained=str(model_folder)))
    tasks = load_tasks(find_task("demo_qa", metadata={"data_source": str(questions)}), SPLITS)
    assert decoding.problems(tasks, section.protocols()) == []
    return evaluate(ModelState("base", base), plan_jobs(tasks, "hash", base, section), out)


def content(evaluation) -> list[tuple]:
    return [(sample.prompt, sample.responses, sample.scores) for sample in evaluation.samples()]


def test_each_protocol_is_scored_as_if_alone(model_folder: Path, questions: Path, tmp_path: Path):
    both = scored(
        model_folder,
        questions,
        tmp_path / "both",
        num_fewshot=[0, 2],
        generation_kwargs=[{}, BEAMS, DRAWN],
    )
    assert len(both) == 2 * 2 * 3
    assert [e.record.settings.num_fewshot for e in both[:6]] == [0, 0, 0, 2, 2, 2]
    alone = [
        evaluation
        for shots in (0, 2)
        for kwargs in ({}, BEAMS, DRAWN)
        for evaluation in scored(
            model_folder, questions, tmp_path / "alone", num_fewshot=shots, generation_kwargs=kwargs
        )
    ]
    places = {evaluation.folder.name: evaluation for evaluation in alone}
    assert len(places) == 12
    for evaluation in both:
        assert content(evaluation) == content(places[evaluation.folder.name])


def test_shots_and_decoding_stand_in_record_and_folder(
    model_folder: Path, questions: Path, tmp_path: Path
):
    first, *_, last = scored(
        model_folder, questions, tmp_path, num_fewshot=[0, 2], generation_kwargs=[{}, DRAWN]
    )
    assert first.folder.name.startswith("demo_qa@validation-")
    assert last.folder.name.startswith("demo_qa@test-2shot-")
    assert "num_beams" not in first.record.settings.generation_kwargs
    assert (
        last.record.settings.generation_kwargs.items()
        >= {**first.record.settings.generation_kwargs, **DRAWN}.items()
    )


def check(ft, folder: Path, questions: Path, task: str, section: str):
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"task: {{name: {task}}}\ndata: {{source: {questions}}}\neval: {section}\n",
        encoding="utf-8",
    )
    return ft("check", recipe)


def test_a_decoding_argument_is_known(ft, tmp_path: Path, questions: Path):
    code, _, err = check(ft, tmp_path, questions, "demo_qa", "{generation_kwargs: {num_beam: 2}}")
    assert code == 3
    assert_three_lines(err, "num_beam is not a decoding argument; did you mean num_beams?")


def test_a_task_scored_by_likelihood_has_no_decoding(ft, tmp_path: Path, reviews: Path):
    code, _, err = check(
        ft, tmp_path, reviews, "demo_sentiment", "{generation_kwargs: [{}, {num_beams: 2}]}"
    )
    assert code == 3
    assert_three_lines(err, "demo_sentiment: eval.generation_kwargs sets num_beams")


def test_check_forecasts_every_protocol(ft, tmp_path: Path, questions: Path):
    section = "{splits: [test], num_fewshot: [0, 2], generation_kwargs: [{}, {num_beams: 2}]}"
    code, out, err = check(ft, tmp_path, questions, "demo_qa", section)
    assert code == 0, err
    assert "24 docs scored with base and tuned each" in out  # 6 docs x 2 x 2
    assert out.count("after 2 examples") == 1
    assert out.count("of the first 6 prompts will be cut") == 2


def test_one_load_serves_base_and_every_adapter(
    ft, tmp_path: Path, model_folder: Path, reviews: Path, monkeypatch
):
    """`eval` with two adapters: the model is loaded once, and the base scores the same before and
    after them."""
    from ft_harness.pipeline import runs

    recipe = tmp_path / "adapters" / "one" / "recipe.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\ndata: {{source: {reviews}}}\n"
        "adapter: {r: 4}\ntrain: {num_train_epochs: 1, learning_rate: 0.02}\n"
        "eval: {splits: [test], num_fewshot: [0, 1]}\n",
        encoding="utf-8",
    )
    for name, seed in (("one", 0), ("two", 1)):
        code, _, err = ft("train", recipe, "--name", name, "--set", f"train.seed={seed}")
        assert code == 0, err
    loads = []
    load = runs.load_base_model
    monkeypatch.setattr(runs, "load_base_model", lambda *given: loads.append(given) or load(*given))
    code, _, err = ft("eval", recipe, "--adapter", "adapters/one", "--adapter", "adapters/two")
    assert code == 0, err
    assert len(loads) == 1
    records = [json.loads(path.read_text()) for path in (tmp_path / "results").rglob("record.json")]
    subjects = sorted((record["subject"], record["settings"]["num_fewshot"]) for record in records)
    assert subjects == [(name, shots) for name in ("base--tiny", "one", "two") for shots in (0, 1)]


def test_decodings_of_one_state_are_not_those_of_the_next(
    model_folder: Path, questions: Path, tmp_path: Path
):
    """Base, then tuned, from the same task objects: the task's own settings are there again after
    each job."""
    section = EvalSection(
        splits=["test"], batch_size=4, generation_kwargs=[{}, {"max_gen_toks": 3}, BEAMS]
    )
    base = load_base_model(ModelSection(pretrained=str(model_folder)))
    tasks = load_tasks(find_task("demo_qa", metadata={"data_source": str(questions)}), ["test"])
    first = plan_jobs(tasks, "hash", base, section)
    evaluate(ModelState("base", base), first, tmp_path)
    second = plan_jobs(tasks, "hash", base, section)
    assert [job.settings for job in second] == [job.settings for job in first]
    assert [set(job.settings.generation_kwargs) & {"num_beams"} for job in second] == [
        set(),
        set(),
        {"num_beams"},
    ]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("{max_gen_toks: abc}", "max_gen_toks is 'abc'"),
        ("{max_gen_toks: 0}", "max_gen_toks is 0"),
        ("{num_beams: 0}", "num_beams is 0"),
        ("{until: 5}", "until is 5"),
        ("{do_sample: true, top_p: 3}", "top_p is 3"),
        ("{do_sample: true, temperature: 0}", "sampled at temperature 0"),
        ("{temperature: 0.7}", "temperature would do nothing"),
        ("[{}, {top_k: 5}]", "top_k would do nothing"),
        ("{length_penalty: 2.0}", "length_penalty would do nothing"),
        ("{num_beams: 1, early_stopping: true}", "early_stopping would do nothing"),
        ("[{}, {max_gen_toks: 512}]", "max_gen_toks is 512, the context 512 tokens"),
    ],
)
def test_a_value_that_decoding_can_not_have(
    section: str, words: str, ft, tmp_path: Path, questions: Path
):
    code, _, err = check(ft, tmp_path, questions, "demo_qa", f"{{generation_kwargs: {section}}}")
    assert code == 3
    assert_three_lines(err, words)


def test_the_default_of_a_setting_of_beams_is_no_fault_without_them(
    ft, tmp_path: Path, questions: Path
):
    asks = "{generation_kwargs: {length_penalty: 1.0, early_stopping: false}}"
    code, _, err = check(ft, tmp_path, questions, "demo_qa", asks)
    assert code == 0, err
