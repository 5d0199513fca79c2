"""Write the bundled demo data: five small tasks, three splits each, the same bytes on every run.

    python tools/make_demo_data.py --out src/ft_harness/bundled/data

Everything comes from the word banks and templates in `tools/demo_data`, and from one seed (`SEED`
in `tools/demo_data/common.py`). The demo has to run offline and its data has to be free to share,
so no text is copied from anywhere.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from demo_data import nli, preference, qa, sentiment, zh
from demo_data.common import SIZES, Row, Split

TASKS: dict[str, Callable[[Split, int], list[Row]]] = {
    "demo_sentiment": sentiment.rows,
    "demo_nli": nli.rows,
    "demo_qa": qa.rows,
    "demo_zh": zh.rows,
    "demo_preference": preference.rows,
}


def write_rows(path: Path, rows: list[Row]) -> None:
    """One JSON object per line, UTF-8, line feeds on every system: the bytes must not depend on
    where it runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes("".join(lines).encode("utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the bundled demo data.")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder that gets one subfolder per task"
    )
    out: Path = parser.parse_args().out
    for task, make in TASKS.items():
        for split, size in SIZES.items():
            write_rows(out / task / f"{split}.jsonl", make(split, size))
        print(f"{task}: " + ", ".join(f"{split} {size}" for split, size in SIZES.items()))


if __name__ == "__main__":
    main()
