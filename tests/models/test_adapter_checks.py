"""Faults of adapters and models that are found before a base model is loaded, and adapters of other
trainers."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ft_harness.errors import FtHarnessError, InputError, ProblemsError, raise_problems
from ft_harness.evaluation.backends import CausalLM, make_lm
from ft_harness.models import base_model
from ft_harness.models.adapters import AdapterFolder, attached, problems, target_problems
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.models.prompts import PLAIN, PromptForm
from ft_harness.recipe import AdapterSection, ModelSection
from ft_harness.records.finding import load_records
from ft_harness.storage.safetensors_file import read_header
from tests.builders.command import assert_three_lines
from tests.builders.tiny import build_tokenizer, save_model

PROMPTS = ["the film was", "Review: a slow, dull story. Sentiment:", "the cast"]
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def make_adapter(model: Path, folder: Path, **settings) -> Path:
    """An adapter by PEFT alone, moved away from its start by noise."""
    from peft import IA3Config, LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    if settings.pop("ia3", False):
        config = IA3Config(task_type="CAUSAL_LM", **settings)
    else:
        config = LoraConfig(
            **(
                {"task_type": "CAUSAL_LM", "r": 4, "target_modules": ["q_proj", "v_proj"]}
                | settings
            )
        )
    torch.manual_seed(1)
    tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(model), config)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    tuned.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    folder, tokenizer = tmp_path_factory.mktemp("models") / "tied", build_tokenizer("bpe_bos")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def plain_adapter(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(model_folder, tmp_path_factory.mktemp("adapters") / "plain")


@pytest.fixture
def adapter(plain_adapter: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain_adapter, tmp_path / "adapter"))


@pytest.fixture
def model(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


# --- scores of other trainers' adapters
# -----------------------------------------------------------------------------

KINDS: dict[str, dict] = {
    "lora": {},
    "without task_type": {"task_type": None},
    "rslora": {"use_rslora": True, "r": 16},
    "dora": {"use_dora": True},
    "patterns": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 32}},
    "head in modules_to_save": {"modules_to_save": ["lm_head"]},
    "embedding in modules_to_save": {"modules_to_save": ["embed_tokens"]},
    "embedding as target": {"target_modules": ["q_proj", "embed_tokens"]},
    "head as target": {"target_modules": ["q_proj", "lm_head"]},
    "single tokens": {"trainable_token_indices": [5, 6, 7]},
    "ia3": {
        "ia3": True,
        "target_modules": ["k_proj", "down_proj"],
        "feedforward_modules": ["down_proj"],
    },
}


def likelihoods(lm) -> torch.Tensor:
    from lm_eval.api.instance import Instance

    pairs = [
        (prompt, answer) for prompt in PROMPTS for answer in (" good", " bad", " warm and bright")
    ]
    requests = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
    return torch.tensor([score for score, _ in lm.loglikelihood(requests)])


def stock_scores(folder: Path, made: Path, base: BaseModel) -> torch.Tensor:
    """By PeftModel.from_pretrained on a load of its own, under lm-eval's `hf`, which is kept from
    tying weights anew: it fails where PEFT has put something in their place."""
    from lm_eval.models.huggingface import HFLM
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), str(made))
    model.tie_weights = lambda: None
    return likelihoods(HFLM(pretrained=model, tokenizer=base.tokenizer, device="cpu", batch_size=4))


@pytest.mark.parametrize(
    ("kind", "model_name"),
    [(kind, "model_folder") for kind in KINDS]
    + [(kind, "tied") for kind in KINDS if "head" in kind or " " in kind],
)
def test_scores_equal_those_of_pefts_own_loading(
    kind: str, model_name: str, request: pytest.FixtureRequest, tmp_path: Path
):
    folder: Path = request.getfixturevalue(model_name)
    made = make_adapter(folder, tmp_path / "a", **KINDS[kind])
    section = ModelSection(pretrained=str(folder))
    assert problems(made, PLAIN, section) == []
    base = load_base_model(section)
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    with attached(made, base, PROMPTS) as (tuned, info):
        ours = likelihoods(make_lm(tuned, 4, 0))
        torch.testing.assert_close(ours, stock_scores(folder, made, base), atol=1e-4, rtol=0)
        assert info.live_proof.changed_prompts == 3
        assert info.unchecked == [
            "the prompts: without card.json, those that it was trained on are not known"
        ]
    after = base.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (likelihoods(make_lm(base, 4, 0)) - ours).abs().max() > 1e-3


def test_trained_parameters_leave_copies_of_the_base_out(
    base: BaseModel, model_folder: Path, tmp_path: Path
):
    made = make_adapter(model_folder, tmp_path / "a", target_modules=["embed_tokens"])
    with attached(made, base, PROMPTS) as (_, info):
        assert info.trainable_parameters == 4 * (320 + 32)  # r * (tokens + width)


def write_recipe(folder: Path, model: Path, reviews: Path, **sections) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "model": {"pretrained": str(model)},
        "task": {"name": "demo_sentiment"},
        "data": {"source": str(reviews)},
        "eval": {"splits": ["test"]},
    }
    (folder / "recipe.yaml").write_text(json.dumps(content | sections))
    return folder / "recipe.yaml"


def test_the_command_scores_a_plain_peft_folder(
    ft, plain_adapter: Path, model_folder: Path, reviews: Path, tmp_path
):
    recipe = write_recipe(tmp_path / "adapters/mine", model_folder, reviews)
    code, out, error = ft("eval", recipe, "--adapter", plain_adapter)
    assert code == 0, error
    (record,) = [
        found.record for found in load_records([tmp_path / "results"]) if found.record.adapter
    ]
    assert record.subject == "plain"
    assert record.adapter.live_proof.changed_prompts == 4
    assert record.adapter.unchecked == [
        "the prompts: without card.json, those that it was trained on are not known"
    ]
    assert "plain" in out


def test_the_lm_eval_model_checks_its_adapter_and_keeps_a_padded_vocabulary(
    tmp_path: Path, adapter: Path
):
    """lm-eval's own `hf` cuts an embedding of 352 rows to the tokenizer's 320 before it loads an
    adapter."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = save_model(tmp_path / "padded", seed=0)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(352)
    model.save_pretrained(folder)
    assert len(AutoTokenizer.from_pretrained(folder)) == 320
    made = make_adapter(folder, tmp_path / "fits")
    lm = CausalLM.create_from_arg_string(f"pretrained={folder},peft={made}", {"device": "cpu"})
    assert lm.model.get_input_embeddings().weight.shape[0] == 352
    base = load_base_model(ModelSection(pretrained=str(folder)))
    with attached(made, base, PROMPTS) as (tuned, _):
        assert tuned.model.get_input_embeddings().weight.shape[0] == 352
        assert torch.equal(likelihoods(lm), likelihoods(make_lm(tuned)))
    change_weights(made, lambda tensors: dict(list(tensors.items())[1:]))
    with pytest.raises(InputError, match="1 keys don't match"):
        CausalLM.create_from_arg_string(f"pretrained={folder},peft={made}", {"device": "cpu"})


# --- the table of bad adapters
# --------------------------------------------------------------------------------------


def change_weights(folder: Path, change: Callable[[dict], dict]) -> None:
    path = folder / WEIGHTS
    save_file(
        {k: v.contiguous() for k, v in change(load_file(path)).items()},
        path,
        metadata={"format": "pt"},
    )


def change_config(folder: Path, **fields) -> None:
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def rewrite_header(path: Path, change: Callable[[dict], dict]) -> None:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.dumps(change(json.loads(content[8 : 8 + length]))).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + content[8 + length :])


def first_tensor(header: dict, **fields) -> dict:
    name = next(key for key in header if key != "__metadata__")
    return header | {name: header[name] | fields}


def pickled(folder: Path) -> None:
    """Loading this pickle would make the file `ran` in the folder."""

    class Payload:
        def __reduce__(self):
            return (open, (str(folder / "ran"), "w"))

    (folder / WEIGHTS).unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Payload()))


def linked(folder: Path) -> None:
    shutil.move(folder / WEIGHTS, folder.parent / "elsewhere.safetensors")
    (folder / WEIGHTS).symlink_to(folder.parent / "elsewhere.safetensors")


def zero_b(tensors: dict) -> dict:
    return {
        key: torch.zeros_like(value) if "lora_B" in key else value for key, value in tensors.items()
    }


Bad = tuple[Callable[[Path], object], int, str]
BAD_ADAPTERS: dict[str, Bad] = {
    "no configuration": (lambda f: (f / CONFIG).unlink(), 3, "no adapter_config.json"),
    "configuration no JSON": (lambda f: (f / CONFIG).write_text("{"), 3, "not a JSON object"),
    "configuration a list": (lambda f: (f / CONFIG).write_text("[]"), 3, "not a JSON object"),
    "configuration deep": (lambda f: (f / CONFIG).write_text("[" * 200_000), 3, "not a JSON object"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), 3, f"no {WEIGHTS}"),
    "pickle only": (pickled, 4, "only pickled weights (adapter_model.bin)"),
    "a link out of the folder": (linked, 4, "a link to"),
    "empty file": (lambda f: (f / WEIGHTS).write_bytes(b""), 3, "damaged"),
    "truncated": (lambda f: os.truncate(f / WEIGHTS, (f / WEIGHTS).stat().st_size - 100), 3, "declared"),
    "too long": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes() + b"more"), 3, "declared"),
    "header of 2^60 bytes": (
        lambda f: (f / WEIGHTS).write_bytes(struct.pack("<Q", 1 << 60) + (f / WEIGHTS).read_bytes()[8:]), 3,
        "a header of 1152921504606846976 bytes",
    ),
    "header no JSON": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:8] + b"x" + (f / WEIGHTS).read_bytes()[9:]), 3,
        "not JSON",
    ),
    "shape of 2^80 numbers": (
        lambda f: rewrite_header(f / WEIGHTS, lambda h: first_tensor(h, shape=[1 << 40, 1 << 40])), 3, "bytes, "
    ),
    "unknown number type": (
        lambda f: rewrite_header(f / WEIGHTS, lambda h: first_tensor(h, dtype="F128")), 3, "can't be read"
    ),
    "overlapping tensors": (
        lambda f: rewrite_header(f / WEIGHTS, lambda h: h | {"twice": dict(list(h.items())[-1:])[list(h)[-1]]}), 3,
        "begin at",
    ),
    "rank 10^9": (lambda f: change_config(f, r=10**9), 3, "a rank of 1000000000"),
    "rank 0": (lambda f: change_config(f, r=0), 3, "a rank of 0"),
    "rank true": (lambda f: change_config(f, r=True), 3, "a rank of True"),
    "rank by pattern": (lambda f: change_config(f, rank_pattern={"q_proj": 10**9}), 3, "a rank of 1000000000"),
    "alpha NaN": (lambda f: change_config(f, lora_alpha=float("nan")), 3, "lora_alpha is nan"),
    "alpha by pattern": (lambda f: change_config(f, alpha_pattern={"q_proj": "2"}), 3, "q_proj is 2"),
    "another rank": (
        lambda f: change_config(f, r=8), 3, "has rank 4 and shape (4, 32), but adapter_config.json says rank 8"
    ),
    "targets no names": (lambda f: change_config(f, target_modules=[["q_proj"]]), 3, "target_modules is"),
    "a type that is not scored": (lambda f: change_config(f, peft_type="PROMPT_TUNING"), 3, "can't be merged into its base either"),
    "a type that can be merged": (lambda f: change_config(f, peft_type="LOHA"), 3, "do: merge it into its base"),
    "no type": (lambda f: change_config(f, peft_type=None), 3, "type None"),
    "another kind of task": (lambda f: change_config(f, task_type="SEQ_2_SEQ_LM"), 3, "for SEQ_2_SEQ_LM"),
    "a head for a model without": (lambda f: change_config(f, task_type="SEQ_CLS"), 3, "for SEQ_CLS"),
    "singular values cut": (lambda f: change_config(f, kasa_config={"beta": 1e-4}), 3, "kasa_config is"),
    "a start that changed the base": (lambda f: change_config(f, init_lora_weights="pissa"), 3, "pissa"),
    "repeated layers": (lambda f: change_config(f, layer_replication=[[0, 1]]), 3, "layer_replication"),
    "a field of a later PEFT": (lambda f: change_config(f, use_xora=True), 3, "unknown field use_xora"),
    "megatron": (lambda f: change_config(f, megatron_config={"a": 1}, megatron_core="os"), 4, "megatron_config"),
    "auto_map": (lambda f: change_config(f, auto_map={"AutoModel": "x.Y"}), 4, "auto_map"),
    "trust_remote_code": (lambda f: change_config(f, trust_remote_code=True), 4, "trust_remote_code"),
    "attention kernel": (lambda f: change_config(f, _attn_implementation="a/b"), 4, "_attn_implementation"),
    "foreign library": (
        lambda f: change_config(f, auto_mapping={"base_model_class": "x", "parent_library": "evil"}), 4,
        "parent_library evil",
    ),
    "auto_mapping no mapping": (lambda f: change_config(f, auto_mapping="x"), 3, "auto_mapping"),
    "keys renamed": (
        lambda f: change_weights(f, lambda t: {k.replace("q_proj", "query"): v for k, v in t.items()}), 3,
        "8 keys don't match",
    ),
    "half missing": (lambda f: change_weights(f, lambda t: dict(list(t.items())[4:])), 3, "4 keys don't match"),
    "a key too many": (lambda f: change_weights(f, lambda t: t | {"extra": torch.ones(1)}), 3, "first extra"),
    "NaN": (lambda f: change_weights(f, lambda t: {k: v * float("nan") for k, v in t.items()}), 8, "NaN"),
    "infinity": (lambda f: change_weights(f, lambda t: {k: v / 0 for k, v in t.items()}), 8, "NaN or infinity"),
    "every B zero": (lambda f: change_weights(f, zero_b), 3, "every B is zero"),
    "modules that the base lacks": (
        lambda f: change_config(f, modules_to_save=["score"]), 3, "names score in modules_to_save"
    ),
    "a module that was not saved": (
        lambda f: change_config(f, modules_to_save=["lm_head"]), 3, "lm_head is in modules_to_save, but not in"
    ),
    "a grown vocabulary": (
        lambda f: change_weights(f, lambda t: t | {"base_model.model.model.embed_tokens.weight": torch.ones(330, 32)}),
        3, "(330, 32), the base's (320, 32)",
    ),
    "a cut vocabulary": (
        lambda f: change_weights(f, lambda t: t | {"base_model.model.lm_head.weight": torch.ones(304, 32)}), 3,
        "(304, 32), the base's (320, 32)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_ADAPTERS)
def test_bad_adapters_are_refused_before_a_model_is_loaded(
    case: str, adapter: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(base_model, "_load_model", lambda *_: pytest.fail("a model was loaded"))
    break_it, code, words = BAD_ADAPTERS[case]
    break_it(adapter)
    with pytest.raises(FtHarnessError) as caught:
        raise_problems(problems(adapter, PLAIN, ModelSection(pretrained=str(model_folder))))
    assert not isinstance(caught.value, ProblemsError)
    assert caught.value.exit_code == code
    assert words in str(caught.value)
    assert not (adapter / "ran").exists()


def test_a_damaged_file_is_found_without_a_base(adapter: Path):
    os.truncate(adapter / WEIGHTS, (adapter / WEIGHTS).stat().st_size - 100)
    (found,) = problems(adapter)
    assert (found.exit_code, "declared" in found.what) == (3, True)


@pytest.mark.parametrize(
    "case", ["rank 10^9", "pickle only", "NaN", "keys renamed", "a grown vocabulary"]
)
def test_the_command_and_the_library_refuse_the_same(
    case: str,
    ft,
    no_model,
    base: BaseModel,
    adapter: Path,
    model_folder: Path,
    reviews: Path,
    tmp_path: Path,
):
    break_it, code, words = BAD_ADAPTERS[case]
    break_it(adapter)
    recipe = write_recipe(tmp_path / "adapters/mine", model_folder, reviews)
    exit_code, _, error = ft("eval", recipe, "--adapter", adapter)
    assert exit_code == code
    assert_three_lines(error, words)
    with pytest.raises(FtHarnessError) as caught, attached(adapter, base, PROMPTS):
        pass
    assert (caught.value.exit_code, words in caught.value.what) == (code, True)


def test_the_way_to_convert_a_pickle_works(adapter: Path, model_folder: Path):
    """The command that the refusal prints, run as it is printed."""
    import subprocess
    import sys

    tensors = load_file(adapter / WEIGHTS)
    (adapter / WEIGHTS).unlink()
    torch.save(tensors, adapter / "adapter_model.bin")
    (found,) = problems(adapter)
    command = found.action.partition(": ")[2].replace("python -c", f"{sys.executable} -c")
    subprocess.run(["bash", "-c", command], check=True, capture_output=True)
    assert problems(adapter, PLAIN, ModelSection(pretrained=str(model_folder))) == []
    converted = load_file(adapter / WEIGHTS)
    assert all(torch.equal(tensors[key], converted[key]) for key in tensors)


def test_an_embedding_that_is_not_the_bases_is_refused(
    base: BaseModel, model_folder: Path, tmp_path: Path
):
    """PEFT would write it over the base's own, and the base would be scored with it afterwards."""
    made = make_adapter(model_folder, tmp_path / "a", target_modules=["q_proj", "embed_tokens"])
    change_weights(made, lambda t: {k: v + 1 if "base_layer" in k else v for k, v in t.items()})
    with (
        pytest.raises(InputError, match=r"is not the base's own model\.embed_tokens"),
        attached(made, base, PROMPTS),
    ):
        pass


def test_a_module_that_was_saved_untrained_is_refused(
    base: BaseModel, model_folder: Path, tmp_path: Path
):
    made = make_adapter(model_folder, tmp_path / "a", modules_to_save=["lm_head"])
    own = base.model.lm_head.weight
    change_weights(made, lambda t: {k: own.clone() if "lm_head" in k else v for k, v in t.items()})
    with (
        pytest.raises(InputError, match=r"lm_head.*not a trained copy"),
        attached(made, base, PROMPTS),
    ):
        pass


def test_empty_fields_of_a_later_peft_are_said(base: BaseModel, adapter: Path):
    change_config(adapter, use_xora=False, xora_config=None)
    with attached(adapter, base, PROMPTS) as (_, info):
        assert (
            "fields of adapter_config.json that this PEFT doesn't know, all empty: use_xora, xora_config"
            in (info.unchecked)
        )


# --- the base
# -------------------------------------------------------------------------------------------------------


def unchecked_of(adapter: Path, base: BaseModel) -> list[str]:
    with attached(adapter, base, PROMPTS) as (_, info):
        return info.unchecked


def test_another_base_of_the_same_shapes_is_shown_by_its_folder(adapter: Path, tmp_path: Path):
    """Case 40: both identities are named."""
    other = save_model(tmp_path / "other", seed=1)
    (found,) = problems(adapter, PLAIN, ModelSection(pretrained=str(other)))
    named = json.loads((adapter / CONFIG).read_text())["base_model_name_or_path"]
    assert found.exit_code == 3
    for folder in (named, str(other)):
        assert base_model.identity(folder, None) in found.what
    with (
        pytest.raises(InputError, match="asked to run on"),
        attached(adapter, load_base_model(ModelSection(pretrained=str(other))), PROMPTS),
    ):
        pass


def test_a_moved_copy_of_the_base_is_accepted(adapter: Path, model: Path):
    assert problems(adapter, PLAIN, ModelSection(pretrained=str(model))) == []


def test_a_base_that_is_elsewhere_can_not_be_compared_and_this_is_said(
    adapter: Path, base: BaseModel
):
    change_config(adapter, base_model_name_or_path="some-lab/tiny-llama")
    assert problems(adapter, PLAIN, ModelSection(pretrained=base.info.pretrained)) == []
    expected = (
        f"the base: the adapter names some-lab/tiny-llama, it was scored on {base.info.pretrained}"
    )
    assert expected in unchecked_of(adapter, base)
    change_config(adapter, base_model_name_or_path=None)
    assert (
        f"the base: the adapter names none, it was scored on {base.info.pretrained}"
        in unchecked_of(adapter, base)
    )


A, B = "a" * 40, "b" * 40


@pytest.mark.parametrize(
    ("named", "revision", "asked", "refused", "words"),
    [
        ("lab/m", None, None, False, "only its name lab/m"),
        ("lab/m", A, None, False, "only its name lab/m"),  # the commit that was fetched
        ("lab/m", B, None, True, B),
        ("lab/m", "v1", None, False, "the adapter names v1, it was scored on main"),
        ("lab/m", "v1", "v1", False, "only its name lab/m"),
        ("lab/n", None, None, False, "the adapter names lab/n"),
    ],
)
def test_hub_names_and_revisions(
    named: str, revision: str | None, asked: str | None, refused: bool, words: str, adapter: Path
):
    from ft_harness.models.adapters.integrity import BaseName, other_base

    change_config(adapter, base_model_name_or_path=named, revision=revision)
    found, notes = other_base(AdapterFolder(adapter), BaseName("lab/m", asked, f"commit:{A}"))
    assert bool(found) == refused
    assert words in (found[0].what if found else notes[0])


# --- tokenizers
# -----------------------------------------------------------------------------------------------------


def add_tokenizer(
    folder: Path, kind: str = "bpe_bos", added: list[str] | None = None, template: str | None = None
):
    tokenizer = build_tokenizer(kind)
    tokenizer.add_tokens(added or [])
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)


def test_the_bases_own_tokenizer_is_accepted(adapter: Path, base: BaseModel):
    add_tokenizer(adapter)
    assert len(unchecked_of(adapter, base)) == 1  # the prompts


def test_a_tokenizer_with_more_tokens_than_rows_is_refused(adapter: Path, model_folder: Path):
    add_tokenizer(adapter, added=["<pad2>"])  # number 320, the embedding has 320 rows
    (found,) = problems(adapter, PLAIN, ModelSection(pretrained=str(model_folder)))
    assert found.exit_code == 3
    assert "1 tokens more than the 320 rows" in found.what
    assert "<pad2>" in found.what


def test_a_tokenizer_of_other_tokens_is_refused(adapter: Path, model_folder: Path):
    add_tokenizer(adapter, kind="byte_fallback")
    (found,) = problems(adapter, PLAIN, ModelSection(pretrained=str(model_folder)))
    assert found.exit_code == 3
    assert "tokenizer" in found.what


def test_a_tokenizer_of_other_numbers_is_refused(adapter: Path, model_folder: Path):
    """Two letters that stand in none of the texts that are compared."""
    add_tokenizer(adapter)
    path = adapter / "tokenizer.json"
    content = json.loads(path.read_text())
    words = content["model"]["vocab"]
    words["J"], words["K"] = words["K"], words["J"]
    path.write_text(json.dumps(content))
    (found,) = problems(adapter, PLAIN, ModelSection(pretrained=str(model_folder)))
    assert (found.exit_code, "2 tokens with other numbers (as 'J')" in found.what) == (3, True)


def test_a_tokenizer_that_cuts_texts_otherwise_is_refused(adapter: Path, model_folder: Path):
    add_tokenizer(adapter)
    path = adapter / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["merges"] = []
    path.write_text(json.dumps(content))
    (found,) = problems(adapter, PLAIN, ModelSection(pretrained=str(model_folder)))
    assert "the same text gives other tokens" in found.what


def test_more_tokens_within_a_padded_vocabulary_are_said(
    adapter: Path, base: BaseModel, tmp_path: Path
):
    from ft_harness.models.adapters.tokens import compare

    add_tokenizer(adapter, added=["<pad2>"])
    found, notes = compare(adapter, base.tokenizer, 352, PLAIN)
    assert (found, notes) == ([], ["1 tokens of its tokenizer that the base's lacks, as '<pad2>'"])
    grown = build_tokenizer("bpe_bos")
    grown.add_tokens(["<pad3>", "<pad4>"])
    add_tokenizer(tmp_path / "fewer")
    assert compare(tmp_path / "fewer", grown, 352, PLAIN) == (
        [],
        ["2 tokens that its tokenizer lacks, as '<pad3>'"],
    )


def test_a_tokenizer_in_another_form_is_said(adapter: Path, base: BaseModel):
    (adapter / "tokenizer.model").write_bytes(b"")
    assert "its tokenizer (tokenizer.model) was not compared with the base's" in unchecked_of(
        adapter, base
    )


def test_a_damaged_tokenizer_is_refused(adapter: Path, model_folder: Path):
    (adapter / "tokenizer.json").write_text("{}")
    (found,) = problems(adapter, PLAIN, ModelSection(pretrained=str(model_folder)))
    assert (found.exit_code, "no tokenizer" in found.what) == (3, True)


@pytest.mark.parametrize("file", ["chat_template.jinja", "tokenizer_config.json"])
def test_another_chat_template_is_refused_where_one_is_used(
    file: str, adapter: Path, model_folder: Path
):
    add_tokenizer(adapter, template="{{ messages[0]['content'] }}!")
    if file == "tokenizer_config.json":  # as older versions of transformers wrote it
        (adapter / "chat_template.jinja").unlink()
        config = json.loads((adapter / file).read_text())
        (adapter / file).write_text(
            json.dumps(config | {"chat_template": "{{ messages[0]['content'] }}!"})
        )
    section = ModelSection(pretrained=str(model_folder))
    assert problems(adapter, PLAIN, section) == []
    (found,) = problems(
        adapter, PromptForm(chat_template=str, chat_template_hash="0" * 16), section
    )
    assert (found.exit_code, "another chat template" in found.what) == (3, True)


# --- target modules
# -------------------------------------------------------------------------------------------------


def targets(model_folder: Path, names: str | list[str]) -> list[InputError]:
    empty = base_model.empty_model(ModelSection(pretrained=str(model_folder)))
    assert {parameter.device.type for parameter in empty.parameters()} == {"meta"}
    return target_problems(AdapterSection(target_modules=names), empty)


@pytest.mark.parametrize(
    "names",
    [
        "all-linear",
        ["q_proj"],
        ["model.layers.0.mlp.up_proj"],
        r".*\.(q|v)_proj",
        ["lm_head", "embed_tokens"],
    ],
)
def test_target_modules_of_the_model_are_found(names: str | list[str], model_folder: Path):
    assert targets(model_folder, names) == []


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["q_proj", "v_prj"], "'v_prj': the model has no such module; did you mean v_proj?"),
        (["query_key_value"], "'query_key_value': the model has no such module"),
        (r".*\.query", "the model has no such module"),
        ("(", "not a regular expression"),
        (["norm"], "not supported"),
    ],
)
def test_target_modules_that_the_model_lacks_are_named(
    names: str | list[str], words: str, model_folder: Path
):
    (found,) = targets(model_folder, names)
    assert found.exit_code == 3
    assert words in found.what


def test_the_command_finds_a_typo_before_the_base_is_scored(
    ft, no_model, model_folder: Path, reviews: Path, tmp_path
):
    recipe = write_recipe(
        tmp_path / "adapters/a", model_folder, reviews, adapter={"target_modules": ["q_prj"]}
    )
    code, _, error = ft("run", recipe)
    assert code == 3
    assert_three_lines(error, "q_prj", "did you mean q_proj?", "gate_proj")


# --- bad models
# -----------------------------------------------------------------------------------------------------


def shard(folder: Path, name: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(tensors, "model.safetensors")}
    index["weight_map"][next(iter(tensors))] = name
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def change_model_config(folder: Path, **fields) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def link_model(folder: Path) -> None:
    shutil.move(folder / "model.safetensors", folder.parent / "else.safetensors")
    (folder / "model.safetensors").symlink_to(folder.parent / "else.safetensors")


MODEL = "model.safetensors"
BAD_MODELS: dict[str, Bad] = {
    "no such folder": (lambda f: shutil.rmtree(f), 3, "no such model folder"),
    "no configuration": (lambda f: (f / "config.json").unlink(), 3, "no config.json"),
    "no weights": (lambda f: (f / MODEL).unlink(), 3, "no safetensors weights"),
    "truncated": (lambda f: os.truncate(f / MODEL, 1000), 3, "damaged"),
    "one byte short": (lambda f: os.truncate(f / MODEL, (f / MODEL).stat().st_size - 1), 3, "declared"),
    "configuration no JSON": (lambda f: (f / "config.json").write_text("{"), 3, "not a JSON object"),
    "weight_map leads out": (lambda f: shard(f, "../other/model.safetensors"), 4, "weight_map leads to ../other"),
    "weight_map absolute": (lambda f: shard(f, "/tmp/model.safetensors"), 4, "weight_map leads to /tmp"),
    "weight_map names a missing file": (lambda f: shard(f, "model-2.safetensors"), 3, "no such file"),
    "no weight_map": (lambda f: (f / "model.safetensors.index.json").write_text("{}"), 3, "no weight_map"),
    "a link out of the folder": (link_model, 4, "a link to"),
    "code of its own": (
        lambda f: change_model_config(f, model_type="mine", auto_map={"AutoConfig": "mine.Config"}), 4, "auto_map"
    ),
    "an unknown architecture": (lambda f: change_model_config(f, model_type="mine"), 3, "can't be loaded"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_MODELS)
def test_bad_models_are_refused_before_weights_are_loaded(
    case: str, ft, no_model, model: Path, reviews: Path, tmp_path: Path
):
    break_it, code, words = BAD_MODELS[case]
    break_it(model)
    exit_code, _, error = ft("eval", write_recipe(tmp_path / "adapters/a", model, reviews))
    assert exit_code == code
    assert_three_lines(error, words)


def test_a_hub_model_that_is_not_there_is_refused_offline(
    ft, no_model, reviews: Path, tmp_path: Path
):
    code, _, error = ft(
        "eval", write_recipe(tmp_path / "adapters/a", Path("no-such-lab/no-such-model"), reviews)
    )
    assert code == 3
    assert_three_lines(error, "no-such-lab/no-such-model")


def test_code_beside_a_known_architecture_is_not_run(model: Path):
    """As many hub models have it: transformers' own class is taken."""
    (model / "mine.py").write_text("raise SystemExit('ran')")
    change_model_config(model, auto_map={"AutoModelForCausalLM": "mine.Model"})
    assert base_model.problems(ModelSection(pretrained=str(model))) == []


def test_links_as_in_the_hub_cache_are_followed(model: Path, tmp_path: Path):
    snapshot, blobs = tmp_path / "hub/snapshots/abc", tmp_path / "hub/blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(model.iterdir())):
        shutil.copy(path, blobs / str(number))
        (snapshot / path.name).symlink_to(Path("../../blobs") / str(number))
    assert base_model.problems(ModelSection(pretrained=str(snapshot))) == []


def test_a_header_is_read_as_safetensors_reads_it(model_folder: Path):
    """Against the safetensors library."""
    tensors = load_file(model_folder / MODEL)
    header = read_header(model_folder / MODEL)
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        n: i.shape for n, i in header.items()
    }
    assert {info.dtype for info in header.values()} == {"F32"}
