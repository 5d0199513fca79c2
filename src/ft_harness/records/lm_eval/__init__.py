"""What plain lm-eval wrote -> records and samples."""
