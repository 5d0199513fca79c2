"""A sweep of 12 points against 12 `ft-harness run` commands of the same recipes, in one run.

    python benchmarks/sweep.py [--points 12] [--steps 60] [--commands 12]

The bundled model learns `demo_sentiment` with 12 learning rates; each point trains `--steps` steps
of 16 rows and is scored on validation and test. Both sides work in folders of their own that are
empty before. With fewer `--commands` these are run, and the others are taken as their mean. `share`
is the sweep's CPU time divided by that of the commands, as wall time changes with whatever else the
machine does; it is to be at most 0.6.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPE = """\
model: {{pretrained: bundled}}
task: {{name: demo_sentiment}}
train: {{max_steps: {steps}, num_train_epochs: 100}}
eval: {{splits: [validation, test]}}
"""
SHARE = 0.6


def spent() -> float:
    """CPU seconds of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(folder: Path, *arguments: str) -> tuple[float, float]:
    """(CPU seconds, wall seconds) of one command."""
    before, started = spent(), time.monotonic()
    command = [sys.executable, "-m", "ft_harness", *arguments, "--out", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return spent() - before, time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=12)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--commands", type=int, default=12)
    options = parser.parse_args()
    rates = [f"{0.0002 * (number + 1):.4f}" for number in range(options.points)]
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "mine" / "recipe.yaml"
        recipe.parent.mkdir()
        recipe.write_text(RECIPE.format(steps=options.steps))
        several = f"train.learning_rate={','.join(rates)}"
        swept = run(Path(folder) / "swept", "sweep", str(recipe), "--set", several)
        apart = [
            run(
                Path(folder) / f"run-{rate}", "run", str(recipe), "--name", f"mine-{rate}",
                "--set", f"train.learning_rate={rate}",
            )
            for rate in rates[: options.commands]
        ]  # fmt: skip
    mean = [sum(each[kind] for each in apart) / len(apart) for kind in (0, 1)]
    print(f"a command: {mean[0]:.1f} s of CPU, {mean[1]:.1f} s ({len(apart)} were run)")
    print(f"the sweep of {len(rates)}: {swept[0]:.1f} s of CPU, {swept[1]:.1f} s")
    share = swept[0] / (mean[0] * len(rates))
    print(
        f"share {share:.2f} (at most {SHARE}); of wall time {swept[1] / (mean[1] * len(rates)):.2f}"
    )
    sys.exit(share > SHARE)


if __name__ == "__main__":
    main()
