"""What a caution is about, in a word or two: each remark is written by its own function."""

from __future__ import annotations

import pytest

from ft_harness.comparison import remarks
from ft_harness.comparison.remarks import Recall, kind_of
from tests.builders.study import make_row

ROW = make_row("t", "test", "acc", (0.3, 0.6))
COLLAPSED = remarks.remark_collapse((["a", "b"], ["a", "a"]), ["a", "b"], "", None)


@pytest.mark.parametrize(
    ("remark", "kind"),
    [
        (remarks.remark_unscored(2, 9), "items left out"),
        (remarks.remark_majority(0.5, (-0.1, 0.1)), "not above majority"),
        (remarks.remark_less_likely(-1.0, ROW), "chosen less likely"),
        (remarks.remark_empty("tuned", [""]), "no answers"),
        (COLLAPSED[0], "one answer only"),
        (remarks.remark_lost_classes([Recall("a", 0.9, 0.1, 0.01, True)], None), "recall fell"),
        (remarks.remark_format("an unreadable base answer", 5, 8), "gain of format"),
        (remarks.remark_overlap(ROW, ROW, 3, 5), "items trained on"),
        (remarks.remark_overlap(ROW, ROW, 1, 0), "items trained on"),
        (remarks.remark_cut("tuned"), "answers cut"),
        (remarks.remark_overfitting("acc", ROW, ROW), "overfitting"),
        (remarks.remark_choosing(None, "validation"), "used for choosing"),
        (remarks.remark_choosing("it was stopped early", "test"), "used for choosing"),
        (f"{remarks.BLEU_OF_SHORT_ANSWERS}: another metric should lead.", "BLEU of short answers"),
        ("Something new.", "caution"),
    ],
)
def test_every_remark_has_a_kind(remark: str | None, kind: str):
    assert kind_of(remark or "") == kind
