"""A model's own generation settings are part of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.builders.tiny import save_model


@pytest.mark.parametrize(("task", "again"), [("demo_qa", True), ("demo_sentiment", False)])
def test_other_generation_settings_are_another_evaluation_where_texts_are_generated(
    ft, tmp_path: Path, task: str, again: bool
):
    model = save_model(tmp_path / "m", seed=0)
    recipe = tmp_path / "adapters" / "a" / "recipe.yaml"
    recipe.parent.mkdir(parents=True)
    content = {
        "model": {"pretrained": str(model)},
        "task": {"name": task},
        "eval": {"splits": ["test"], "limit": 2},
    }
    recipe.write_text(yaml.safe_dump(content))
    assert ft("eval", recipe)[0] == 0
    path = model / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"repetition_penalty": 5.0}))
    code, output, error = ft("eval", recipe)
    assert code == 0, error
    assert ("scored already" in output + error) is not again
    assert len(list((tmp_path / "results").glob("*/*/record.json"))) == (2 if again else 1)
