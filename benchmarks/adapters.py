"""Base and three adapters from one load, against four scorings of the base and that load.

    python benchmarks/adapters.py --data DIR [--items 200] [--repeats 3] [--models 42M/32k
    150M/256k]

`DIR` holds `tokenizers/gpt2` and `snli/snli_test.csv`. Random Llamas (see random_llamas.py) and
three random adapters (r 16, all linear layers) score SNLI items by `snli_custom`, unmerged, with
all checks of an adapter, also whether it changes the answers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from random_llamas import SIZES, build_model, load_tokenizer

from ft_harness.models.base_model import load_base_model
from ft_harness.pipeline.experiment import Experiment
from ft_harness.pipeline.stages import Stage, check_experiment, score_adapter, score_base
from ft_harness.recipe import load_recipe

ADAPTERS = 3


def make_adapters(folder: Path, model: Any) -> list[Path]:
    """Folders of plain PEFT adapters with random weights on both sides."""
    import torch
    from peft import LoraConfig, get_peft_model

    folders: list[Path] = []
    for number in range(ADAPTERS):
        torch.manual_seed(number + 1)
        config = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        tuned = get_peft_model(model, config)
        for name, weights in tuned.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weights, std=0.02)
        folders.append(folder / f"adapter-{number}")
        tuned.save_pretrained(folders[-1])
        tuned.unload()
    return folders


def prepare(folder: Path, name: str, options: argparse.Namespace) -> tuple[Path, list[Path]]:
    """The recipe of one model, and the folders of its adapters."""
    model = build_model(name)
    model.save_pretrained(folder / "model")
    load_tokenizer(options.data, name).save_pretrained(folder / "model")
    recipe = folder / "recipe.yaml"
    source = folder / "snli"
    source.mkdir()
    for split in ("train", "test"):  # what is trained on plays no part
        (source / f"{split}.csv").symlink_to(options.data.resolve() / "snli" / "snli_test.csv")
    recipe.write_text(
        f"model: {{pretrained: {folder / 'model'}}}\ntask: {{name: snli_custom}}\n"
        f"data: {{source: {source}}}\n"
        f"eval: {{splits: [test], limit: {options.items}, batch_size: 16}}\n"
    )
    return recipe, make_adapters(folder, model)


def time_once(recipe: Path, adapters: list[Path], out: Path) -> dict[str, float]:
    """Seconds of one load, of scoring the base, and of checking, proving and scoring all
    adapters."""
    experiment = Experiment("benchmark", load_recipe(recipe), recipe, out, "")
    checked = check_experiment(experiment, trains=False)
    start = time.perf_counter()
    stage = Stage(experiment, checked, load_base_model(experiment.recipe.model))
    loaded = time.perf_counter()
    score_base(stage, lambda _: None)
    scored = time.perf_counter()
    for folder in adapters:
        score_adapter(stage, folder, lambda _: None)
    end = time.perf_counter()
    return {"load_s": loaded - start, "base_s": scored - loaded, "adapters_s": end - scored}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES))
    options = parser.parse_args()
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            recipe, adapters = prepare(Path(folder), name, options)
            times = [
                time_once(recipe, adapters, Path(folder) / f"out-{i}")
                for i in range(options.repeats + 1)
            ][1:]
        ratios = [
            sum(each.values()) / (each["load_s"] + (1 + ADAPTERS) * each["base_s"])
            for each in times
        ]
        parts = {key: round(statistics.median(each[key] for each in times), 2) for key in times[0]}
        print(
            json.dumps(
                {
                    "model": name,
                    "items": options.items,
                    **parts,
                    "ratio": round(statistics.median(ratios), 3),
                }
            )
        )


if __name__ == "__main__":
    main()
