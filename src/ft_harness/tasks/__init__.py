"""Tasks: found, checked and created; few-shot examples; docs -> token ids and loss mask.

A heavy wing, except `listing` and `definition`; what reads tasks alone loads lm-eval and no torch.
Others import from its modules.
"""
