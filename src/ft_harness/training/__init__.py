"""Recipe -> adapter folder: the objectives, the loop, its guards, checkpoints, forecast and cost.

`train` takes a `TrainingPlan` (recipe, base, data); `loop` has the steps.
"""

from ft_harness.training.checkpoints import check_unfinished
from ft_harness.training.distributed import sharding_problems
from ft_harness.training.forecast.footprint import count_base
from ft_harness.training.forecast.forecast import (
    Alternative,
    Forecast,
    Work,
    count_work,
    empty_base,
    make_forecast,
    time_steps,
)
from ft_harness.training.hyperparameters import (
    describe_warmup,
    hyperparameter_problems,
    ignored_by_optimizer,
    rate_problems,
)
from ft_harness.training.lineage import parent_of, parent_problems
from ft_harness.training.monitoring import track_results, tracker_problems
from ft_harness.training.plan import (
    Rows,
    TrainingPlan,
    TrainingSet,
    build_training_set,
    finished_card,
)
from ft_harness.training.run import clear_checkpoints, train
from ft_harness.training.validation import EpochScorer
