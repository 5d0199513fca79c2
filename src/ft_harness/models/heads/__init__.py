"""Classification heads: labels, modules, freshly drawn weights, and the texts that they read.

A head that the checkpoint lacks is drawn when the base model is loaded and belongs to it from then
on: the base of a tuned head is the base model with that very head, else its score could not be
repeated.
"""

from ft_harness.models.heads.inputs import (
    HeadInput,
    Texts,
    encode_texts,
    make_batch,
    read_logits,
    read_texts,
)
from ft_harness.models.heads.plan import (
    check_labels,
    claims_head,
    class_names,
    label_names,
    plan_head,
    problems,
)
from ft_harness.models.heads.types import Head, HeadPlan
from ft_harness.models.heads.weights import (
    check_adapter,
    drawn_labels,
    find_init,
    load,
    misfits,
    own_modules,
    write_init,
)
from ft_harness.records.adapter_files import HEAD_FILE
