"""One recipe -> points -> an executor.

A point is an ordinary run, named by what varies; `grid` makes them, `executors` run them, and
`comparison.effects` measures the results.
"""

from ft_harness.sweep.grid import SEEDS, Grid, read_grid
from ft_harness.sweep.points import Point
from ft_harness.sweep.request import Request, make_request, split_overrides
