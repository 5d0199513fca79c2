"""A sweep of 12 points against 12 `ft-harness run` commands of the same recipes, one after the
other, in one run.

    python benchmarks/sweep.py [--points 12] [--steps 60]

The bundled model learns `demo_sentiment` with 12 learning rates; each point trains `--steps` steps
of 16 rows and is scored on validation and test. Both sides work in folders of their own that are
empty before. `share` is the sweep's time divided by that of the commands; it is to be at most 0.6.
"""

from __future__ import annotations

import argparse
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


def run(folder: Path, *arguments: str) -> float:
    """Seconds of one command."""
    started = time.monotonic()
    command = [sys.executable, "-m", "ft_harness", *arguments, "--out", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=12)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    rates = [f"{0.0002 * (number + 1):.4f}" for number in range(options.points)]
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "mine" / "recipe.yaml"
        recipe.parent.mkdir()
        recipe.write_text(RECIPE.format(steps=options.steps))
        swept = run(
            Path(folder) / "swept",
            "sweep",
            str(recipe),
            "--set",
            f"train.learning_rate={','.join(rates)}",
        )
        apart = [
            run(
                Path(folder) / f"run-{rate}", "run", str(recipe), "--name", f"mine-{rate}",
                "--set", f"train.learning_rate={rate}",
            )
            for rate in rates
        ]  # fmt: skip
    print(f"{options.points} commands: {sum(apart):.1f} s, {sum(apart) / len(apart):.1f} s each")
    print(f"one sweep: {swept:.1f} s")
    share = swept / sum(apart)
    print(f"share {share:.2f} (at most {SHARE})")
    sys.exit(share > SHARE)


if __name__ == "__main__":
    main()
