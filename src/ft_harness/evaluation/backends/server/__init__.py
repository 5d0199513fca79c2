"""The back-end `ft-server`: scores computed by OpenAI-style servers (vLLM in the first place),
proven equal to the weights' before anything is scored."""

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
