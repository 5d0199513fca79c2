"""The base model, its tokenizer, quantisation and heads, the adapter folder, prompt form, memory.

A heavy wing: others import from its modules and from `models.adapters` and `models.heads`.
"""
