"""Runs of a benchmark in processes of their own, each kept as a line of a log: started again, what
is there is not run again."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from random_llamas import SIZES


def make_parser(description: str | None, sides: Sequence[str]) -> argparse.ArgumentParser:
    """The options of a benchmark of several sides, each of which it also runs alone."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--quick", action="store_true", help="few rows, once")
    parser.add_argument(
        "--log", type=Path, help="keeps each run; started again, goes on behind the last one"
    )
    parser.add_argument("--alone", choices=sides, help=argparse.SUPPRESS)
    return parser


def run_or_recall(
    key: dict[str, Any], arguments: Sequence[str], log: Path | None
) -> dict[str, float]:
    """The figures of one run of the benchmark with these arguments, or those that the log has.

    Args:
        key: what distinguishes the run from others in the log.
    """
    if log and log.exists():
        for kept in map(json.loads, log.read_text(encoding="utf-8").splitlines()):
            if kept["run"] == key:
                return dict(kept["found"])
    command = [sys.executable, sys.argv[0], *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{key}: {done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    line = json.dumps({"run": key, "found": found})
    print(line, file=sys.stderr, flush=True)
    if log:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
    return found
