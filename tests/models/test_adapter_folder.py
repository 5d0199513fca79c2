"""An adapter's files are read once in a command and passed on."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.builders.tiny import save_model

_COUNTED = ("card.json", "adapter_config.json", "adapter_model.safetensors")
_opened: Counter[str] = Counter()
_watched: list[str] = []


def _count(event: str, arguments: tuple) -> None:
    if event == "open" and _watched and str(arguments[0]).startswith(_watched[0]):
        _opened[Path(str(arguments[0])).name] += 1


@pytest.fixture
def opened(tmp_path: Path):
    """How often each file of a folder was opened for reading since the folder was named."""
    if not _opened.get("hooked"):
        sys.addaudithook(_count)  # stays for the rest of the process, and is idle then
        _opened["hooked"] = 1
    yield _opened
    _watched.clear()


def recipe_of(folder: Path, reviews: Path) -> dict:
    return {
        "model": {"pretrained": str(folder)},
        "task": {"name": "demo_sentiment"},
        "data": {"source": str(reviews)},
        "train": {"max_steps": 2, "learning_rate": 0.01},
        "eval": {"splits": ["test"], "limit": 4},
    }


def test_eval_opens_card_and_configuration_once_each(ft, opened, reviews: Path, tmp_path: Path):
    recipe = tmp_path / "adapters" / "a" / "recipe.yaml"
    recipe.parent.mkdir(parents=True)
    model = save_model(tmp_path / "m", seed=0)
    recipe.write_text(yaml.safe_dump(recipe_of(model, reviews)))
    code, _, error = ft("train", recipe)
    assert code == 0, error

    opened.clear()
    opened["hooked"] = 1
    _watched.append(str(recipe.parent))
    code, _, error = ft("eval", recipe, "--adapter", recipe.parent)

    assert code == 0, error
    # of the weights: the header, and the hash of the file; PEFT reads the tensors without Python
    assert [opened[name] for name in _COUNTED] == [1, 1, 2], opened
