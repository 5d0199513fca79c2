"""A checkpoint that somebody else put there, validly sealed: no code of it runs, and what is not the
state of this training ends in three lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ft_harness.training import checkpoints
from tests.builders.command import assert_three_lines
from tests.builders.interruptions import kill_at_step

MARK = "ran"
FILES = ("optimizer.pt", "rng_state.pth", "scheduler.pt")


class Pickled:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


@pytest.fixture
def checkpoint(
    ft: Any, model_folder: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The newest checkpoint of a training that was killed."""
    recipe = tmp_path / "adapters" / "a" / "recipe.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\n"
        f"data: {{source: {reviews}, train_size: 24}}\nadapter: {{r: 4}}\n"
        "train: {num_train_epochs: 2, save_steps: 1}\n"
    )
    with monkeypatch.context() as killing:
        kill_at_step(3, killing)
        assert ft("train", recipe)[0] != 0
    return max(
        (recipe.parent / "checkpoints").glob("checkpoint-*"),
        key=lambda path: int(path.name.rpartition("-")[2]),
    )


def seal_again(checkpoint: Path) -> None:
    manifest = json.loads((checkpoint / checkpoints.MANIFEST_FILE).read_text())
    checkpoints.seal(checkpoint, manifest["step"], manifest["plan_hash"])


def go_on(ft: Any, checkpoint: Path) -> tuple[int, str, str]:
    found: tuple[int, str, str] = ft("train", checkpoint.parents[1])
    return found


def test_an_untouched_one_goes_on(ft: Any, checkpoint: Path):
    seal_again(checkpoint)
    code, _, err = go_on(ft, checkpoint)
    assert code == 0, err


@pytest.mark.parametrize("name", FILES)
def test_a_pickle(name: str, ft: Any, checkpoint: Path, tmp_path: Path):
    torch.save(Pickled(tmp_path / MARK), checkpoint / name)
    seal_again(checkpoint)
    code, _, err = go_on(ft, checkpoint)
    assert not (tmp_path / MARK).exists()
    assert code == 4, err
    assert_three_lines(err, name)


OTHERS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda state: {},
    "a text": lambda state: "state",
    "a list": lambda state: [1, 2],
    "tensors of other shapes": lambda state: other_shapes(state),
}


def other_shapes(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return torch.zeros(3, 1, 2)
    if isinstance(value, dict):
        return {key: other_shapes(part) for key, part in value.items()}
    return [other_shapes(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", FILES)
def test_another_state(name: str, other: str, ft: Any, checkpoint: Path):
    state = torch.load(checkpoint / name, weights_only=True)
    changed = OTHERS[other](state)
    if name == "scheduler.pt" and other == "tensors of other shapes":
        pytest.skip("it has no tensors")
    torch.save(changed, checkpoint / name)
    seal_again(checkpoint)
    code, _, err = go_on(ft, checkpoint)
    assert code == 3, err
    assert_three_lines(err, checkpoint.name)


@pytest.mark.parametrize("progress", ["{}", "[]", '{"step": -1}', '{"step": 999999}'])
def test_another_progress(progress: str, ft: Any, checkpoint: Path):
    (checkpoint / "progress.json").write_text(progress)
    seal_again(checkpoint)
    code, _, err = go_on(ft, checkpoint)
    assert code == 3, err
    assert_three_lines(err, checkpoint.name)
