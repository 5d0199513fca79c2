"""Output of plain lm-eval -> records and samples."""
