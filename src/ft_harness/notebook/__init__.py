"""The runs of the command line as objects for a notebook: paths as texts, results that show
themselves, progress in the cell.

What loads a model runs in a process of its own: when a cell is done, its memory is free again.
"""

from ft_harness.notebook.api import (
    compare,
    evaluate,
    load_recipe,
    load_records,
    power,
    report,
    run,
    sweep,
    train,
)
from ft_harness.notebook.results import Evaluations, Picture, PowerFound, StudyFound, TrainedAdapter

__all__ = [
    "Evaluations",
    "Picture",
    "PowerFound",
    "StudyFound",
    "TrainedAdapter",
    "compare",
    "evaluate",
    "load_recipe",
    "load_records",
    "power",
    "report",
    "run",
    "sweep",
    "train",
]
