"""lm-eval model back-ends. `ft-causal`: a causal language model, each prompt and shared prefix
computed once. `ft-seqcls`: a classification head, each doc computed once for all its choices.
`ft-server`: a causal language model that servers compute."""

from ft_harness.evaluation.backends.answer_types import GeneratedText, ScoredAnswer, ScoredText
from ft_harness.evaluation.backends.causal import CausalLM, make_causal_lm
from ft_harness.evaluation.backends.classifier import ClassifierLM
from ft_harness.evaluation.backends.registration import back_end, make_lm, register_models
