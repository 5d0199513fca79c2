"""One adapter that was trained and scored, for all tests of this folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ft_harness.pipeline.experiment import read_experiment
from ft_harness.pipeline.runs import run


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, reviews: Path) -> Path:
    """A working folder with the adapter `small` and its evaluations."""
    out = tmp_path_factory.mktemp("made")
    recipe = {
        "model": {"pretrained": str(model_folder)},
        "task": {"name": "demo_sentiment"},
        "data": {"source": str(reviews)},
        "adapter": {"r": 4},
        "train": {"max_steps": 4, "seed": 3},
        "eval": {"splits": ["test", "validation"]},
    }
    path = out / "adapters" / "small" / "recipe.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(recipe), encoding="utf-8")
    run([read_experiment(path, [], out, "ft-harness run small")], "small", lambda line: None)
    return out


@pytest.fixture
def working(made: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "working"))
