"""The back-end `ft-server`: scores that OpenAI-style servers compute, vLLM's first, proven equal to
the weights' before anything is scored."""

from ft_harness.evaluation.backends.server.adapters import find_name, problems
from ft_harness.evaluation.backends.server.lm import ServerLM
from ft_harness.evaluation.backends.server.proof import (
    PROBES,
    Probes,
    make_probes,
    prove_adapter,
    prove_base,
    state_agreement,
)
from ft_harness.evaluation.backends.server.served_base import ServedBase, connect, weights_fit
