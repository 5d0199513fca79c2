"""Stages strung together: check, base -> train -> tuned -> report.

The only wing that imports training, evaluation and report. `run_or_reuse`, `checks`, `reports`,
`shown_tasks` and `task_checks` can be imported without torch; the other modules need it, so those
five import them inside functions.
"""
