"""Write the bundled control tasks: running text, grammar, everyday words; the same bytes on every
run.

    python tools/make_control_data.py --out src/ft_harness/bundled/data

They have a test split alone, as nothing is to be trained on them. The text in
`tools/control_data/passages.txt`, the word banks and the rules beside it were written for this.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path

from control_data import grammar, words

SEED = 20261130
Row = dict[str, object]
_PASSAGES = Path(__file__).resolve().parent / "control_data" / "passages.txt"


def passages(_: random.Random) -> list[Row]:
    """One row per line."""
    return [{"text": line} for line in _PASSAGES.read_text(encoding="utf-8").splitlines()]


TASKS: dict[str, Callable[[random.Random], list[Row]]] = {
    "control_text": passages,
    "control_grammar": grammar.rows,
    "control_words": words.rows,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the bundled control tasks.")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder that gets one subfolder per task"
    )
    out: Path = parser.parse_args().out
    for task, make in TASKS.items():
        rows = make(random.Random(f"{SEED}:{task}"))
        path = out / task / "test.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_bytes("".join(lines).encode("utf-8"))
        print(f"{task}: {len(rows)} rows")


if __name__ == "__main__":
    main()
