"""Stages strung together: check, base -> train -> tuned -> report.

The only wing that imports training, evaluation and report. Its door is light: `experiment`,
`reports` and `explanations` load no torch; the command line imports the other modules inside the
command that needs them.
"""
