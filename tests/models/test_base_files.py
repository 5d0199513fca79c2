"""A base model is what its files say, or it is refused before memory or time is spent."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ft_harness.errors import FtHarnessError, InputError
from ft_harness.evaluation.backends import make_lm
from ft_harness.models import base_model, hub
from ft_harness.models.base_model import load_base_model
from ft_harness.recipe import ModelSection
from tests.builders.hub import cache_model
from tests.builders.tiny import save_backbone, save_model

WEIGHTS = "model.safetensors"


@pytest.fixture
def model(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def section(folder: Path, **values) -> ModelSection:
    return ModelSection(pretrained=str(folder), **values)


def change_tensors(folder: Path, change: Callable[[dict], dict]) -> None:
    tensors = {
        name: value.contiguous() for name, value in change(load_file(folder / WEIGHTS)).items()
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def change_json(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def write_header(path: Path, header: str, size: int = 0) -> None:
    content = header.encode()
    path.write_bytes(struct.pack("<Q", len(content)) + content + bytes(size))


def only_fault(folder: Path, *, head: bool = False) -> FtHarnessError:
    (found,) = base_model.problems(section(folder), head=head)
    return found


# --- tokenizers ---


def test_a_tokenizer_of_another_class_than_its_vocabulary_is_refused(model: Path):
    """WordPiece asks for [UNK] as soon as a text has an unknown part, which a text may not have."""
    change_json(model / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    with pytest.raises(InputError, match="the model can't be loaded"):
        base_model.load_tokenizer(section(model))


# --- tensors ---


def test_a_whole_model_has_no_fault(model: Path):
    assert base_model.problems(section(model)) == []
    assert base_model.problems(section(model), head=True) == []


def without_half(tensors: dict) -> dict:
    return dict(list(tensors.items())[::2])


def with_one_more(tensors: dict) -> dict:
    return tensors | {"model.layers.7.self_attn.q_proj.weight": torch.ones(32, 32)}


def reshaped(tensors: dict) -> dict:
    return tensors | {"model.norm.weight": torch.ones(16)}


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_half, "lacks"),
        (with_one_more, "model.layers.7.self_attn.q_proj.weight"),
        (reshaped, "model.norm.weight"),
    ],
)
def test_other_tensors_than_the_configuration_has_are_refused(
    model: Path, change: Callable[[dict], dict], words: str, head: bool
):
    change_tensors(model, change)
    assert words in only_fault(model, head=head).what


def test_tensors_of_a_hub_model_are_checked_when_it_is_loaded(model: Path):
    """A hub model's files are known only then, so `problems` can't have seen them."""
    change_tensors(model, without_half)
    with pytest.raises(InputError, match="lacks"):
        load_base_model(section(model))


def test_a_head_that_was_saved_for_another_purpose_is_no_unexpected_tensor(tmp_path: Path):
    folder = save_backbone(tmp_path / "bert", "bert")
    assert base_model.problems(section(folder), head=True) == []


def test_a_tensor_in_two_files_is_refused(model: Path):
    tensors = load_file(model / WEIGHTS)
    names = list(tensors)
    (model / WEIGHTS).unlink()
    parts = {"a.safetensors": names[:4], "b.safetensors": names[3:]}
    for file, held in parts.items():
        save_file({name: tensors[name] for name in held}, model / file, metadata={"format": "pt"})
    index = {name: file for file, held in parts.items() for name in held}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert names[3] in only_fault(model).what


def test_a_tensor_twice_in_a_header_is_refused(model: Path):
    entry = '"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    write_header(model / WEIGHTS, "{" + f"{entry},{entry}" + "}", 4)
    assert "twice" in only_fault(model).what


@pytest.mark.parametrize(
    "shape",
    ["[1000000,1000000,1000000]", '[1000000000000,"a"]', '["a",1000000000000]', "[1e12]", "[true]"],
)
def test_shapes_that_cannot_be_are_refused_at_once(model: Path, shape: str):
    write_header(
        model / WEIGHTS,
        '{"a":{"dtype":"F32","shape":SHAPE,"data_offsets":[0,4]}}'.replace("SHAPE", shape),
        4,
    )
    started = time.monotonic()
    assert "damaged" in only_fault(model).what
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "values",
    [
        {"num_hidden_layers": 1_000_000},
        {"num_hidden_layers": 10**12},
        {"max_position_embeddings": 10**12},
        {"vocab_size": 10**12},
        {"text_config": {"num_hidden_layers": 1_000_000}},
    ],
)
def test_sizes_beyond_what_the_file_can_hold_are_refused_at_once(model: Path, values: dict):
    change_json(model / "config.json", **values)
    started = time.monotonic()
    found = only_fault(model)
    assert time.monotonic() - started < 5
    assert next(iter(values)).partition(".")[0] in found.what or "num_hidden_layers" in found.what


@pytest.mark.parametrize(
    "name", [WEIGHTS, "config.json", "tokenizer.json", "generation_config.json"]
)
def test_a_pipe_or_device_in_place_of_a_file_is_not_opened(model: Path, name: str):
    (model / name).unlink()
    os.mkfifo(model / name)
    assert name in only_fault(model).what
    (model / name).unlink()
    (model / name).symlink_to("/dev/zero")
    assert name in only_fault(model).what


# --- tied weights ---


@pytest.fixture
def untied(model: Path) -> Path:
    """Says that the output head is the embedding, and holds a head of its own."""
    change_json(model / "config.json", tie_word_embeddings=True)
    return model


def test_a_head_of_its_own_in_a_model_that_says_tied_is_refused(untied: Path):
    found = only_fault(untied)
    assert "lm_head.weight" in found.what
    assert '"tie_word_embeddings": false' in found.action
    with pytest.raises(InputError, match="the output head differ"):
        load_base_model(section(untied))


def test_a_tied_head_that_is_saved_twice_is_fine(untied: Path):
    change_tensors(
        untied,
        lambda tensors: tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()},
    )
    assert base_model.problems(section(untied)) == []
    load_base_model(section(untied))


def test_lm_evals_constructor_leaves_the_weights_as_they_were_loaded(untied: Path):
    """It calls `tie_weights`, which would put the embedding in the head's place."""
    from transformers import AutoModelForCausalLM

    change_json(untied / "config.json", tie_word_embeddings=False)
    base = load_base_model(section(untied))
    base.model.config.tie_word_embeddings = (
        True  # as a composite model may have it in one part only
    )
    base.model.all_tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}
    lm = make_lm(base, 1)
    ids = torch.tensor([[1, 5, 6, 7]])
    plain = AutoModelForCausalLM.from_pretrained(untied)
    with torch.inference_mode():
        assert torch.equal(lm.model(input_ids=ids).logits, plain(input_ids=ids).logits)


# --- adapters in the base's folder ---


@pytest.mark.parametrize("head", [False, True])
def test_adapter_files_in_a_base_folder_are_refused(model: Path, head: bool):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(model), LoraConfig(r=4, target_modules="all-linear")
    )
    adapted.save_pretrained(model)
    assert "adapter_config.json" in only_fault(model, head=head).what


def test_an_adapter_that_transformers_loaded_with_the_base_is_refused(model: Path):
    """As from the hub, where the files are known only after loading."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(model), LoraConfig(r=4, target_modules="all-linear")
    )
    adapted.save_pretrained(model)
    with pytest.raises(InputError, match="adapter"):
        load_base_model(section(model))


# --- identity ---


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("tokenizer_config.json", {"eos_token": "good"}),
        ("tokenizer_config.json", {"add_prefix_space": True}),
        ("special_tokens_map.json", {"eos_token": "."}),
        ("added_tokens.json", {"<x>": 5}),
        ("vocab.json", {"a": 1}),
        ("merges.txt", {}),
        ("spiece.model", {}),
        ("chat_template.jinja", {}),
    ],
)
def test_identity_covers_what_changes_tokens(model: Path, name: str, values: dict):
    path = model / name
    before = base_model.identity(str(model), None)
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | values))
    assert base_model.identity(str(model), None) != before


def test_a_readme_is_no_part_of_a_models_identity(model: Path):
    before = base_model.identity(str(model), None)
    (model / "README.md").write_text("read me")
    assert base_model.identity(str(model), None) == before


# --- context ---


@pytest.mark.parametrize(("asked", "context"), [(None, 2048), (4096, 4096), (100, 100)])
def test_an_architecture_without_a_stated_length_reads_what_is_asked(
    tmp_path: Path, asked: int | None, context: int
):
    from transformers import BloomConfig

    BloomConfig(vocab_size=64, hidden_size=16, n_layer=1, n_head=2).save_pretrained(tmp_path)
    assert base_model.load_context(section(tmp_path, max_length=asked)) == context


def test_a_composite_models_length_is_its_text_parts(tmp_path: Path):
    from transformers import Gemma3Config

    text = {"max_position_embeddings": 512, "hidden_size": 16, "num_hidden_layers": 1}
    Gemma3Config(text_config=text).save_pretrained(tmp_path)
    assert base_model.load_context(section(tmp_path)) == 512
    assert base_model.load_context(section(tmp_path, max_length=9999)) == 512
    assert base_model.load_context(section(tmp_path, max_length=64)) == 64


def test_mpts_length_is_the_one_that_its_positions_are_made_for(tmp_path: Path):
    from transformers import MptConfig

    MptConfig(d_model=16, n_heads=2, n_layers=1, max_seq_len=32).save_pretrained(tmp_path)
    assert base_model.load_context(section(tmp_path)) == 32
    assert base_model.load_context(section(tmp_path, max_length=128)) == 32


def test_another_model_of_the_same_files_has_no_fault(tmp_path: Path):
    """A control: the guards above don't refuse what was saved by transformers."""
    assert base_model.problems(section(save_model(tmp_path / "m", seed=3))) == []


# --- a hub model in the hub's cache ---

LOADED = """
import sys
from ft_harness.errors import FtHarnessError
from ft_harness.models import base_model
from ft_harness.recipe import ModelSection
section = ModelSection(pretrained="org/tiny")
print(*(fault.exit_code for fault in base_model.problems(section)))
def never(*_, **__): raise SystemExit("loaded")
base_model.AutoModelForCausalLM.from_pretrained = never
try:
    base_model.load_base_model(section)
except FtHarnessError as error:
    print(error.exit_code, error.what)
"""


def test_the_commit_of_a_hub_model(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two revisions are two models; nothing else says which one was loaded."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    section = ModelSection(pretrained="org/tiny")
    assert hub.cached_commit(section) is None
    cache_model(model, tmp_path / "hub", "org/tiny")
    commit = "0123456789" * 4
    assert hub.cached_commit(section) == commit
    assert hub.cached_commit(ModelSection(pretrained="org/tiny", revision=commit)) == commit
    assert hub.cached_commit(ModelSection(pretrained="org/tiny", revision="v2")) is None
    assert base_model.hub_files_identity("org/tiny", commit) == base_model.identity(
        str(model), None
    )


HEADERS = {
    "too large": '{"a":{"dtype":"F32","shape":[1000000,1000000,1000000],"data_offsets":[0,4]}}',
    "twice": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{}}',
}


@pytest.mark.parametrize("header", [None, *HEADERS])
def test_a_cached_hub_model_is_looked_at_before_it_is_loaded(
    header: str | None, model: Path, tmp_path: Path
):
    blobs = cache_model(model, tmp_path / "hub", "org/tiny")
    if header is not None:
        write_header(blobs / WEIGHTS, HEADERS[header], 4)
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, env=environment, check=False
    )
    if header is None:
        assert (done.stdout.strip(), done.stderr.strip()[-6:]) == ("", "loaded")
    else:
        first, second = done.stdout.strip().splitlines()
        assert first == "3", done.stderr
        assert second.startswith("3 ")
        assert WEIGHTS in second
