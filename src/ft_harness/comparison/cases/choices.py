"""What the choices of an item are called in cases: by the task's labels, by their answers, or by
number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ft_harness.comparison.cases.traits import read_log_likelihoods
from ft_harness.records import Sample

# fields of a doc that holds a pair of answers, in the order of their log-likelihoods
_PAIR = ("chosen", "rejected")


def name_choices(
    labels: Sequence[str] | None,
    sides: Sequence[tuple[Sequence[float], str | None]],
    words: Mapping[str, str],
) -> list[str]:
    """The choices of an item under the names of its labels, else those that the answers give away,
    else numbers.

    Args:
        labels: of the item's doc; None: it has none.
        sides: the log-likelihoods of the choices and the answer, of base and of tuned.
        words: the answer words of labels, as far as they are known.
    """
    if labels is not None:
        return [
            label if words.get(label, label) == label else f"{label} ({words[label]})"
            for label in labels
        ]
    # An answer is the text of the choice with the largest log-likelihood, so that two sides name at
    # most two of the choices.
    names = [f"choice {number}" for number in range(1, len(sides[0][0]) + 1)]
    for values, answer in sides:
        names[int(np.argmax(values))] = answer or names[int(np.argmax(values))]
    return names


def read_labels(sample: Sample) -> list[str] | None:
    """The names of choices that the task's labels give, if the doc has one for each; of a pair of
    answers the fields that hold them."""
    return _labels_of(sample, len(read_log_likelihoods(sample) or []))


def _labels_of(sample: Sample, choices: int) -> list[str] | None:
    labels = sample.doc.get("label_names")
    if labels is None and choices == len(_PAIR) and sample.doc.keys() >= set(_PAIR):
        return list(_PAIR)
    if not choices or not isinstance(labels, list) or len(labels) != choices:
        return None
    return [str(label) for label in labels]


def note_word(words: dict[str, str], sample: Sample) -> None:
    """Add to the names of choices the word with which a label is answered, where this sample's
    answer tells it."""
    values = read_log_likelihoods(sample) or []
    labels = _labels_of(sample, len(values))
    # the fields of a pair name an answer's place: there is no word that always stands for them
    if labels and labels != list(_PAIR) and sample.prediction is not None:
        words[labels[int(np.argmax(values))]] = sample.prediction
