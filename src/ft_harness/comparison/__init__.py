"""Records -> comparable pairs -> measurements -> a study: cases, slices, repeats, power, sentences,
cautions, verdicts.

Needs neither torch nor lm-eval."""
