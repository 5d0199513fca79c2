"""Where the points of a sweep run: in this process, in one for each GPU, or on other machines.

An executor is given orders, which name a recipe by its path, and gives back an outcome for each
point. What a point makes is on disk, in a folder that all share, so that an outcome is small.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from ft_harness.errors import ConfigError
from ft_harness.sweep.executors.executor import Executor
from ft_harness.sweep.executors.local import LocalExecutor
from ft_harness.sweep.executors.processes import ProcessExecutor
from ft_harness.sweep.orders import Work

PACKAGES = {"ray": "ray", "slurm": "submitit"}  # what an executor on other machines is made with


def make_executor(
    name: str, here: Work, elsewhere: Work, *, gpus: Sequence[str], logs: Path
) -> Executor:
    """The executor of that name: local, ray or slurm.

    Args:
        here: works off an order in this process.
        elsewhere: a function of a module, which does it in a process that knows nothing of this
            one.
        gpus: the GPUs of this machine, as CUDA_VISIBLE_DEVICES names them; several have a process
            each.
        logs: a folder that all machines share, for what jobs print.

    Raises:
        ConfigError: the package that it needs is not installed.
    """
    if name == "local":
        return ProcessExecutor(elsewhere, gpus) if len(gpus) > 1 else LocalExecutor(here)
    try:
        module = import_module(f"ft_harness.sweep.executors.{name}")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"--executor {name}: the package {PACKAGES[name]} is not installed",
            f"ft-harness with its extra {name}",
            f"pip install 'ft-harness[{name}]', or leave --executor out",
        ) from error
    made: Executor = module.make(elsewhere, logs)
    return made
