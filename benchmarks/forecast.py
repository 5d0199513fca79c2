"""The forecast of a training's peak memory beside the measured one, each training in a process of
its own.

    python benchmarks/forecast.py --data DIR [--rows 48] [--models 42M/32k 150M/256k] [--dtypes
    bfloat16 float32]

`DIR` holds `tokenizers/gpt2` and `snli/snli_dev.csv`. As in training.py random Llamas learn SNLI
rows: LoRA r 16 on all linear layers, batch 16. The peak is the resident memory of the whole process
    from before the first step on (Linux);
`made` is it without what the process held then, beside the same of the forecast: all parts but
weights and own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from random_llamas import SIZES
from training import prepare


def run_alone(options: argparse.Namespace) -> dict[str, Any]:
    """Forecast and train once."""
    from ft_harness.models.memory import peak_rss_bytes, reset_peaks, rss_bytes
    from ft_harness.training import TrainingPlan, make_forecast, train

    with tempfile.TemporaryDirectory() as folder:
        stage = prepare(Path(folder), options)
        experiment = stage.experiment
        train_section = experiment.recipe.train.model_copy(
            update={
                "per_device_train_batch_size": 16 // options.accumulation,
                "gradient_accumulation_steps": options.accumulation,
                "gradient_checkpointing": options.checkpointing,
            }
        )
        recipe = experiment.recipe.model_copy(update={"train": train_section})
        data = stage.training_plan().data
        data = replace(data, examples=data.examples[: options.rows], validation=[])
        plan = TrainingPlan(recipe, stage.base, data)
        forecast = make_forecast(plan).memory
        reset_peaks()
        before = rss_bytes() / 2**20
        train(plan, experiment.folder)
        peak = peak_rss_bytes() / 2**20
    parts = forecast.footprint.parts()
    made = (
        sum(parts[name] for name in ("adapter", "gradients", "optimizer", "activations", "logits"))
        / 2**20
    )
    return {
        "forecast_mib": round(forecast.total / 2**20),
        "peak_mib": round(peak),
        "ratio": round(forecast.total / 2**20 / peak, 3),
        "made_forecast": round(made),
        "made": round(peak - before),
        "parts": {name: size >> 20 for name, size in parts.items()} | {"own": forecast.own >> 20},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument(
        "--dtypes", nargs="+", choices=("float32", "bfloat16"), default=["bfloat16", "float32"]
    )
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--dtype", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.dtype:
        print(json.dumps(run_alone(options)))
        return
    for name in options.models:
        for dtype in options.dtypes:
            command = [
                *(
                    sys.executable,
                    __file__,
                    "--data",
                    str(options.data),
                    "--rows",
                    str(options.rows),
                ),
                *("--models", name, "--dtype", dtype, "--accumulation", str(options.accumulation)),
                *(["--checkpointing"] if options.checkpointing else []),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            print(
                json.dumps(
                    {"model": name, "dtype": dtype} | json.loads(done.stdout.splitlines()[-1])
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
