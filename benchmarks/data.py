"""Seconds and peak memory of reading 100,000 and 1,000,000 rows, next to
`datasets.load_dataset("json")`.

    python benchmarks/data.py [ROWS ...]

Each reading runs in a process of its own; CPU seconds count where the machine is shared; memory is the peak resident set above that of the
imports.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

WORDS = (
    "a",
    "small",
    "old",
    "child",
    "film",
    "house",
    "river",
    "story",
    "quiet",
    "never",
    "found",
    "lost",
    "and",
    "but",
)
OURS = """
from ft_harness.data import load_splits
import pyarrow, datasets
baseline = peak()
start, cpu = time.perf_counter(), time.process_time()
splits = load_splits({"source": FILE, "columns": {"text": [], "label": []}, "labels": ["negative", "positive"]})
"""
PEER = """
import datasets, pyarrow
baseline = peak()
start, cpu = time.perf_counter(), time.process_time()
splits = datasets.load_dataset("json", data_files=FILE, cache_dir=CACHE)
"""
FRAME = """
import os, resource, sys, time
os.environ["HF_HUB_OFFLINE"] = "1"
FILE, CACHE = sys.argv[1:]
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
{code}
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
print(sum(len(split) for split in splits.values()), seconds, cpu, peak() - baseline)
"""


def write_rows(path: Path, rows: int) -> None:
    """Rows of 6 to 40 words, some 130 characters, with a label."""
    draw = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for index in range(rows):
            text = " ".join(draw.choices(WORDS, k=draw.randint(6, 40)))
            file.write(
                json.dumps({"id": index, "text": f"{text} {index}", "label": index % 2}) + "\n"
            )


def measure(code: str, path: Path) -> tuple[int, float, float, float]:
    """(rows, seconds, CPU seconds, MiB above the imports) of one reading in a fresh process."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-c", FRAME.format(code=code), str(path), cache]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows, seconds, cpu, memory = done.stdout.split()[-4:]
    return int(rows), float(seconds), float(cpu), float(memory)


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or [100_000, 1_000_000]
    print(
        f"{'rows':>10} {'MiB':>6}  {'reader':<24} {'seconds':>8} {'CPU s':>8} {'peak MiB above imports':>24}"
    )
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.jsonl"
            write_rows(path, size)
            for reader, code in (("ft_harness load_splits", OURS), ("datasets load_dataset", PEER)):
                rows, seconds, cpu, memory = measure(code, path)
                assert rows == size
                megabytes = path.stat().st_size / 2**20
                print(
                    f"{size:>10,} {megabytes:>6.0f}  {reader:<24} {seconds:>8.1f} {cpu:>8.1f} {memory:>24.0f}"
                )


if __name__ == "__main__":
    main()
