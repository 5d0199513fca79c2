"""Recipe -> adapter folder."""

from ft_harness.training.heads import HeadExample, build_head_examples, describe_head_examples
from ft_harness.training.plan import TrainingSet, build_training_set, finished_card
from ft_harness.training.run import train

__all__ = [
    "HeadExample",
    "TrainingSet",
    "build_head_examples",
    "build_training_set",
    "describe_head_examples",
    "finished_card",
    "train",
]
