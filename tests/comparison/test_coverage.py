"""The simulation of `benchmarks/coverage.py`, small: intervals hold the truth, tests see nothing
where nothing is."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytestmark = pytest.mark.slow  # simulates thousands of test sets


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("benchmark_coverage", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for their annotations
    spec.loader.exec_module(module)
    module.ROUNDS = 400  # type: ignore[attr-defined]
    module.TRUTH_ITEMS = 100_000  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize("number", range(23), ids=lambda number: f"case {number}")
def test_coverage_and_false_positives(coverage: ModuleType, number: int) -> None:
    """Bounds are four standard errors of 200 simulations (1.5 points) below 95 % and above 5 %."""
    assert len(coverage.CASES) == 23
    case = coverage.CASES[number]
    n = 60 if "uneven" in case.name else 100
    held, _, _, single, seen, missing, _, _ = coverage.simulate(case, n, 200, case.truth(n))
    assert 0.89 <= held <= 1.0
    assert 0.89 <= single <= 1.0
    assert seen <= 0.11
    assert missing <= 0.9 if "long" in case.name else missing <= 0.02


def test_cells_without_a_gain_have_no_difference(coverage: ModuleType) -> None:
    """Else the share of p < 0.05 would not be one of false verdicts."""
    for case in coverage.CASES:
        base, tuned, clusters = case.draw(np.random.default_rng(1), 100_000, 0.0)
        assert clusters is None or len(clusters) == len(base)
        before, after = (
            case.metric.aggregate(side.sum(axis=0), len(base)) for side in (base, tuned)
        )
        assert after == pytest.approx(before, rel=0.05), case.name
