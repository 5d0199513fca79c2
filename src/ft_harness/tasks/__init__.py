"""Tasks: found, checked and created; few-shot examples; docs -> token ids and loss mask.

A heavy wing, except `tasks.listing`: others import from its modules.
"""
