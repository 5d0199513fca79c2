"""The runs of the command line as objects for a notebook: paths as texts, results that show
themselves, progress in the cell.

`api` has the public functions, `results` what they return. Whatever loads a model runs in its own
process (`child`, which imports none of these): when a cell is done, its memory is free again.
"""
