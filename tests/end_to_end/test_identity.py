"""A result that changes without its version would be reused as if it were the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.builders import golden

KNOWN: dict[str, Any] = json.loads(golden.FILE.read_text(encoding="utf-8"))
AGAIN = "python -m tests.builders.golden writes the file anew"


def check(name: str, known: dict[str, Any], found: dict[str, Any], tolerance: float) -> None:
    """Fail where a value changed and its version didn't, and where only the file is out of date."""
    same = found["value"] == (
        known["value"]
        if isinstance(known["value"], str) or known["value"] is None
        else pytest.approx(known["value"], rel=tolerance, abs=tolerance)
    )
    if known["version"] == found["version"]:
        assert same, f"{name} changed: raise its version; then {AGAIN}"
    else:
        pytest.fail(f"{name} has another version: {AGAIN}")


def test_the_loader_gives_what_its_version_gave():
    check("the loader", KNOWN["loader"], golden.measure_loader(), 0)


def test_every_metric_gives_what_its_version_gave():
    found = golden.measure_metrics()
    assert found.keys() == KNOWN["metrics"].keys(), AGAIN
    assert len(found) > 30
    for name in found:
        check(f"the metric {name}", KNOWN["metrics"][name], found[name], 1e-12)


def test_scoring_and_training_give_what_their_versions_gave():
    """Other processors add in another order, so the numbers agree to rounding."""
    found = golden.measure_run()
    check("scoring", KNOWN["scoring"], found["scoring"], 1e-3)
    check("training", KNOWN["training"], found["training"], 1e-2)


def test_a_change_without_a_version_fails():
    known = {"version": 1, "value": [1.0, 2.0]}
    check("same", known, {"version": 1, "value": [1.0, 2.0 + 1e-13]}, 1e-12)
    with pytest.raises(AssertionError, match="raise its version"):
        check("changed", known, {"version": 1, "value": [1.0, 2.1]}, 1e-12)
    with pytest.raises(pytest.fail.Exception, match="another version"):
        check("raised", known, {"version": 2, "value": [1.0, 2.1]}, 1e-12)
