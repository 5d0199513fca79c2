"""lm-eval's private parts: all that this package uses, each with its reason.

`tasks`: templates, foreign code, the tokens of requests; it loads no torch. `models`: the `hf`
model. `command`: the command `lm_eval`. `tests/models/test_lm_eval_private.py` fails when a new
lm-eval changes one of them.
"""
