"""Training: ours, TRL's SFTTrainer and the usual notebook pattern, in one run, each in processes of
its own, in turn.

    python benchmarks/training.py --data DIR [--quick] [--rows 400] [--repeats 3] [--models 42M/32k
    150M/256k]
                                  [--dtype bfloat16] [--log FILE]

`DIR` holds `tokenizers/gpt2` and `snli/snli_dev.csv`. Random Llamas (see random_llamas.py) learn
SNLI rows of `snli_custom` for one epoch: LoRA r 16 on all linear layers from the same start, batch
16, AdamW, no checkpoints, the same token ids on every side, in the same steps of rows of like
length. TRL (`pip install trl`) has the given dtype's weights with autocast to it, loss on the
answer, no gradient checkpointing; `trl_grouped` is the same in TRL's own steps (`group_by_length`
sorts all rows of 50 steps together: less padding, less mixing); the notebook pattern pads every row
to 128 tokens and takes the loss of the model's own full logits. Time is that of the training loop.
Useful tokens are those of prompts and answers, without padding. The final loss is that of the
trained model on the same 200 rows, none of which was trained on, by one function for all.

`ours_share` is the useful share of the measured matmul rate: (floating point operations that this
training needs) / seconds / (rate of a product [tokens of a batch, 512] x [512, 1408] in the given
dtype, measured behind the training by the same process). Operations needed, with N the frozen
weights of the linear layers, L those of LoRA, V the vocabulary and H the hidden size: for each
useful token 2 N forward and 2 N backward (frozen weights need no gradient, and the first layer's q,
k and v none for their input: - 6 H^2), 6 L; for each row of T tokens 12 T^2 H in each layer's
attention; for each answer token 4 H V in the output head.

With `--log` each run is kept as a line of the file; started again, what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from random_llamas import HIDDEN, INNER, SIZES, build_model, load_tokenizer
from recorded_runs import make_parser, run_or_recall

SIDES = ("ours", "trl", "trl_grouped", "notebook")
WIDTH = 128  # of a row of the notebook pattern
HELD_OUT = 200
BATCH, RANK = 16, 16
QUICK_ROWS = 96
Work = tuple[
    Callable[[], Any], Any
]  # the training, and the model whose adapter is still to be saved (None: it is)
LEARNING_RATE = 1e-3


def prepare(folder: Path, options: argparse.Namespace) -> Any:
    """An experiment on a saved random model, checked, its base loaded: the stage that all sides
    start from."""
    from ft_harness.models.base_model import load_base_model
    from ft_harness.pipeline.experiment import Experiment
    from ft_harness.pipeline.stages import Stage, check_experiment
    from ft_harness.recipe import load_recipe

    (name,) = options.models
    build_model(name, options.dtype).save_pretrained(folder / "model")
    load_tokenizer(options.data, name).save_pretrained(folder / "model")
    source = folder / "snli"
    source.mkdir()
    for split in ("train", "validation", "test"):
        (source / f"{split}.csv").symlink_to(options.data.resolve() / "snli" / "snli_dev.csv")
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"model: {{pretrained: {folder / 'model'}, dtype: {options.dtype}}}\ntask: {{name: snli_custom}}\n"
        f"data: {{source: {source}, train_size: {options.rows + HELD_OUT}}}\n"
        "adapter: {r: 16, lora_alpha: 32, lora_dropout: 0.0, target_modules: all-linear}\n"
        f"train: {{learning_rate: {LEARNING_RATE}, num_train_epochs: 1, save_steps: 1000000}}\n"
        "eval: {splits: [test], limit: 1}\n"
    )
    experiment = Experiment("benchmark", load_recipe(recipe), recipe, folder, "")
    return Stage(
        experiment,
        check_experiment(experiment, trains=True),
        load_base_model(experiment.recipe.model),
    )


def train_ours(stage: Any, rows: list[Any]) -> Work:
    from dataclasses import replace

    from ft_harness.training import train

    plan = stage.training_plan()
    plan = replace(plan, data=replace(plan.data, examples=rows, validation=[]))
    return lambda: train(plan, stage.experiment.folder), None


def _lora() -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def _shared_arguments(stage: Any) -> dict[str, Any]:
    return {
        "output_dir": str(stage.experiment.out / "peer"), "learning_rate": LEARNING_RATE, "num_train_epochs": 1,
        "per_device_train_batch_size": 16, "lr_scheduler_type": "linear", "warmup_steps": 0.05, "use_cpu": True,
        "save_strategy": "no", "report_to": "none", "logging_steps": 1, "disable_tqdm": True, "seed": 0,
        "train_sampling_strategy": "sequential",
    }  # fmt: skip


def in_steps(rows: list[Any]) -> list[Any]:
    """The rows in the order in which our side reads them: like lengths together, each 16 rows a
    step."""
    from ft_harness.training.batches import steps_of_epoch

    lengths = [len(row.input_ids) for row in rows]
    return [
        rows[number] for step in steps_of_epoch(lengths, BATCH, seed=0, epoch=0) for number in step
    ]


def train_trl(stage: Any, rows: list[Any], order: str = "sequential") -> Work:
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    data = Dataset.from_list(
        [
            {
                "input_ids": ids_of(row),
                "completion_mask": [int(label != -100) for label in marks(row)],
            }
            for row in in_steps(rows)
        ]
    )
    shared = _shared_arguments(stage) | {"train_sampling_strategy": order}
    config = SFTConfig(
        **shared, bf16=stage.base.info.dtype == "bfloat16", gradient_checkpointing=False,
        completion_only_loss=True, max_length=None,
    )  # fmt: skip
    torch.manual_seed(0)  # the adapter that is drawn next is ours
    trainer = SFTTrainer(
        model=stage.base.model, args=config, train_dataset=data, processing_class=stage.base.tokenizer,
        peft_config=_lora(),
    )  # fmt: skip
    return trainer.train, trainer.model


def train_notebook(stage: Any, rows: list[Any]) -> Work:
    import torch
    from peft import get_peft_model
    from transformers import Trainer, TrainingArguments

    def pad(row: Any) -> dict[str, Any]:
        space = WIDTH - len(ids_of(row))
        return {
            "input_ids": torch.tensor(ids_of(row) + [0] * space),
            "attention_mask": torch.tensor([1] * (WIDTH - space) + [0] * space),
            "labels": torch.tensor(marks(row) + [-100] * space),
        }

    torch.manual_seed(0)
    model = get_peft_model(stage.base.model, _lora())
    arguments = TrainingArguments(**_shared_arguments(stage))
    trainer = Trainer(
        model=model, args=arguments, train_dataset=[pad(row) for row in in_steps(rows)]
    )
    return trainer.train, model


def ids_of(row: Any) -> list[int]:
    """All token ids of a row: our examples leave the last one out, which is a label only."""
    return [*row.input_ids, row.answer_ids[-1]]


def marks(row: Any) -> list[int]:
    """A label for each token of a row, -100 where nothing is learnt (the model shifts them
    itself)."""
    return [-100] * (len(ids_of(row)) - len(row.answer_ids)) + list(row.answer_ids)


MAKERS: dict[str, Callable[[Any, list[Any]], Work]] = {
    "ours": train_ours,
    "trl": train_trl,
    "trl_grouped": partial(train_trl, order="group_by_length"),
    "notebook": train_notebook,
}


def loss_of(stage: Any, rows: list[Any]) -> float:
    """Mean loss per answer token in float32, row by row, of the saved adapter on a fresh load of
    the base."""
    import torch
    from peft import PeftModel

    from ft_harness.models.base_model import load_base_model

    fresh = load_base_model(stage.experiment.recipe.model).model
    model = PeftModel.from_pretrained(fresh, stage.experiment.folder)
    total, count = 0.0, 0
    model.eval()
    for row in rows:
        ids, labels = torch.tensor([ids_of(row)]), marks(row)
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0].float()
        for place, label in enumerate(labels):
            if label != -100:
                total -= float(logits[place - 1].log_softmax(-1)[label])
                count += 1
    return total / count


def run_alone(options: argparse.Namespace) -> dict[str, float]:
    """Train once with one side: useful tokens a second, peak resident memory, loss on held-out
    rows."""
    import torch

    from ft_harness.models.memory import peak_rss_bytes, reset_peaks

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        stage = prepare(Path(folder), options)
        examples = stage.training_plan().data.examples
        rows, held_out = examples[: options.rows], examples[options.rows :]
        work, tuned = MAKERS[options.alone](stage, rows)
        reset_peaks()
        start = time.perf_counter()
        card = work()
        seconds = card.cost.seconds if tuned is None else time.perf_counter() - start
        peak = peak_rss_bytes() / 2**20
        if tuned is not None:
            tuned.save_pretrained(stage.experiment.folder)
        tokens = sum(len(ids_of(row)) for row in rows)
        rate = matmul_rate(options.dtype, tokens * BATCH // len(rows))
        return {
            "tokens_per_s": tokens / seconds,
            "peak_mib": peak,
            "loss": loss_of(stage, held_out[:HELD_OUT]),
            "share": needed_operations(options.models[0], rows) / seconds / rate,
            "matmul_gflops": rate / 1e9,
        }


def needed_operations(name: str, rows: list[Any]) -> float:
    """Floating point operations of one epoch; see the formula above."""
    vocabulary, layers = SIZES[name]
    frozen = layers * (4 * HIDDEN**2 + 3 * HIDDEN * INNER)
    learnt = layers * RANK * (4 * 2 * HIDDEN + 3 * (HIDDEN + INNER))
    lengths = [len(row.input_ids) for row in rows]
    answers = sum(len(row.answer_ids) for row in rows)
    each_token = 4 * frozen - 6 * HIDDEN**2 + 6 * learnt
    attention = 12 * HIDDEN * layers * sum(length**2 for length in lengths)
    return float(each_token * sum(lengths) + attention + 4 * HIDDEN * vocabulary * answers)


def matmul_rate(dtype: str, tokens: int) -> float:
    """Floating point operations a second of the model's commonest product, the best of 5 tries."""
    import torch

    left = torch.randn(tokens, HIDDEN, dtype=getattr(torch, dtype))
    right = torch.randn(INNER, HIDDEN, dtype=getattr(torch, dtype))
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(50):
            torch.nn.functional.linear(left, right)
        best = min(best, (time.perf_counter() - start) / 50)
    return 2 * tokens * HIDDEN * INNER / best


def run(name: str, side: str, repeat: int, options: argparse.Namespace) -> dict[str, float]:
    key = {
        "model": name,
        "side": side,
        "repeat": repeat,
        "rows": options.rows,
        "dtype": options.dtype,
    }
    arguments = [
        "--data", str(options.data), "--rows", str(options.rows), "--models", name, "--dtype", options.dtype,
        "--alone", side,
    ]  # fmt: skip
    return run_or_recall(key, arguments, options.log)


def compare(name: str, options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, list[dict[str, float]]] = {side: [] for side in options.sides}
    for repeat in range(options.repeats):
        for side in options.sides:
            found[side].append(run(name, side, repeat, options))
    row: dict[str, Any] = {"model": name, "rows": options.rows, "dtype": options.dtype}
    for side, runs in found.items():
        row |= {
            f"{side}_{key}": round(statistics.median(run[key] for run in runs), 4)
            for key in runs[0]
        }
    for peer in [side for side in options.sides if side != "ours" and "ours" in found]:
        pairs = list(zip(found["ours"], found[peer], strict=True))
        row[f"speed_vs_{peer}"] = round(
            statistics.median(a["tokens_per_s"] / b["tokens_per_s"] for a, b in pairs), 2
        )
        row[f"memory_vs_{peer}"] = round(
            statistics.median(a["peak_mib"] / b["peak_mib"] for a, b in pairs), 3
        )
    return row


def main() -> None:
    parser = make_parser(__doc__, SIDES)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data is needed")
    if options.alone:
        print(json.dumps(run_alone(options)))
        return
    if options.quick:
        options.rows, options.repeats = QUICK_ROWS, 1
    for name in options.models:
        print(json.dumps(compare(name, options)), flush=True)


if __name__ == "__main__":
    main()
