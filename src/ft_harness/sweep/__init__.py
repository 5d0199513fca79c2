"""One recipe -> points -> an executor.

A point is an ordinary run, named by what varies; `grid` makes them, `executors` run them, and
`comparison.effects` measures the results.
"""

from ft_harness.sweep.grid import SEEDS, Grid, Request, make_request, read_grid, split_overrides
from ft_harness.sweep.points import Point
