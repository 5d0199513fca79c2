"""The runs of the command line as objects for a notebook: paths as texts, results that show
themselves, progress in the cell.

`api` has the public functions, `results` what they give back. What loads a model runs in a process
of its own (`child`, which imports nothing of these): when a cell is done, its memory is free again.
"""
