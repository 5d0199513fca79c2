"""A recipe of small points, as the tests of sweeps write it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ft_harness.evaluation import runner
from ft_harness.pipeline import runs
from tests.sweep.killing import SIZES, STEPS, rows

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = (
    "0"  # clusters on 127.0.0.1; Ray's import reads it
)


@pytest.fixture
def write(tmp_path: Path, model_folder: Path, reviews: Path):
    """The recipe `mine` with this sweep section."""

    def put(section: str, steps: str = "num_train_epochs: 1") -> Path:
        path = tmp_path / "adapters" / "mine" / "recipe.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\n"
            f"data: {{source: {reviews}}}\nadapter: {{r: 4, lora_alpha: 8}}\n"
            f"train: {{{steps}, learning_rate: 0.02, per_device_train_batch_size: 8}}\n"
            f"eval: {{splits: [validation, test]}}\n{section}\n"
        )
        return path

    return put


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The bases that were loaded."""
    counted: list[str] = []
    original = runs.load_base_model

    def load(section, plan=None):
        counted.append(section.pretrained)
        return original(section, plan)

    monkeypatch.setattr(runs, "load_base_model", load)
    return counted


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The subjects that were scored, one entry per evaluation."""
    counted: list[str] = []
    original = runner._score

    def score(state, job, folder):
        counted.append(state.subject)
        return original(state, job, folder)

    monkeypatch.setattr(runner, "_score", score)
    return counted


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over other numbers of threads differ in their last bits."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def local(ft, write, one_thread, tmp_path: Path) -> bytes:
    """`rows.json` of the sweep in one process that nobody disturbs."""
    code, _, err = ft("sweep", write(SIZES, STEPS), "--out", "local")
    assert code == 0, err
    return rows(tmp_path / "local")
