"""Typed rows -> figures, as bytes, and the numbers that they show."""

from ft_harness.report.figures.curves import (
    CURVE_COLUMNS,
    curve_columns,
    curve_rows,
    learning_curves,
)
from ft_harness.report.figures.scores import SCORE_COLUMNS, before_after, score_rows
from ft_harness.report.figures.style import Form
from ft_harness.report.figures.sweeps import SWEEP_COLUMNS, score_by_axis, score_by_time, sweep_rows
from ft_harness.report.figures.tradeoffs import (
    TRADEOFF_COLUMNS,
    score_by_cost,
    score_by_size,
    tradeoff_rows,
)
