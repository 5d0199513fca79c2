"""What a training will do, need and take, before it starts: steps, memory part by part, time."""

from ft_harness.training.forecast.forecast import (
    Alternative,
    Forecast,
    Work,
    count_base,
    count_work,
    empty_base,
    make_forecast,
    time_steps,
)
