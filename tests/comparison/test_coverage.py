"""The simulation of `benchmarks/coverage.py`, small: intervals hold the truth, tests see nothing
where nothing is."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("benchmark_coverage", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for their annotations
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("number", range(6), ids=lambda number: f"case {number}")
def test_coverage_and_false_positives(coverage: ModuleType, number: int) -> None:
    """Bounds are four standard errors of 200 simulations (1.5 points) below 95 % and above 5 %."""
    case = coverage.CASES[number]
    held, _, _, single, seen, verdicts = coverage.simulate(case, 100, 200, case.truth(3))
    assert 0.89 <= held <= 1.0
    assert case.clustered or 0.89 <= single <= 1.0
    assert seen <= 0.11
    assert verdicts <= seen
