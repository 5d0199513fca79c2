"""Stages whose base and adapters are computed by servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ft_harness import processes
from ft_harness.evaluation.backends import server
from ft_harness.models.adapters import AdapterFolder
from ft_harness.models.base_model import BaseModel
from ft_harness.pipeline.experiment import Experiment, Say
from ft_harness.pipeline.preflight import Checked
from ft_harness.pipeline.stages import Stage
from ft_harness.records import base_subject


def serve(stage: Stage, say: Say) -> Stage:
    """The stage with the base that the recipe's servers compute, proven to be the stage's own; the
    same stage where the recipe names none.

    Raises:
        ConfigError, InputError: as `connect` and `prove_base` say.
    """
    if stage.experiment.recipe.eval.server is None:
        return stage
    return serve_alone(stage.experiment, stage.checked, stage.base, (), say)


def serve_alone(
    experiment: Experiment,
    checked: Checked,
    weights: BaseModel | None,
    adapters: Sequence[AdapterFolder],
    say: Say,
) -> Stage:
    """A stage with the base that the recipe's servers compute.

    Args:
        weights: that it is proven against; None: what the adapters' cards say of them.

    Raises:
        ConfigError, InputError: as `connect` and `prove_base` say.
    """
    recipe = experiment.recipe
    assert recipe.eval.server is not None
    processes.refuse_several("scoring on a server", "a server with several GPUs, or several URLs,")
    base = server.connect(recipe.model, recipe.eval.server, weights)
    stage = Stage(experiment, checked, base)
    proven = server.prove_base(base, stage.probes(), adapters)
    say(f"{base_subject(recipe.model.pretrained)}: {server.state_agreement(proven)}")
    return replace(stage, base=proven)
