"""lm-eval model back-ends. `ft-causal`: a causal language model, each prompt and shared prefix computed once."""

from ft_harness.scoring.answers import GeneratedText, ScoredAnswer, ScoredText
from ft_harness.scoring.lm import BACK_END, causal_class, make_causal_lm
from ft_harness.scoring.registration import register_models

__all__ = [
    "BACK_END",
    "GeneratedText",
    "ScoredAnswer",
    "ScoredText",
    "causal_class",
    "make_causal_lm",
    "register_models",
]
