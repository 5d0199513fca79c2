"""The tool that makes the bundled model: schedule, order of rows and the step between two
cycles."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.slow  # a tool of developers, which no command of users takes part in
TOOL = Path(__file__).parents[2] / "tools" / "pretrain_demo_model.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pretrain_demo_model", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["pretrain_demo_model"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("step", "share"),
    [
        (0, 1 / 4),  # the first of four warm-up steps
        (3, 1.0),
        (9, 1.0),  # 20 steps, the last half falls: 10 is where it starts
        (15, 0.5),  # 5 of the 10 falling steps are left
        (19, 0.1),
        (20, 0.5 / 4),  # the second cycle: warm-up again, to half the height
        (23, 0.5 * 7 / 10),  # warm-up is over, the fall stands at 7 of 10
        (29, 0.5 / 10),  # 10 steps that all fall: one is left
    ],
)
def test_learning_rate_rises_and_falls_in_each_cycle(tool: ModuleType, step: int, share: float):
    cycles = (tool.Cycle(20, peak=1.0, decay_share=0.5), tool.Cycle(10, peak=0.5, decay_share=1.0))
    plan = tool.Plan(cycles=cycles, warmup_steps=4)
    assert tool.lr_share(step, plan) == pytest.approx(share)


def test_a_step_beyond_the_plan_is_refused(tool: ModuleType):
    plan = tool.Plan()
    with pytest.raises(ValueError, match="beyond the plan"):
        plan.cycle_at(plan.total_steps)


def test_rows_are_a_pure_function_of_the_step_and_cover_an_epoch_once(tool: ModuleType):
    plan = tool.Plan(context=4, batch_rows=2)
    tokens = np.arange(
        41, dtype=np.uint16
    )  # 10 rows of 4 tokens and the one after the last: 5 steps an epoch
    first = [tool.batch_at(tokens, step, plan) for step in range(5)]
    assert sorted(int(row[0]) for batch in first for row in batch) == list(range(0, 40, 4))
    assert all(
        row.tolist() == list(range(int(row[0]), int(row[0]) + 5))
        for batch in first
        for row in batch
    )
    assert torch.equal(tool.batch_at(tokens, 3, plan), first[3])


def test_a_cycle_starts_from_the_weights_as_exported_with_fresh_optimizers(tool: ModuleType):
    plan = tool.Plan()
    model = torch.nn.ModuleDict(
        {"embed": torch.nn.Embedding(4, 4), "inside": torch.nn.Linear(4, 4, bias=False)}
    )
    with torch.no_grad():
        model["inside"].weight.fill_(1 + 2**-12)  # bf16 keeps 8 bits: 1
    optimizers = tool.start_cycle(model, plan)
    assert torch.equal(model["inside"].weight, torch.ones(4, 4))
    assert [optimizer.state_dict()["state"] for optimizer in optimizers] == [{}, {}]
