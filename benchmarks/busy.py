"""Training next to other programs: seconds on a quiet machine, with one busy process a core, with
four.

    python benchmarks/busy.py [--steps 60] [--repeats 2] [--sides ours plain]

`ft-harness train` of the bundled sentiment recipe, once as it is (`ours`: a bounded spin, see
`processes.share_cores`) and once with OpenMP's own waiting (`plain`). A busy process counts in pure
Python. The fair share of a machine of c cores with b busy processes beside the c threads of the
training is c / (c + b) of the machine, so fair seconds are quiet seconds x (c + b) / c.
Run it on a machine that has nothing else to do.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# what `share_cores` leaves alone, at the values that OpenMP has without it: GNU's runtime spins
# 30 billion times where threads are no more than cores
SIDES = {"ours": {}, "plain": {"GOMP_SPINCOUNT": "30000000000", "KMP_BLOCKTIME": "200"}}
BUSY_A_CORE = (0, 1, 4)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that never rest."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def train_seconds(side: str, steps: int) -> float:
    """Wall seconds of one training in a folder of its own."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OMP_", "GOMP_", "KMP_"))
    }
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ft_harness", "train", str(recipe()), "--name", "busy"]
        command += ["--set", f"train.max_steps={steps}", "--out", folder]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=environment | SIDES[side])
        return time.perf_counter() - start


def recipe() -> Path:
    from ft_harness.paths import bundled_recipe

    return bundled_recipe("demo-sentiment")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    quiet: dict[str, float] = {}
    print("| busy processes a core | waiting | seconds | x quiet | x fair share |")
    print("|--:|---|--:|--:|--:|")
    for each in BUSY_A_CORE:
        with busy(each * cores):
            seconds: dict[str, list[float]] = {side: [] for side in options.sides}
            for _ in range(options.repeats):
                for side in options.sides:
                    seconds[side].append(train_seconds(side, options.steps))
        for side, found in seconds.items():
            median = statistics.median(found)
            quiet.setdefault(side, median)
            ratio = median / quiet[side]
            print(f"| {each} | {side} | {median:.1f} | {ratio:.2f} | {ratio / (1 + each):.2f} |")


if __name__ == "__main__":
    main()
