"""Recipe -> adapter folder."""

from ft_harness.training.plan import TrainingSet, build_training_set, finished_card
from ft_harness.training.run import train

__all__ = ["TrainingSet", "build_training_set", "finished_card", "train"]
