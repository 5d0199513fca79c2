"""Classification heads: found or drawn, trained, kept, and scored item by item as transformers
itself would."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from ft_harness.errors import ConfigError, InputError, NonFiniteError, ResourceError
from ft_harness.evaluation.backends import ClassifierLM, make_lm, register_models
from ft_harness.evaluation.backends import classifier as scoring_heads
from ft_harness.evaluation.backends.store import ResponseStore
from ft_harness.models import adapters, heads
from ft_harness.models.adapters import attached
from ft_harness.models.base_model import BaseModel, load_base_model, load_context
from ft_harness.models.heads import HEAD_FILE, HeadPlan, check_labels, encode_texts, make_batch
from ft_harness.pipeline import recipe_checks
from ft_harness.recipe import ModelSection, Recipe
from ft_harness.records.finding import load_records
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from ft_harness.training import TrainingPlan, build_training_set, finished_card, train
from tests.builders.command import assert_three_lines
from tests.builders.interruptions import kill_at_step
from tests.builders.records import make_record
from tests.builders.tiny import (
    build_tokenizer,
    pair_tokenizer,
    save_backbone,
    save_tokenizer,
    write_jsonl,
)
from tests.builders.weights import largest_difference, weights

LABELS = ("entailment", "neutral", "contradiction")
PLAN = HeadPlan(LABELS, ("yes", "maybe", "no"), ("premise", "hypothesis"), seed=3)
PAIRS = [
    ("the film was good", "the cast was warm"),
    ("a slow", "bad"),
    ("good", "the film was bad"),
]
HEAD_MODULES = {
    "llama": ("score",),
    "gemma": ("score",),
    "mistral": ("score",),
    "phi": ("score",),
    "distilbert": ("classifier", "pre_classifier"),
    "bert": ("bert.pooler", "classifier"),
    "roberta": ("classifier",),
}


def load(folder: Path, plan: HeadPlan = PLAN, **section) -> BaseModel:
    return load_base_model(ModelSection(pretrained=str(folder), **section), plan)


def pair_rows(count: int, start: int = 0) -> list[dict[str, str]]:
    """Rows with an easy rule: the hypothesis says warm, long or cold."""
    words = {"entailment": "warm", "neutral": "long", "contradiction": "cold"}
    chosen = [LABELS[i % 3] for i in range(start, start + count)]
    return [
        {
            "premise": f"the film number {start + i} was warm",
            "hypothesis": f"it was {words[label]}",
            "label": label,
        }
        for i, label in enumerate(chosen)
    ]


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("backbones")
    return {kind: save_backbone(folder / kind, kind) for kind in HEAD_MODULES}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 / 12 / 24 rows for snli_custom."""
    folder = tmp_path_factory.mktemp("pairs")
    write_jsonl(folder / "train.jsonl", pair_rows(48))
    write_jsonl(folder / "validation.jsonl", pair_rows(12, 100))
    write_jsonl(folder / "test.jsonl", pair_rows(24, 200))
    return folder


def recipe_of(folder: Path, source: Path, **settings) -> Recipe:
    content = {
        "model": {"pretrained": str(folder)},
        "task": {"name": "snli_custom", "text_fields": ["premise", "hypothesis"]},
        "data": {"source": str(source)},
        "adapter": {"task_type": "SEQ_CLS", "r": 4, "lora_alpha": 8, "lora_dropout": 0.0},
        "train": {"num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 0.01},
    }
    return Recipe.model_validate(
        {name: section | settings.get(name, {}) for name, section in content.items()}
    )


def requests_of(texts: list[tuple[str, str]], choices: tuple[str, ...] = PLAN.choices) -> list:
    """lm-eval's requests of multiple-choice items."""
    from lm_eval.api.instance import Instance

    docs = [
        {"premise": first, "hypothesis": second, "label_names": list(LABELS)}
        for first, second in texts
    ]
    return [
        Instance(
            "loglikelihood",
            doc,
            (f"{doc['premise']} {doc['hypothesis']}", f" {choice}"),
            idx,
            ("nli", number, 1),
        )
        for number, doc in enumerate(docs)
        for idx, choice in enumerate(choices)
    ]


def transformers_scores(folder: Path, texts: list[tuple[str, ...]]) -> list[list[float]]:
    """Log-probabilities by transformers alone, one text or pair at a time."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    types = ["token_type_ids"] if getattr(model.config, "type_vocab_size", 0) > 1 else []
    known = ("input_ids", "attention_mask", *types)
    scores = []
    for row in texts:
        inputs = {
            name: value
            for name, value in tokenizer(*row, return_tensors="pt").items()
            if name in known
        }
        with torch.no_grad():
            scores.append(model(**inputs).logits[0].log_softmax(-1).tolist())
    return scores


# --- against transformers
# --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(HEAD_MODULES))
def test_scores_equal_transformers_one_by_one(
    kind: str, backbones: dict[str, Path], tmp_path: Path
):
    base = load(backbones[kind])
    assert base.head.modules == base.head.drawn == HEAD_MODULES[kind]
    base.model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path, kind)
    expected = transformers_scores(tmp_path, PAIRS)
    assert base.head.reads_types is (kind == "bert")
    found = make_lm(base, 2).loglikelihood(requests_of(PAIRS))
    flat = [value for row in expected for value in row]
    assert [value for value, _ in found] == pytest.approx(flat, abs=1e-5)
    best = [row.index(max(row)) for row in expected]
    assert [greedy for _, greedy in found] == [
        i == best[number] for number in range(3) for i in range(3)
    ]


def test_a_trained_head_is_used_as_it_is(backbones: dict[str, Path], tmp_path: Path):
    """A fully tuned classifier: nothing is drawn, the scores are those of transformers."""
    base = load(backbones["bert"])
    base.model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path, "bert")
    again = load(tmp_path, dataclasses.replace(PLAN, seed=99))
    assert (again.head.modules, again.head.drawn, again.info.head) == (("classifier",), (), None)
    found = make_lm(again, 8).loglikelihood(requests_of(PAIRS))
    expected = [value for row in transformers_scores(tmp_path, PAIRS) for value in row]
    assert [value for value, _ in found] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", ["llama", "bert"])
@pytest.mark.parametrize("pad", ["<pad>", "</s>"])
def test_padding_changes_no_logit(kind: str, pad: str, backbones: dict[str, Path]):
    """Right padding (ours) and left padding (transformers' `pad`) against each row alone."""
    base = load(backbones[kind])
    tokenizer = base.tokenizer
    tokenizer.pad_token = pad
    base.model.config.pad_token_id = tokenizer.pad_token_id
    texts = [(first,) for first, _ in PAIRS] if pad == "</s>" else PAIRS
    rows = encode_texts(tokenizer, texts, 64)
    assert len({len(row.ids) for row in rows}) > 1
    alone = [heads.read_logits(base.model, base.head, tokenizer, [row])[0] for row in rows]
    together = heads.read_logits(base.model, base.head, tokenizer, rows)
    assert float((together - torch.stack(alone)).abs().max()) < 1e-5
    if kind == "llama":  # absolute positions of an encoder are another thing from the left
        left = tokenizer.pad(
            {"input_ids": [row.ids for row in rows]}, padding_side="left", return_tensors="pt"
        )
        with torch.no_grad():
            moved = base.model(
                input_ids=left["input_ids"], attention_mask=left["attention_mask"]
            ).logits
        assert float((moved - torch.stack(alone)).abs().max()) < 1e-5


def test_half_precision_bases_have_a_head_in_float32(backbones: dict[str, Path]):
    base = load(backbones["distilbert"], dtype="bfloat16")
    assert base.info.dtype == "bfloat16"
    dtypes = {name: p.dtype for name, p in base.model.named_parameters()}
    assert dtypes["classifier.weight"] == dtypes["pre_classifier.bias"] == torch.float32
    assert dtypes["distilbert.embeddings.word_embeddings.weight"] == torch.bfloat16
    assert base.model(input_ids=torch.tensor([[1, 5, 2]])).logits.dtype == torch.float32


@pytest.mark.parametrize(
    ("kind", "inner", "outer"),
    [
        ("llama", "model.layers.0.self_attn.q_proj", "score"),
        ("distilbert", "distilbert.transformer.layer.0.attention.q_lin", "pre_classifier"),
        ("bert", "bert.encoder.layer.0.attention.self.query", "bert.pooler.dense"),
    ],
)
def test_a_quantised_base_keeps_its_head_whole(
    kind: str, inner: str, outer: str, backbones: dict[str, Path]
):
    pytest.importorskip("bitsandbytes")
    base = load(backbones[kind], quantization="nf4")
    kinds = {name: type(module).__name__ for name, module in base.model.named_modules()}
    assert (kinds[inner], kinds[outer]) == ("Linear4bit", "Linear")
    assert base.model.get_submodule(outer).weight.dtype == torch.float32
    assert base.info.head == load(backbones[kind]).info.head
    assert len(make_lm(base, 2).loglikelihood(requests_of(PAIRS))) == 9


# --- what is drawn
# ---------------------------------------------------------------------------------------------------


def test_the_seed_makes_the_head(backbones: dict[str, Path]):
    """N(0, 0.02) as transformers' configurations say, biases zero; from the seed alone."""
    torch.manual_seed(1)
    first = load(backbones["distilbert"])
    torch.manual_seed(2)
    again, other = (
        load(backbones["distilbert"]),
        load(backbones["distilbert"], dataclasses.replace(PLAN, seed=4)),
    )
    assert first.info.head == again.info.head != other.info.head
    assert torch.equal(first.model.classifier.weight, again.model.classifier.weight)
    assert not torch.equal(first.model.classifier.weight, other.model.classifier.weight)
    drawn = torch.randn((3, 32), generator=torch.Generator().manual_seed(3)) * 0.02
    assert torch.equal(first.model.classifier.weight, drawn)
    assert not first.model.pre_classifier.bias.any()


def test_another_head_is_another_state(backbones: dict[str, Path], pairs: Path):
    from ft_harness.evaluation import ModelState, fingerprint, plan_jobs
    from ft_harness.recipe import EvalSection

    tasks = load_tasks(find_task("snli_custom", metadata={"data_source": str(pairs)}), ["test"])
    prints = set()
    for plan in (
        PLAN,
        dataclasses.replace(PLAN, seed=4),
        dataclasses.replace(PLAN, text_fields=None),
    ):
        base = load(backbones["bert"], plan)
        (job,) = plan_jobs(tasks, "hash", base, EvalSection(splits=("test",)))
        assert job.settings.back_end == "ft-seqcls (softmax float32)"
        assert job.settings.text_fields == (list(plan.text_fields) if plan.text_fields else None)
        prints.add(fingerprint(ModelState("base", base), job))
    assert len(prints) == 3


def test_a_checkpoint_that_lacks_more_than_a_head_is_refused(
    backbones: dict[str, Path], tmp_path: Path
):
    import shutil

    folder = shutil.copytree(backbones["bert"], tmp_path / "holey")
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("bert.encoder.layer.1.output.dense.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"bert\.encoder\.layer\.1\.output\.dense"):
        load(folder)


def test_the_drawn_weights_can_be_kept_in_a_file(backbones: dict[str, Path], tmp_path: Path):
    base = load(backbones["bert"])
    heads.write_init(tmp_path, base.model, base.head)
    assert heads.find_init(tmp_path, PLAN) == tmp_path / HEAD_FILE
    assert heads.find_init(tmp_path, dataclasses.replace(PLAN, seed=4)) is None
    path = tmp_path / HEAD_FILE
    again = load(backbones["bert"], dataclasses.replace(PLAN, seed=4, init=path))
    assert again.info.head == base.info.head
    with pytest.raises(InputError, match="other names or shapes"):
        load(backbones["llama"], dataclasses.replace(PLAN, init=path))
    tensors = load_file(path)
    save_file({key: value * float("nan") for key, value in tensors.items()}, path)
    with pytest.raises(NonFiniteError):
        load(backbones["bert"], dataclasses.replace(PLAN, init=path))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="damaged"):
        load(backbones["bert"], dataclasses.replace(PLAN, init=path))


# --- labels
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "checked"),
    [
        (["entailment", "neutral", "contradiction"], True),
        (["ENTAILMENT", "Neutral", "contradiction"], True),
        (["yes", "maybe", "no"], True),
        (["LABEL_0", "LABEL_1", "LABEL_2"], False),
    ],
)
def test_labels_of_a_trained_head_are_recognised(found: list[str], checked: bool):
    assert check_labels(found, PLAN, "the head") is checked


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (["contradiction", "neutral", "entailment"], "in another order"),
        (["maybe", "yes", "no"], "in another order"),
        (["LABEL_1", "LABEL_0", "LABEL_2"], "the task has entailment"),
        (["entailment", "neutral"], "2 labels"),
        (["positive", "neutral", "negative"], "the task has entailment"),
    ],
)
def test_other_labels_are_refused(found: list[str], words: str):
    with pytest.raises(InputError, match=words):
        check_labels(found, PLAN, "the head")


def test_a_permuted_head_is_refused_before_and_when_it_is_loaded(
    backbones: dict[str, Path], pairs: Path, tmp_path: Path
):
    load(backbones["bert"]).model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path, "bert")
    config = json.loads((tmp_path / "config.json").read_text())
    config["id2label"] = {"0": "contradiction", "1": "neutral", "2": "entailment"}
    config["label2id"] = {name: int(i) for i, name in config["id2label"].items()}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="in another order"):
        load(tmp_path)
    recipe = recipe_of(tmp_path, pairs)
    tasks = load_tasks(find_task("snli_custom", metadata=recipe.task_metadata()), ["test"])
    from transformers import AutoConfig

    (problem,) = heads.problems(recipe, tasks.values(), AutoConfig.from_pretrained(tmp_path))
    assert "in another order" in problem.what


def test_a_head_is_asked_about_its_own_labels_only(backbones: dict[str, Path]):
    lm = make_lm(load(backbones["bert"]), 4)
    with pytest.raises(InputError, match="has 3 labels"):
        lm.loglikelihood(requests_of(PAIRS)[:-1])
    swapped = requests_of(PAIRS, ("no", "maybe", "yes"))
    for request in swapped:
        request.doc["label_names"] = list(reversed(LABELS))
    with pytest.raises(InputError, match="in another order"):
        lm.loglikelihood(swapped)
    unconditional = [
        dataclasses.replace(request, arguments=("", request.args[1]))
        for request in requests_of(PAIRS)
    ]
    with pytest.raises(InputError, match="after 2 prompts"):
        lm.loglikelihood([*requests_of(PAIRS)[:8], unconditional[8]])


def test_a_logit_that_is_not_finite_is_no_score(backbones: dict[str, Path]):
    base = load(backbones["bert"])
    base.model.classifier.weight.data.fill_(float("nan"))
    with pytest.raises(NonFiniteError) as caught:
        make_lm(base, 4).loglikelihood(requests_of(PAIRS))
    assert caught.value.exit_code == 8


def test_generation_and_running_text_are_refused(backbones: dict[str, Path]):
    lm = make_lm(load(backbones["llama"]), 4)
    for call in (lm.generate_until, lm.loglikelihood_rolling):
        with pytest.raises(InputError, match="ft-seqcls can't score"):
            call([])


# --- texts
# -----------------------------------------------------------------------------------------------------------


def test_pairs_lose_tokens_of_the_longer_text_first():
    """<s> 4 tokens </s> 2 tokens </s> are 9; cut to 7, the longer text gives two, from its end."""
    tokenizer = pair_tokenizer("bert")
    first, second = "abcd", "xy"  # a token for each letter: the corpus merges none of these
    assert len(tokenizer.tokenize(first)) == 4
    (whole,) = encode_texts(tokenizer, [(first, second)], 9)
    (cut,) = encode_texts(tokenizer, [(first, second)], 7)
    assert (whole.truncated, len(whole.ids)) == (False, 9)
    assert (cut.truncated, tokenizer.decode(cut.ids)) == (True, "<s>ab</s>xy</s>")
    assert cut.types == [0, 0, 0, 0, 1, 1, 1]
    assert tokenizer.truncation_side == "right"


def test_prompts_are_cut_from_the_left_and_begin_once_with_bos():
    tokenizer = pair_tokenizer("llama")
    prompt, templated = encode_texts(
        tokenizer, [("ABCDEFGH",), ("<s>ABCDEFGH",)], 5, from_left=True
    )
    assert tokenizer.decode(prompt.ids) == "<s>EFGH"
    assert tokenizer.decode(templated.ids) == "DEFGH"
    (whole,) = encode_texts(tokenizer, [("<s>ABC",)], 9, from_left=True)
    assert whole.ids.count(tokenizer.bos_token_id) == 1


def test_cut_texts_are_counted(backbones: dict[str, Path]):
    lm = make_lm(load(backbones["bert"], max_length=8), 4)
    lm.loglikelihood(requests_of([("good", "bad"), ("the film was good and long", "bad")]))
    assert lm.truncated_prompts == {"the film was good and long bad"}
    assert lm.scored_tokens == len(encode_texts(lm.tokenizer, [("good", "bad")], 8)[0].ids) + 8


def test_fields_lose_their_end_and_prompts_their_start(backbones: dict[str, Path]):
    """Of 8 tokens two mark the ends; what differs in the rest is cut, so the scores are equal."""
    by_field = make_lm(
        load(backbones["bert"], dataclasses.replace(PLAN, text_fields=("premise",)), max_length=8),
        1,
    )
    scores = by_field.loglikelihood(
        requests_of([("ABCDEFGH", "x"), ("ABCDEFXY", "x"), ("XBCDEFGH", "x")])
    )
    assert scores[:3] == scores[3:6] != scores[6:]
    by_prompt = make_lm(
        load(backbones["bert"], dataclasses.replace(PLAN, text_fields=None), max_length=8), 1
    )
    scores = by_prompt.loglikelihood(
        requests_of([("AB", "CDEFGH"), ("XY", "CDEFGH"), ("AB", "CDEFGX")])
    )
    assert scores[:3] == scores[3:6] != scores[6:]


@pytest.mark.parametrize(
    ("field", "words"),
    [("premises", "did you mean premise?"), ("label", "no text in label"), ("empty", "no text")],
)
def test_fields_without_text_are_named(field: str, words: str):
    with pytest.raises(InputError, match=words.replace("?", r"\?")):
        heads.read_texts(
            {"premise": "a", "hypothesis": "b", "label": 1, "empty": " "}, (field,), ""
        )


def test_roberta_reads_fewer_tokens_than_it_has_positions(backbones: dict[str, Path]):
    """Positions begin behind the padding token's id, here 0: 64 - 1; transformers fails on the 64th
    token."""
    section = ModelSection(pretrained=str(backbones["roberta"]))
    assert load_context(section) == load(backbones["roberta"]).max_length == 63
    assert load_context(ModelSection(pretrained=str(backbones["bert"]))) == 64
    model = load(backbones["roberta"]).model
    model(input_ids=torch.full((1, 63), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, 64), 5))


# --- memory
# ----------------------------------------------------------------------------------------------------------


def test_memory_that_runs_out_makes_smaller_batches(
    backbones: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    lm = make_lm(load(backbones["bert"]), None)
    expected = lm.loglikelihood(requests_of(PAIRS))
    read, sizes = scoring_heads.read_logits, []

    def tight(model, head, tokenizer, rows):
        sizes.append(len(rows))
        if len(rows) > most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return read(model, head, tokenizer, rows)

    most = 1
    monkeypatch.setattr(scoring_heads, "read_logits", tight)
    found = lm.loglikelihood(requests_of(PAIRS))
    assert [value for value, _ in found] == pytest.approx(
        [value for value, _ in expected], abs=1e-6
    )
    assert (max(sizes), lm.effort.failed) == (3, 0)
    most = 0
    with pytest.raises(ResourceError, match="out of memory with one doc"):
        lm.loglikelihood(requests_of(PAIRS))


def test_a_doc_that_memory_is_not_enough_for_is_marked_and_tried_again(
    backbones: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    base = load(backbones["bert"])
    expected = make_lm(base, 2).loglikelihood(requests_of(PAIRS))
    read, asked = scoring_heads.read_logits, []
    lengths = [len(row.ids) for row in encode_texts(base.tokenizer, PAIRS, 64)]
    longest = max(lengths)
    assert lengths.count(longest) == 1

    def tight(model, head, tokenizer, rows):
        if any(len(row.ids) == longest for row in rows):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return read(model, head, tokenizer, rows)

    def counted(model, head, tokenizer, rows):
        asked.append(len(rows))
        return read(model, head, tokenizer, rows)

    monkeypatch.setattr(scoring_heads, "read_logits", tight)
    lm = make_lm(base, 2)
    lm.store = ResponseStore(tmp_path, {})
    failed = [result.failed for result in lm.loglikelihood(requests_of(PAIRS))]
    assert [bool(reason) for reason in failed].count(True) == 3
    assert f"out of memory with {longest} tokens" in next(filter(None, failed))
    monkeypatch.setattr(scoring_heads, "read_logits", counted)
    lm = make_lm(base, 2)
    lm.store = ResponseStore(tmp_path, {})
    again = lm.loglikelihood(requests_of(PAIRS))
    assert [value for value, _ in again] == pytest.approx(
        [value for value, _ in expected], abs=1e-6
    )
    assert asked == [1]  # the other two docs came from the store


# --- recipes
# ---------------------------------------------------------------------------------------------------------


def test_text_fields_need_a_head_and_no_shots(backbones: dict[str, Path], pairs: Path):
    from pydantic import ValidationError

    wrong = {
        "SEQ_CLS where": {"adapter": {"task_type": "CAUSAL_LM"}},
        "num_fewshot: 0": {"eval": {"num_fewshot": 3}},
        "at most 2": {"task": {"text_fields": ["a", "b", "c"]}},
        "different fields": {"task": {"text_fields": ["a", "a"]}},
        "no task.apply_chat_template": {"task": {"apply_chat_template": True}},
    }
    right = recipe_of(backbones["bert"], pairs).model_dump(mode="json")
    for words, change in wrong.items():
        content = right | {name: right[name] | section for name, section in change.items()}
        with pytest.raises(ValidationError, match=words):
            Recipe.model_validate(content)
    without_adapter = {name: section for name, section in right.items() if name != "adapter"}
    with pytest.raises(ValidationError, match="SEQ_CLS where"):
        Recipe.model_validate(without_adapter)


def test_preflight_finds_what_a_head_can_not_do(backbones: dict[str, Path], pairs: Path):
    metadata = {"data_source": str(pairs)}
    wrong = {
        "generate_until": ("snli_custom_gen", ["premise", "hypothesis"]),
        "did you mean hypothesis": ("snli_custom", ["premise", "hypothesi"]),
    }
    for words, (name, fields) in wrong.items():
        recipe = recipe_of(backbones["bert"], pairs, task={"name": name, "text_fields": fields})
        tasks = load_tasks(find_task(name, metadata=metadata), ["train"])
        (problem,) = heads.problems(recipe, tasks.values(), None)
        assert words in problem.what
    task = load_tasks(find_task("snli_custom", metadata=metadata), ["train"])["train"]
    choices = [["yes", "maybe", "no"], ["yes", "no", "maybe"]]
    changing = SimpleNamespace(
        config=task.config, OUTPUT_TYPE=task.OUTPUT_TYPE, eval_docs=list(task.eval_docs)[:2],
        doc_to_choice=lambda doc: choices[list(task.eval_docs).index(doc)],
    )  # fmt: skip
    (problem,) = heads.problems(recipe_of(backbones["bert"], pairs), [changing], None)
    assert "doc 1 has the choices yes, no, maybe" in problem.what


# --- training
# --------------------------------------------------------------------------------------------------------


def training_of(recipe: Recipe, base: BaseModel):
    tasks = load_tasks(
        find_task("snli_custom", metadata=recipe.task_metadata()), ["train", "validation", "test"]
    )
    return build_training_set(tasks, base, recipe, "task")


def test_a_head_is_trained_and_saved_whole(backbones: dict[str, Path], pairs: Path, tmp_path: Path):
    recipe = recipe_of(backbones["distilbert"], pairs)
    base = load(backbones["distilbert"], dataclasses.replace(PLAN, seed=0))
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    data = training_of(recipe, base)
    card = train(TrainingPlan(recipe, base, data), tmp_path / "a")
    # r * (in + out) of q, k, v, out (4 * 64) and lin1, lin2 (2 * 96) in two layers: 4 * 448 * 2 = 3584;
    # pre_classifier 32 * 32 + 32, classifier 3 * 32 + 3: 1155
    assert card.trainable_parameters == 3584 + 1155
    assert (card.trained_tokens, card.examples, card.model.head) == (48, 48, base.info.head)
    assert set(card.files) == {"adapter_model.safetensors", "adapter_config.json", HEAD_FILE}
    saved = weights(tmp_path / "a")
    init = load_file(tmp_path / "a" / HEAD_FILE)
    assert set(init) == {
        "classifier.weight",
        "classifier.bias",
        "pre_classifier.weight",
        "pre_classifier.bias",
    }
    for key, drawn in init.items():
        assert torch.equal(drawn, before[key])
        assert not torch.equal(saved[f"base_model.model.{key}"], drawn)
    after = base.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    history = adapters.read_history(tmp_path / "a")
    losses = [entry.loss for entry in history if entry.loss is not None]
    assert losses[0] == pytest.approx(
        1.0986, abs=0.05
    )  # ln 3: three labels, a head that knows nothing
    assert [entry.step for entry in history if entry.eval_loss is not None] == [6, 12]
    assert finished_card(TrainingPlan(recipe, base, data), tmp_path / "a") == card
    other = load(backbones["distilbert"], dataclasses.replace(PLAN, seed=7))
    with pytest.raises(InputError, match="head: "):
        finished_card(TrainingPlan(recipe, other, training_of(recipe, other)), tmp_path / "a")


@pytest.mark.parametrize("kind", ["llama"])
def test_the_step_is_the_same_however_it_is_cut(
    kind: str, backbones: dict[str, Path], pairs: Path, tmp_path: Path
):
    base = load(backbones[kind], dataclasses.replace(PLAN, seed=0))
    for batch, accumulation in ((8, 1), (4, 2), (2, 4)):
        cut = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
        settings = {
            "num_train_epochs": 1,
            "max_steps": 1,
            "max_grad_norm": 1e9,
            "warmup_steps": 0.0,
        }
        recipe = recipe_of(backbones[kind], pairs, train=settings | cut)
        train(TrainingPlan(recipe, base, training_of(recipe, base)), tmp_path / str(batch))
    losses = [adapters.read_history(tmp_path / name)[0] for name in ("8", "4", "2")]
    assert [entry.loss for entry in losses] == pytest.approx([losses[0].loss] * 3, abs=1e-6)
    assert [entry.grad_norm for entry in losses] == pytest.approx(
        [losses[0].grad_norm] * 3, abs=1e-6
    )


def test_a_killed_training_goes_on_to_the_same_head(
    backbones: dict[str, Path], pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    recipe = recipe_of(backbones["bert"], pairs, adapter={"lora_dropout": 0.1})
    base = load(backbones["bert"], dataclasses.replace(PLAN, seed=0))
    data = training_of(recipe, base)
    train(TrainingPlan(recipe, base, data), tmp_path / "whole")
    kill_at_step(7, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(TrainingPlan(recipe, base, data), tmp_path / "killed")
    monkeypatch.undo()
    assert train(TrainingPlan(recipe, base, data), tmp_path / "killed").cost.resumed_from_step == 6
    assert largest_difference(tmp_path / "whole", tmp_path / "killed") == 0.0


# --- adapters
# --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tuned(
    backbones: dict[str, Path], pairs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("tuned") / "bert"
    recipe = recipe_of(backbones["bert"], pairs)
    base = load(backbones["bert"], dataclasses.replace(PLAN, seed=0))
    train(TrainingPlan(recipe, base, training_of(recipe, base)), folder)
    return folder


def test_an_adapter_is_attached_to_its_own_head_only(backbones: dict[str, Path], tuned: Path):
    base = load(backbones["bert"], dataclasses.replace(PLAN, init=tuned / HEAD_FILE))
    before = base.model.classifier.weight.clone()
    with attached(tuned, base, PAIRS) as (model, info):
        assert info.live_proof.changed_prompts == 3
        assert info.unchecked == []
        scores = make_lm(model, 2).loglikelihood(requests_of(PAIRS))
    assert torch.equal(base.model.classifier.weight, before)
    assert scores != make_lm(base, 2).loglikelihood(requests_of(PAIRS))
    with (
        pytest.raises(InputError, match="another head"),
        attached(tuned, load(backbones["bert"]), PAIRS),
    ):
        pass


@pytest.mark.parametrize("fields", [None, ("hypothesis", "premise")])
def test_a_head_reads_the_texts_that_it_was_trained_on(
    fields, backbones: dict[str, Path], tuned: Path
):
    plan = dataclasses.replace(PLAN, text_fields=fields, init=tuned / HEAD_FILE)
    base = load(backbones["bert"], plan)
    with pytest.raises(InputError, match="its head was trained on"), attached(tuned, base, PAIRS):
        pass


def test_the_adapter_equals_peft_alone(backbones: dict[str, Path], tuned: Path):
    """PEFT on transformers' model, whose own head is replaced by the adapter's."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    plain = AutoModelForSequenceClassification.from_pretrained(backbones["bert"], num_labels=3)
    tokenizer, model = pair_tokenizer("bert"), PeftModel.from_pretrained(plain, str(tuned)).eval()
    with torch.no_grad():
        expected = [
            model(**tokenizer(*row, return_tensors="pt")).logits[0].log_softmax(-1).tolist()
            for row in PAIRS
        ]
    base = load(backbones["bert"], dataclasses.replace(PLAN, init=tuned / HEAD_FILE))
    with attached(tuned, base, PAIRS) as (ours, _):
        found = make_lm(ours, 3).loglikelihood(requests_of(PAIRS))
    assert [value for value, _ in found] == pytest.approx(
        [value for row in expected for value in row], abs=1e-5
    )


def test_a_plain_peft_folder_says_what_could_not_be_checked(
    backbones: dict[str, Path], tuned: Path, tmp_path: Path
):
    import shutil

    folder = shutil.copytree(tuned, tmp_path / "plain")
    (folder / HEAD_FILE).unlink()
    (folder / "card.json").unlink()
    with attached(folder, load(backbones["bert"]), PAIRS) as (_, info):
        assert any("head" in line for line in info.unchecked)


def test_an_adapter_without_head_is_refused(backbones: dict[str, Path]):
    base = load(backbones["bert"])
    config = {"task_type": "SEQ_CLS", "modules_to_save": ["classifier", "score"]}
    with pytest.raises(InputError, match=r"bert\.pooler"):
        heads.check_adapter(Path("a"), config, base.head)
    with pytest.raises(InputError, match=r"bert\.pooler, classifier"):
        heads.check_adapter(Path("a"), {"task_type": None}, base.head)


def test_a_head_on_a_quantised_base_is_trained_and_scored(
    backbones: dict[str, Path], pairs: Path, tmp_path: Path
):
    pytest.importorskip("bitsandbytes")
    recipe = recipe_of(
        backbones["llama"], pairs, model={"quantization": "nf4"}, train={"num_train_epochs": 1}
    )
    base = load(backbones["llama"], dataclasses.replace(PLAN, seed=0), quantization="nf4")
    before = make_lm(base, 2).loglikelihood(requests_of(PAIRS))
    card = train(TrainingPlan(recipe, base, training_of(recipe, base)), tmp_path / "a")
    assert card.model.quantization.startswith("nf4")
    assert load_file(tmp_path / "a" / "adapter_model.safetensors")[
        "base_model.model.score.weight"
    ].shape == (3, 32)
    with attached(tmp_path / "a", base, PAIRS) as (model, _):
        assert make_lm(model, 2).loglikelihood(requests_of(PAIRS)) != before
    assert make_lm(base, 2).loglikelihood(requests_of(PAIRS)) == before


def test_only_bases_with_the_same_head_are_compared():
    from ft_harness.comparison.comparability import find_mismatches

    record = make_record()
    other = record.model_copy(
        update={"model": record.model.model_copy(update={"head": "sha256:1"})}
    )
    assert find_mismatches(record, record) == {}
    assert list(find_mismatches(record, other)) == ["head"]


# --- from lm-eval's arguments
# ----------------------------------------------------------------------------------------


def test_model_args_give_the_same_scores(backbones: dict[str, Path], tuned: Path, tmp_path: Path):
    base = load(backbones["bert"], dataclasses.replace(PLAN, init=tuned / HEAD_FILE))
    with attached(tuned, base, PAIRS) as (model, _):
        expected = make_lm(model, 2).loglikelihood(requests_of(PAIRS))
    argument = f"pretrained={backbones['bert']},peft={tuned},text_fields=premise+hypothesis"
    lm = ClassifierLM.create_from_arg_string(argument, {"batch_size": 2, "device": "cpu"})
    assert lm.loglikelihood(requests_of(PAIRS)) == expected
    base.model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path, "bert")
    argument = f"pretrained={tmp_path},text_fields=premise+hypothesis"
    untuned = make_lm(base, 2).loglikelihood(requests_of(PAIRS))
    assert (
        ClassifierLM.create_from_arg_string(argument).loglikelihood(requests_of(PAIRS)) == untuned
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [("", "without a trained classification head"), (",pefft=x", "unknown model argument pefft")],
)
def test_model_args_without_a_head_are_refused(
    options: str, words: str, backbones: dict[str, Path]
):
    with pytest.raises(ConfigError, match=words):
        ClassifierLM.create_from_arg_string(f"pretrained={backbones['bert']}{options}")


def test_lm_eval_itself_gives_the_same_samples(
    backbones: dict[str, Path], tuned: Path, pairs: Path, tmp_path: Path
):
    import lm_eval
    from lm_eval.tasks import TaskManager

    from ft_harness.evaluation import ModelState, evaluate, plan_jobs
    from ft_harness.paths import task_yamls_dir
    from ft_harness.recipe import EvalSection

    metadata = {"data_source": str(pairs)}
    base = load(backbones["bert"], dataclasses.replace(PLAN, init=tuned / HEAD_FILE))
    tasks = load_tasks(find_task("snli_custom", metadata=metadata), ["test"])
    jobs = plan_jobs(tasks, "hash", base, EvalSection(splits=("test",), batch_size=4))
    with attached(tuned, base, PAIRS) as (model, info):
        (ours,) = evaluate(ModelState("bert", model, info), jobs, tmp_path)
    register_models()
    manager = TaskManager(
        include_path=str(task_yamls_dir()), include_defaults=False, metadata=metadata
    )
    outcome = lm_eval.simple_evaluate(
        model="ft-seqcls", model_args=f"pretrained={backbones['bert']},peft={tuned}", tasks=["snli_custom"],
        task_manager=manager, batch_size=4, bootstrap_iters=0,
    )  # fmt: skip
    theirs = [
        [list(response) for response in item["filtered_resps"]]
        for item in outcome["samples"]["snli_custom"]
    ]
    assert [sample.responses for sample in ours.samples()] == theirs
    assert ours.record.settings.text_fields == ["premise", "hypothesis"]
    assert len(theirs) == 24


# --- end to end
# ------------------------------------------------------------------------------------------------------


def samples_of(folder: Path) -> dict[str, list]:
    """Samples of each subject's test split."""
    return {
        found.record.subject.partition("--")[0]: [sample.model_dump() for sample in found.samples()]
        for found in load_records([folder])
        if found.record.settings.split == "test"
    }


def write_recipe(folder: Path, recipe: Recipe) -> Path:
    import yaml

    folder.mkdir(parents=True)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json", exclude_unset=True)))
    return path


@pytest.mark.slow  # a whole run
def test_check_run_and_eval_from_the_command_line(
    ft, backbones: dict[str, Path], pairs: Path, tmp_path: Path
):
    recipe = recipe_of(
        backbones["bert"], pairs, train={"num_train_epochs": 20, "learning_rate": 0.003}
    )
    path = write_recipe(tmp_path / "adapters" / "nli", recipe)
    code, out, _ = ft("check", path)
    assert code == 0
    assert "48 training rows of" in out
    assert "labels: entailment 16, neutral 16, contradiction 16" in out
    assert "forecast: 120 steps of 8 rows" in out
    assert "test: 0 of the first 24 docs will be cut" in out
    assert ft("run", path)[0] == 0
    rows = json.loads((tmp_path / "results/reports/nli/rows.json").read_text())
    (row,) = [row for row in rows if row["primary"]]
    assert row["n"] == 24
    assert row["tuned"] > row["base"]
    first = samples_of(tmp_path / "results")
    assert set(first) == {"base", "nli"}
    # the same adapter in a fresh load and another folder; the base row too: its head is the
    # adapter's, not the seed's
    again = ("--out", tmp_path / "again", "--set", "train.seed=5")
    assert ft("eval", path, "--adapter", tmp_path / "adapters/nli", *again)[0] == 0
    assert samples_of(tmp_path / "again/results") == first
    code, _, err = ft("eval", path, "--adapter", tmp_path / "adapters/nli", "--set", "adapter.task_type=CAUSAL_LM",
                      "--set", "task.text_fields=null", "--set", "model.pretrained=bundled")  # fmt: skip
    assert code == 3
    assert_three_lines(err)


@pytest.mark.slow  # processes of their own
def test_the_base_row_is_the_same_in_another_process(backbones: dict[str, Path]):
    expected = make_lm(load(backbones["bert"]), 2).loglikelihood(requests_of(PAIRS))
    script = (
        "import sys, json; from pathlib import Path; from tests.models.test_heads import *\n"
        "found = make_lm(load(Path(sys.argv[1])), 2).loglikelihood(requests_of(PAIRS))\n"
        "print(json.dumps([value for value, _ in found]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(backbones["bert"])],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1]) == [value for value, _ in expected]


def test_texts_that_nothing_parts_are_pointed_out():
    plain, encoder = build_tokenizer("bpe_plain"), pair_tokenizer("bert")
    (notice,) = recipe_checks.pair_notices(plain, ("premise", "hypothesis"))
    assert "nothing between premise and hypothesis" in notice.what
    assert recipe_checks.pair_notices(encoder, ("premise", "hypothesis")) == []
    assert recipe_checks.pair_notices(plain, None) == []
    assert (
        make_batch(encode_texts(encoder, [("a", "b")], 9), 0, types=True)["token_type_ids"].sum()
        == 2
    )


def test_the_recipes_of_the_page_are_recipes():
    import re

    import yaml

    page = (Path(__file__).parents[2] / "docs" / "heads.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        assert Recipe.model_validate(yaml.safe_load(block)).adapter.has_head


def test_the_pages_distilbert_recipe_is_checked_and_trained(
    ft, backbones: dict[str, Path], tmp_path: Path
):
    """Its head has two layers, of which PEFT leaves out only one from all-linear by itself."""
    import re

    page = (Path(__file__).parents[2] / "docs" / "heads.md").read_text(encoding="utf-8")
    (block,) = (
        found
        for found in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
        if "imdb_custom" in found
    )
    for split, count in (("train", 32), ("test", 8)):
        rows = [
            {"text": f"the film {split} {i} was {('cold', 'warm')[i % 2]}", "label": i % 2}
            for i in range(count)
        ]
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", rows)
    path = tmp_path / "adapters" / "imdb" / "recipe.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        block.replace("distilbert/distilbert-base-uncased", str(backbones["distilbert"]))
    )
    settings = ("--set", f"data.source={tmp_path / 'data'}", "--set", "eval.splits=[test]")
    code, _, err = ft("check", path, *settings)
    assert code == 0, err
    code, _, err = ft("train", path, *settings)
    assert code == 0, err
    saved = weights(path.parent)
    assert {name.split(".")[2] for name in saved if "lora" not in name} == {
        "classifier",
        "pre_classifier",
    }
