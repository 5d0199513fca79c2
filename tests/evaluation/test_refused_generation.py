"""What transformers refuses to generate with is found by `check`, before weights are loaded, by
transformers itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from ft_harness.errors import PolicyError
from ft_harness.evaluation.backends import make_lm
from ft_harness.evaluation.backends.trial import generation_problems
from ft_harness.models.base_model import load_base_model
from ft_harness.paths import task_yamls_dir
from ft_harness.recipe import ModelSection
from tests.builders.command import assert_three_lines
from tests.evaluation.test_causal import PROMPTS, asked
from tests.models.test_architectures import CAUSAL, tiny_config

REFUSED: dict[str, dict[str, Any]] = {
    "stop_strings": {"stop_strings": ["x"]},
    "groups of beams": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5},
    "prompt lookup in a batch": {"prompt_lookup_num_tokens": 3},
    "constraints": {"num_beams": 2, "force_words_ids": [[5]]},
    "contrastive": {"penalty_alpha": 0.6, "top_k": 4},
    "a cache": {"cache_implementation": "nothing"},
    "forced and suppressed": {"forced_eos_token_id": 5, "suppress_tokens": [5]},
    "a bias": {"sequence_bias": {"a": "b"}},
    "bad words": {"bad_words_ids": [5]},
    "a number as a text": {"repetition_penalty": "high"},
    "below zero": {"no_repeat_ngram_size": 3, "repetition_penalty": -1.0},
}
ACCEPTED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "penalties": {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    "several returned, which are ours": {"num_return_sequences": 4},
    "beams": {"num_beams": 3, "length_penalty": 0.7, "early_stopping": True},
    "drawn": {"do_sample": True, "temperature": 0.7, "top_p": 0.9},
    "forced": {"min_length": 3, "suppress_tokens": [5], "forced_eos_token_id": 2},
    "without cache": {"use_cache": False, "repetition_penalty": 1.2},
    "a bias": {"sequence_bias": [[[5], -1.0]]},
}
# of `generate` alone, which no generation_config.json holds
ARGUMENTS: dict[str, dict[str, Any]] = {
    "unknown": {"no_such_thing": 1},
    "given anew": {"eos_token_id": 5, "repetition_penalty": 1.2},
    "an assistant": {"assistant_model": "x"},
}


def save_own(folder: Path, model_folder: Path, own: dict[str, Any]) -> Path:
    """The tiny model with generation settings of its own."""
    shutil.copytree(model_folder, folder)
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | own))
    return folder


def check(ft, folder: Path, model: Path, asks: dict[str, Any], **section: Any):
    """`check` of a recipe whose task has these generation_kwargs."""
    (folder / "mine").mkdir()
    content = {
        "include": str(task_yamls_dir() / "demo" / "demo_qa.yaml"),
        "task": "mine",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8} | asks,
    }
    (folder / "mine" / "mine.yaml").write_text(yaml.safe_dump(content))
    recipe = {
        "model": {"pretrained": str(model)},
        "task": {"name": "mine", "include_path": str(folder / "mine")},
        "eval": {"splits": ["test"], "limit": 4, **section},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return ft("check", folder / "recipe.yaml")


@pytest.mark.parametrize("asks", [*REFUSED.values(), *ARGUMENTS.values()], ids=str)
def test_check_refuses_what_a_task_asks_for_in_vain(
    ft, tmp_path: Path, model_folder: Path, asks: dict[str, Any]
):
    code, _, err = check(ft, tmp_path, model_folder, asks)
    assert code == 3, err
    assert_three_lines(err, "transformers can't generate with these settings", "generation_kwargs")


@pytest.mark.parametrize("own", REFUSED.values(), ids=str)
def test_check_refuses_what_a_model_asks_for_in_vain(
    ft, tmp_path: Path, model_folder: Path, own: dict[str, Any]
):
    code, _, err = check(ft, tmp_path, save_own(tmp_path / "m", model_folder, own), {})
    assert code == 3, err
    assert_three_lines(err, f"{tmp_path / 'm'}: ", "generation_config.json")


@pytest.mark.parametrize("asks", ACCEPTED.values(), ids=str)
@pytest.mark.parametrize("place", ["task", "model"])
def test_check_accepts_what_transformers_does(
    ft, tmp_path: Path, model_folder: Path, asks: dict[str, Any], place: str
):
    if place == "model" and asks.get("num_return_sequences"):
        pytest.skip("transformers doesn't load it without beams")
    model = save_own(tmp_path / "m", model_folder, asks if place == "model" else {})
    code, _, err = check(ft, tmp_path, model, asks if place == "task" else {})
    assert code == 0, err


def test_one_prompt_at_a_time_may_be_looked_up(ft, tmp_path: Path, model_folder: Path):
    code, _, err = check(ft, tmp_path, model_folder, REFUSED["prompt lookup in a batch"])
    assert code == 3
    (tmp_path / "alone").mkdir()
    asks = REFUSED["prompt lookup in a batch"]
    code, _, err = check(ft, tmp_path / "alone", model_folder, asks, batch_size=1)
    assert code == 0, err


@pytest.mark.parametrize("asks", [*REFUSED.values(), *ACCEPTED.values()], ids=str)
def test_the_weights_say_the_same(model_folder: Path, asks: dict[str, Any]):
    """The trial without weights against answers of the model itself."""
    section = ModelSection(pretrained=str(model_folder))
    foreseen = bool(generation_problems(section, [asks], 8))
    lm = make_lm(load_base_model(section), batch_size=8)
    try:
        lm.generate_until(asked(PROMPTS, **asks))
        refused = False
    except Exception:  # of whatever kind: check must have named it
        refused = True
    assert refused is foreseen


@pytest.mark.parametrize("kind", CAUSAL)
def test_no_architecture_is_refused_without_reason(kind: str, tmp_path: Path):
    tiny_config(kind, 100).save_pretrained(tmp_path)
    section = ModelSection(pretrained=str(tmp_path))
    right = [{}, {"num_beams": 2}, {"do_sample": True}, {"repetition_penalty": 1.2}]
    assert generation_problems(section, right, 8) == []
    (fault,) = generation_problems(section, [{"stop_strings": ["x"]}], 8)
    assert "stop_strings" in str(fault) or "tokenizer" in str(fault)


def test_code_that_generates_is_refused(ft, tmp_path: Path, model_folder: Path):
    """transformers would import it, from a folder or the hub."""
    code_folder = tmp_path / "evil" / "custom_generate"
    code_folder.mkdir(parents=True)
    (code_folder / "generate.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\ndef generate(model, **given): pass\n"
    )
    asks = {"custom_generate": str(tmp_path / "evil"), "trust_remote_code": True}
    code, _, err = check(ft, tmp_path, model_folder, asks)
    assert not (tmp_path / "ran").exists()
    assert code == 4, err
    assert_three_lines(err, "generation_kwargs.custom_generate")
    lm = make_lm(load_base_model(ModelSection(pretrained=str(model_folder))), batch_size=8)
    with pytest.raises(PolicyError):
        lm.generate_until(asked(PROMPTS, **asks))
    assert not (tmp_path / "ran").exists()
