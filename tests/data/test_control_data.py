"""The bundled control tasks: reproducible, varied, and no clue in anything but the language."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "src" / "ft_harness" / "bundled" / "data"
SIZES = {"control_text": 40, "control_grammar": 200, "control_words": 104}


def rows(task: str) -> list[dict]:
    text = (DATA / task / "test.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_committed_files_are_what_the_generator_writes(tmp_path: Path):
    script = ROOT / "tools" / "make_control_data.py"
    subprocess.run(
        [sys.executable, str(script), "--out", str(tmp_path)], check=True, capture_output=True
    )
    for task in SIZES:
        files = [folder / task / "test.jsonl" for folder in (tmp_path, DATA)]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert {path.parent.name for path in DATA.rglob("control_*/*.jsonl")} == set(SIZES)


def test_counts_and_different_prompts():
    for task, size in SIZES.items():
        found = rows(task)
        assert len(found) == len({row.get("prompt", row.get("text")) for row in found}) == size


def test_grammar_is_balanced_and_its_choices_have_as_many_words():
    found = rows("control_grammar")
    assert set(Counter(row["rule"] for row in found).values()) == {25}
    assert Counter(row["answer"] for row in found) == {0: 100, 1: 100}
    for row in found:
        assert len(row["choices"][0].split()) == len(row["choices"][1].split()), row


def test_a_word_tells_nothing_by_itself():
    """Each word that is right in one row is wrong in others; the right one is in every place."""
    found = rows("control_words")
    right = Counter(row["choices"][row["answer"]] for row in found)
    shown = Counter(choice for row in found for choice in row["choices"])
    assert all(len(set(row["choices"])) == 4 for row in found)
    assert sum(shown[word] > count for word, count in right.items()) >= 0.9 * len(right)
    assert set(Counter(row["answer"] for row in found)) == {0, 1, 2, 3}


def test_texts_are_whole_and_short_enough_for_small_contexts():
    for row in rows("control_text"):
        assert 35 <= len(row["text"].split()) <= 70
        assert row["text"].endswith(".")
