"""An adapter is scored only if it belongs to the base, is whole, and changes what the base says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ft_harness.errors import InputError, NonFiniteError, PolicyError
from ft_harness.models import base_model
from ft_harness.models.adapters import attached, problems, read_history
from ft_harness.models.base_model import BaseModel, load_base_model
from ft_harness.recipe import ModelSection
from tests.builders.tiny import save_model

PROMPTS = ["the film was", "the cast was"]


@pytest.fixture(scope="module")
def foreign(base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter made by plain PEFT, with B drawn at random so that it has an effect."""
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("adapters") / "foreign"
    config = LoraConfig(
        task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False
    )
    torch.manual_seed(3)
    model = get_peft_model(base.model, config)
    model.save_pretrained(folder)
    model.unload()
    return folder


@pytest.fixture
def adapter(foreign: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(foreign, tmp_path / "adapter"))


def change_weights(folder: Path, change) -> None:
    path = folder / "adapter_model.safetensors"
    save_file(
        {k: v.contiguous() for k, v in change(load_file(path)).items()},
        path,
        metadata={"format": "pt"},
    )


def logits(model, base: BaseModel) -> torch.Tensor:
    ids = base.tokenizer(PROMPTS[0], return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        return model(input_ids=ids).logits


def test_attached_changes_the_base_and_leaves_it_as_it_was(base: BaseModel, adapter: Path):
    before = logits(base.model, base)
    with attached(adapter, base, PROMPTS) as (tuned, info):
        assert info.live_proof.changed_prompts == 2
        assert info.live_proof.max_logit_change > 0
        assert not torch.equal(logits(tuned.model, base), before)
        assert info.trainable_parameters == sum(
            v.numel() for v in load_file(adapter / "adapter_model.safetensors").values()
        )
    assert torch.equal(logits(base.model, base), before)


def test_renamed_keys_are_refused_by_name(base: BaseModel, adapter: Path):
    change_weights(
        adapter,
        lambda tensors: {key.replace("q_proj", "query"): value for key, value in tensors.items()},
    )
    with (
        pytest.raises(InputError, match="keys don't match") as caught,
        attached(adapter, base, PROMPTS),
    ):
        pass
    assert "query" in caught.value.what or "q_proj" in caught.value.what


def test_missing_keys_are_refused(base: BaseModel, adapter: Path):
    change_weights(adapter, lambda tensors: dict(list(tensors.items())[2:]))
    with pytest.raises(InputError, match="2 keys don't match"), attached(adapter, base, PROMPTS):
        pass


def test_nan_weights_exit_8(base: BaseModel, adapter: Path):
    change_weights(
        adapter, lambda tensors: {key: value * float("nan") for key, value in tensors.items()}
    )
    with pytest.raises(NonFiniteError) as caught, attached(adapter, base, PROMPTS):
        pass
    assert caught.value.exit_code == 8


def test_an_adapter_without_effect_is_refused(base: BaseModel, adapter: Path):
    change_weights(
        adapter, lambda t: {k: torch.zeros_like(v) if "lora_B" in k else v for k, v in t.items()}
    )
    with pytest.raises(InputError, match="changes no logit"), attached(adapter, base, PROMPTS):
        pass


def test_a_truncated_file_is_refused(base: BaseModel, adapter: Path):
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged"), attached(adapter, base, PROMPTS):
        pass


def test_pickled_weights_are_refused_unread(adapter: Path):
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / "adapter_model.bin").write_bytes(b"not even a pickle")
    (found,) = problems(adapter)
    assert isinstance(found, PolicyError)
    assert found.exit_code == 4


def test_a_folder_without_adapter_is_named(tmp_path: Path):
    (found,) = problems(tmp_path)
    assert "adapter_config.json" in found.what


def test_a_base_of_other_shapes_is_refused(adapter: Path, base: BaseModel):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"r": 8}))
    with pytest.raises(InputError, match="shape"), attached(adapter, base, PROMPTS):
        pass


def test_the_base_stays_clean_after_a_refusal(base: BaseModel, adapter: Path):
    change_weights(adapter, lambda tensors: dict(list(tensors.items())[2:]))
    with pytest.raises(InputError), attached(adapter, base, PROMPTS):
        pass
    assert not [name for name, _ in base.model.named_parameters() if "lora" in name]


def test_every_byte_of_the_weights_is_part_of_the_identity(model_folder: Path, tmp_path: Path):
    """Head, middle and tail are not enough: a model that was pruned or edited elsewhere is another
    one."""
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    before = base_model.identity(str(folder), None)
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    for place in range(len(content) // 4, len(content), len(content) // 3):
        changed = content.copy()
        changed[place] ^= 1
        file.write_bytes(changed)
        assert base_model.identity(str(folder), None) != before, place
    file.write_bytes(content)
    assert base_model.identity(str(folder), None) == before


def test_another_base_of_the_same_shape_has_another_identity(base: BaseModel, tmp_path: Path):
    other = load_base_model(ModelSection(pretrained=str(save_model(tmp_path / "other", seed=1))))
    assert other.info.identity != base.info.identity
    assert other.info.parameters == base.info.parameters


LINES = ['{"step":1,"epoch":0.5,"loss":2.0}', '{"step":2,"epoch":1.0,"loss":1.0}']


@pytest.mark.parametrize("torn", ['{"step":3,"ep', '{"step":3,"epoch":1.5}', ""])
def test_a_torn_last_line_of_a_history_is_left_out(tmp_path: Path, torn: str):
    """A line that a killed run was writing has no end; one that lacks only that is whole."""
    (tmp_path / "history.jsonl").write_text("\n".join([*LINES, torn]), encoding="utf-8")
    assert [entry.step for entry in read_history(tmp_path)] == [1, 2, 3][
        : 3 if torn.endswith("}") else 2
    ]


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        (["{", *LINES], 1),
        ([LINES[0], '{"step":2,"ep', LINES[1]], 2),
        ([*LINES, '{"step":3,"ep'], 3),
        ([LINES[0], ""], 2),
    ],
)
def test_another_damaged_line_of_a_history_is_named(tmp_path: Path, lines: list[str], number: int):
    (tmp_path / "history.jsonl").write_text(
        "".join(f"{line}\n" for line in lines), encoding="utf-8"
    )
    with pytest.raises(InputError, match=rf"history\.jsonl: line {number} is damaged"):
        read_history(tmp_path)


def test_bytes_that_are_no_text_are_damage_too(tmp_path: Path):
    (tmp_path / "history.jsonl").write_bytes(b"\xff\n" + LINES[0].encode())
    with pytest.raises(InputError, match="line 1 is damaged"):
        read_history(tmp_path)
