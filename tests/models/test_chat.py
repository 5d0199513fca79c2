"""Chat models: one template in training and scoring, one BOS, an answer that ends where generation
stops."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from ft_harness.errors import InputError, ProblemsError
from ft_harness.evaluation import ModelState, evaluate, fingerprint, plan_jobs
from ft_harness.evaluation.backends import make_causal_lm
from ft_harness.models.adapters import AdapterFolder, attached, problems, read_card
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.models.chat_templates import prompt_form
from ft_harness.models.encoding import Encoder
from ft_harness.models.prompts import PLAIN, PromptForm
from ft_harness.paths import bundled_model_dir, task_yamls_dir
from ft_harness.pipeline.experiment import Experiment
from ft_harness.pipeline.preflight import Scope, check
from ft_harness.pipeline.recipe_checks import check_tokens
from ft_harness.pipeline.runs import evaluate_only, run
from ft_harness.pipeline.stages import check_experiment
from ft_harness.recipe import EvalSection, ModelSection, Recipe, TaskSection
from ft_harness.records import read_evaluation
from ft_harness.storage import sha256_text
from ft_harness.tasks.examples import build_examples, prompt_of
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from ft_harness.training import TrainingPlan, TrainingSet, build_training_set, finished_card, train
from tests.builders.tiny import build_tokenizer, write_jsonl

TURNS = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}CLOSE{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    + TURNS
)


def template_of(*, bos: bool = False, close: str = "</s>", turns: str = TURNS) -> str:
    return ("{{ bos_token }}" if bos else "") + turns.replace("CLOSE", close)


def save_chat_model(
    folder: Path, template: str | None, *, kind: str = "bpe_bos", stops: int | list[int] = 2
) -> Path:
    """A random Llama whose tokenizer has this chat template and the turn's end `<|im_end|>` (its last id)."""
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    tokenizer = build_tokenizer(kind)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    tokenizer.chat_template = template
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=stops, pad_token_id=0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def chat_section(**changes) -> TaskSection:
    return TaskSection.model_validate(
        {"name": "demo_sentiment", "apply_chat_template": True} | changes
    )


def form_of(folder: Path, **changes) -> PromptForm:
    return prompt_form(chat_section(**changes), ModelSection(pretrained=str(folder)))


def task_of(name: str, source: Path):
    return load_tasks(find_task(name, metadata={"data_source": str(source)}), ["train", "test"])


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows for demo_sentiment and demo_qa alike, prompts of different lengths."""
    folder = tmp_path_factory.mktemp("questions")
    for split in ("train", "validation", "test"):
        rows = [
            {"text": f"{split} {'very ' * i}warm", "label": i % 2, "passage": f"{split} {'so ' * i}",
             "question": "Who?", "answer": f"Ann {i}"}
            for i in range(6)
        ]  # fmt: skip
        write_jsonl(folder / f"{split}.jsonl", rows)
    return folder


class Reader:
    """The tokens of each prompt and answer that the model is asked about."""

    def __init__(self, lm) -> None:
        self.rows: list[list[int]] = []
        self.score, self.generate = lm.scorer.score, lm.generator.generate
        lm.scorer.score, lm.generator.generate = self.read_queries, self.read_prompts

    def read_queries(self, queries):
        self.rows += [list(query.inputs) for query in queries]
        return self.score(queries)

    def read_prompts(self, prompts):
        self.rows += [list(prompt.ids) for prompt in prompts]
        return self.generate(prompts)


def rows_read_by_the_model(base: BaseModel, jobs, batch_size: int) -> list[list[int]]:
    import lm_eval

    lm = make_causal_lm(base, batch_size)
    reader = Reader(lm)
    for job in jobs:
        lm_eval.evaluate(
            lm=lm, task_dict={"tasks": {job.task.config.task: job.task}}, bootstrap_iters=0,
            apply_chat_template=job.form.apply_chat_template, system_instruction=job.form.system_instruction,
            fewshot_as_multiturn=job.form.fewshot_as_multiturn,
        )  # fmt: skip
    return reader.rows


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("kind", ["bpe_bos", "bpe_plain"])
@pytest.mark.parametrize("bos", [True, False], ids=["template-bos", "template-plain"])
@pytest.mark.parametrize("name", ["demo_sentiment", "demo_qa"], ids=["score", "generate"])
def test_training_rows_are_what_the_model_reads_with_one_bos(
    name: str, bos: bool, kind: str, batch_size: int, questions: Path, tmp_path: Path
):
    folder = save_chat_model(tmp_path / "m", template_of(bos=bos), kind=kind)
    base, form = load_base_model(ModelSection(pretrained=str(folder))), form_of(folder)
    tasks = task_of(name, questions)
    (job,) = plan_jobs({"test": tasks["test"]}, "hash", base, EvalSection(splits=("test",)), form)
    read = rows_read_by_the_model(base, [job], batch_size)
    generated = name == "demo_qa"
    rows = build_examples(
        tasks["test"],
        tasks["test"].eval_docs,
        base.tokenizer,
        base.max_length,
        eos=generated,
        form=form,
    )
    assert len(rows) == 6
    expected_bos = 1 if bos or kind == "bpe_bos" else 0
    for row in rows:
        assert (row.context_ids if generated else row.input_ids) in read
        assert row.input_ids.count(1) == expected_bos
    assert all(ids.count(1) == expected_bos for ids in read)
    if generated:
        assert sorted(map(tuple, read)) == sorted(tuple(row.context_ids) for row in rows)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_each_prompt_of_a_batch_decides_for_itself_whether_bos_is_added(
    batch_size: int, tmp_path: Path
):
    # lm-eval's own batch goes by its first string: ids [1, 1, ...] for a prompt that starts with
    # BOS itself.
    folder = save_chat_model(tmp_path / "m", None)
    base = load_base_model(ModelSection(pretrained=str(folder)))
    rows = [
        {"passage": p, "question": "Who?", "answer": "Ann"}
        for p in ("hi", "<s>hi there", "hi over there")
    ]
    for split in ("train", "validation", "test"):
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", rows)
    tasks = task_of("demo_qa", tmp_path / "data")
    (job,) = plan_jobs({"test": tasks["test"]}, "hash", base, EvalSection(splits=("test",)))
    read = rows_read_by_the_model(base, [job], batch_size)
    built = build_examples(
        tasks["test"], tasks["test"].eval_docs, base.tokenizer, base.max_length, eos=True
    )
    assert sorted(map(tuple, read)) == sorted(tuple(row.context_ids) for row in built)
    assert [ids.count(1) for ids in read] == [1, 1, 1]


def test_prompts_are_those_of_the_stock_command(questions: Path, tmp_path: Path):
    import lm_eval
    from lm_eval.tasks import TaskManager

    folder = save_chat_model(tmp_path / "m", template_of(bos=True))
    base = load_base_model(ModelSection(pretrained=str(folder)))
    for multiturn in (True, False):
        form = form_of(folder, system_instruction="Be brief.", fewshot_as_multiturn=multiturn)
        settings = EvalSection(splits=("test",), num_fewshot=2)
        jobs = plan_jobs(
            {"test": task_of("demo_qa", questions)["test"]}, "hash", base, settings, form
        )
        (ours,) = evaluate(ModelState("m", base), jobs, tmp_path / "results")
        manager = TaskManager(
            include_path=str(task_yamls_dir()),
            include_defaults=False,
            metadata={"data_source": str(questions)},
        )
        stock = lm_eval.simple_evaluate(
            model="hf", model_args=f"pretrained={folder}", tasks=["demo_qa"], num_fewshot=2, task_manager=manager,
            device="cpu", batch_size=3, bootstrap_iters=0, apply_chat_template=True, system_instruction="Be brief.",
            fewshot_as_multiturn=multiturn,
        )  # fmt: skip
        prompts = [sample.prompt for sample in ours.samples()]
        assert prompts == [sample["arguments"][0][0] for sample in stock["samples"]["demo_qa"]]
        assert prompts[0].startswith("<s><|system|>\nBe brief.\n<|user|>\n")
        assert prompts[0].count("<|user|>") == (3 if multiturn else 1)
        assert ours.record.settings.fewshot_as_multiturn is multiturn


@pytest.mark.parametrize(
    ("close", "stops", "expected"),
    [
        ("</s>", 2, ["</s>"]),  # the template closes with EOS
        ("<|im_end|>", [2, "<|im_end|>"], ["<|im_end|>"]),  # generation stops at the turn's end
        ("<|im_end|>", 2, ["<|im_end|>", "</s>"]),  # generation goes on after it: EOS must follow
        (" </s>", 2, ["</s>"]),
        ("", 2, ["</s>"]),  # the template closes with nothing
        ("### END", 2, ["</s>"]),  # or with ordinary text
    ],
)
def test_an_answer_ends_where_generation_stops(
    close: str, stops, expected: list[str], questions: Path, tmp_path: Path
):
    tokenizer = build_tokenizer("bpe_bos")
    end = len(tokenizer)  # the id that <|im_end|> is given
    wanted = (
        [end if stop == "<|im_end|>" else stop for stop in stops]
        if isinstance(stops, list)
        else stops
    )
    folder = save_chat_model(tmp_path / "m", template_of(close=close), stops=wanted)
    task = task_of("demo_qa", questions)["train"]
    tokenizer = load_base_model(ModelSection(pretrained=str(folder))).tokenizer
    rows = build_examples(task, task.eval_docs, tokenizer, 256, eos=True, form=form_of(folder))
    assert [tokenizer.decode(row.answer_ids) for row in rows] == [
        f"Ann {i}{''.join(expected)}" for i in range(6)
    ]


def test_a_model_without_generation_config_stops_at_its_own_eos(tmp_path: Path):
    folder = save_chat_model(tmp_path / "m", template_of(close="<|im_end|>"))
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    end = config["vocab_size"] - 1
    assert form_of(folder).closing_ids == (end, 2)
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": [2, end]}))
    assert form_of(folder).closing_ids == (end,)


def test_a_prompt_may_end_in_white_space_under_a_template(questions: Path, tmp_path: Path):
    folder = save_chat_model(tmp_path / "m", template_of())
    task, form = task_of("demo_sentiment", questions)["train"], form_of(folder)
    prompt = prompt_of(task, task.eval_docs[0], form)
    assert prompt == "<|user|>\nReview: train warm\nSentiment:\n<|assistant|>\n"
    (row,) = build_examples(
        task, [task.eval_docs[0]], build_tokenizer("bpe_bos"), 256, eos=False, form=form
    )
    # lm-eval scores the white space of the prompt's end with the answer, and puts no delimiter
    # before it
    assert build_tokenizer("bpe_bos").decode(row.answer_ids) == "\nbad"


def test_a_template_that_writes_bos_twice_is_refused(questions: Path, tmp_path: Path):
    folder = save_chat_model(tmp_path / "m", "{{ bos_token }}" + template_of(bos=True))
    task = task_of("demo_qa", questions)["train"]
    with pytest.raises(InputError, match="two BOS"):
        build_examples(
            task, task.eval_docs, build_tokenizer("bpe_bos"), 256, eos=True, form=form_of(folder)
        )


def recipe_of(folder: Path, source: Path, **task) -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"pretrained": str(folder)},
            "task": {"name": "demo_qa", "apply_chat_template": True} | task,
            "data": {"source": str(source)},
            "adapter": {"r": 4},
            "train": {"max_steps": 2, "per_device_train_batch_size": 2, "learning_rate": 0.01},
            "eval": {"batch_size": 3},
        }
    )


def test_a_tokenizer_without_template_is_refused_before_the_model_is_loaded(
    questions: Path, tmp_path: Path
):
    folder = save_chat_model(tmp_path / "m", None)
    with pytest.raises(InputError, match="no chat template") as caught:
        check(recipe_of(folder, questions), [tmp_path], Scope(trains=True))
    assert caught.value.exit_code == 3
    check(recipe_of(folder, questions, apply_chat_template=False), [tmp_path], Scope(trains=True))


def test_a_template_that_refuses_the_messages_is_named(questions: Path, tmp_path: Path):
    folder = save_chat_model(tmp_path / "m", "{{ raise_exception('only tools') }}")
    with pytest.raises(InputError, match="refuses the messages \\(only tools\\)"):
        check(recipe_of(folder, questions), [tmp_path], Scope(trains=True))


def test_what_a_template_does_unasked_is_in_the_report(questions: Path, tmp_path: Path):
    dated = save_chat_model(
        tmp_path / "dated", "{{ strftime_now('%d') }}" + template_of(turns=NO_SYSTEM)
    )
    report = check(
        recipe_of(dated, questions, system_instruction="Be brief."), [tmp_path], Scope(trains=True)
    ).findings.facts
    assert "the template writes today's date: prompts differ from day to day" in report
    assert "the template has no system role: task.system_instruction is left out" in report
    plain = save_chat_model(tmp_path / "plain", template_of())
    report = check(
        recipe_of(plain, questions, system_instruction="Be brief."), [tmp_path], Scope(trains=True)
    ).findings.facts
    assert f"chat template {sha256_text(template_of())[:16]}" in report
    assert not [line for line in report if line.startswith("the template")]


def training_set(recipe: Recipe, base: BaseModel, source: Path, form: PromptForm) -> TrainingSet:
    tasks = load_tasks(
        find_task("demo_qa", metadata={"data_source": str(source)}), ["train", "validation", "test"]
    )
    return build_training_set(tasks, base, recipe, "task", form)


def test_an_adapter_keeps_to_the_template_it_was_trained_with(questions: Path, tmp_path: Path):
    folder = save_chat_model(tmp_path / "m", template_of())
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "chat_template.jinja").write_text(template_of() + "{# another #}")
    recipe, base = (
        recipe_of(folder, questions),
        load_base_model(ModelSection(pretrained=str(folder))),
    )
    form, changed = form_of(folder), form_of(other)
    data = training_set(recipe, base, questions, form)
    card = train(TrainingPlan(recipe, base, data), tmp_path / "a")
    assert card.chat_template_hash == sha256_text(template_of())[:16]
    assert problems(tmp_path / "a", form) == []
    for asked, name in ((changed, changed.chat_template_hash), (PLAIN, "none")):
        with pytest.raises(InputError) as caught, attached(tmp_path / "a", base, ["hi"], asked):
            pass
        assert caught.value.what.endswith(
            f"trained with chat template {card.chat_template_hash}, asked to be scored with chat template {name}"
        )
        assert caught.value.exit_code == 3
    (problem,) = problems(tmp_path / "a", form_of(folder, system_instruction="Be brief."))
    assert (
        "system instruction none, asked to be scored with system instruction Be brief."
        in problem.what
    )
    # Both templates give the same training rows; the adapter is another one all the same.
    data_changed = training_set(recipe, base, questions, changed)
    assert data_changed.data_hash == data.data_hash
    with pytest.raises(InputError, match="chat_template_hash: "):
        finished_card(TrainingPlan(recipe, base, data_changed), tmp_path / "a")


def test_training_does_not_go_on_under_another_template(
    questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from ft_harness.training import run

    folder = save_chat_model(tmp_path / "m", template_of())
    base, recipe = (
        load_base_model(ModelSection(pretrained=str(folder))),
        recipe_of(folder, questions),
    )
    data = training_set(recipe, base, questions, form_of(folder))
    monkeypatch.setattr(run, "read_history", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(
            TrainingPlan(recipe, base, data), tmp_path / "a"
        )  # killed after its last step, before the card
    (folder / "chat_template.jinja").write_text(template_of() + "{# another #}")
    changed = training_set(recipe, base, questions, form_of(folder))
    with pytest.raises(
        InputError,
        match=r"unfinished training there differs \(chat_template_hash: '\w+' -> '\w+'\)",
    ):
        train(TrainingPlan(recipe, base, changed), tmp_path / "a")
    monkeypatch.undo()
    assert train(TrainingPlan(recipe, base, data), tmp_path / "a").cost.resumed_from_step == 2


def test_the_template_makes_the_identity_of_a_score(questions: Path, tmp_path: Path):
    folder = save_chat_model(tmp_path / "m", template_of())
    base, settings = (
        load_base_model(ModelSection(pretrained=str(folder))),
        EvalSection(splits=("test",)),
    )
    test = {"test": task_of("demo_qa", questions)["test"]}
    forms = [PLAIN, form_of(folder), form_of(folder, system_instruction="Be brief.")]
    prints = {
        fingerprint(ModelState("m", base), plan_jobs(test, "h", base, settings, form)[0])
        for form in forms
    }
    assert len(prints) == 3


@pytest.mark.slow  # a whole run
def test_a_chat_run_from_check_to_report(tmp_path: Path):
    """The bundled model with a small template: the prompts of the samples are those that were
    trained."""
    folder = shutil.copytree(bundled_model_dir(), tmp_path / "model")
    (folder / "chat_template.jinja").write_text(template_of(bos=True))
    content = {
        "model": {"pretrained": str(folder)},
        "task": {
            "name": "demo_qa",
            "apply_chat_template": True,
            "system_instruction": "Answer briefly.",
        },
        "data": {"train_size": 12, "validation_size": 4, "test_size": 4},
        "adapter": {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0},
        "train": {"max_steps": 2, "per_device_train_batch_size": 4, "learning_rate": 0.01},
        "eval": {"batch_size": 4},
    }
    file = tmp_path / "adapters" / "chat" / "recipe.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(content))
    recipe = Recipe.model_validate(content)
    experiment = Experiment("chat", recipe, file, tmp_path, "ft-harness run")
    checked = check_experiment(experiment, trains=True)
    line, *_ = check_tokens(experiment, checked).facts
    assert line.startswith("12 training rows of ")
    assert "EOS trained in each" in line
    study, _ = run([experiment], "report", lambda _: None)
    assert len(study.comparisons) == 3
    card = read_card(experiment.folder)
    assert card.chat_template_hash == checked.form.chat_template_hash
    base = load_base_model(recipe.model)
    task, encoder = checked.tasks["train"], Encoder(base.tokenizer)
    trained = build_examples(
        task, task.eval_docs, base.tokenizer, base.max_length, eos=True, form=checked.form
    )
    (scored,) = [e for e in study.comparisons if e.tuned.settings.split == "train"]
    assert scored.tuned.settings.chat_template_hash == card.chat_template_hash
    folders = list((tmp_path / "results" / "chat").glob("demo_qa@train-*"))
    prompts = [sample.prompt for sample in read_evaluation(folders[0]).samples()]
    assert [encoder.tok_encode(prompt) for prompt in prompts] == [
        row.context_ids for row in trained
    ]
    assert prompts[0].startswith("<s><|system|>\nAnswer briefly.\n<|user|>\n")
    plain = recipe.model_copy(update={"task": TaskSection(name="demo_qa")})
    with pytest.raises(ProblemsError) as caught:
        evaluate_only(
            Experiment("chat", plain, file, tmp_path, "ft-harness eval"),
            [AdapterFolder(experiment.folder)],
            lambda _: None,
        )
    assert caught.value.exit_code == 3
    assert [problem.what.rpartition("scored with ")[2] for problem in caught.value.problems] == [
        "chat template none", "system instruction none",
    ]  # fmt: skip
