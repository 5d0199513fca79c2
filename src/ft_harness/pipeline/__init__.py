"""Stages strung together: check, base -> train -> tuned -> report.

The only wing that imports training, evaluation and report. Its door is light: `whole_run`,
`checks`, `reports` and what they import load no torch, nor do `shown_tasks` and `task_checks`. The
modules behind the door are imported inside the function that needs them.
"""
