"""Learning from pairs: ours and TRL's DPOTrainer in one run, each in processes of its own, in turn.

    python benchmarks/preference.py --data DIR [--quick] [--rows 96] [--repeats 3]
                                    [--models 42M/32k 150M/256k] [--batches 16 4]
                                    [--dtype bfloat16] [--log FILE]
    python benchmarks/preference.py --agree

`DIR` holds `tokenizers/gpt2` and `imdb/imdb_train.jsonl.gz`. Random Llamas (see random_llamas.py)
learn pairs made of reviews for one epoch: the prompt is a review's first 80 words, the chosen
answer what follows, the rejected one what follows in another review (15 to 60 words each). LoRA
r 16 on all linear layers from the same start, 16 pairs a step, AdamW, beta 0.1, the same token ids,
in the same steps of pairs of like length. Both compute the references once, before the training;
TRL (`pip install trl`) with `precompute_ref_log_probs`, without gradient checkpointing, weights in
the given dtype and autocast to it. A step is computed 16 pairs at once, or 4 (`--batches`): the best of
each side counts for speed, and the leanest for memory. Time is that of the references and the
training loop. Tokens are those of prompts and answers, without padding.

`--agree` compares losses, rewards and gradients of one batch for every loss that both have, on the
bundled model and its pairs: in float32, and with all weights in float64 (norms and our
log-likelihoods stay float32); and how far either side's gradients in float32 are from TRL's in
float64.

With `--log` each run is kept as a line of the file; started again, what is there is not run again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from random_llamas import build_model, load_tokenizer
from recorded_runs import make_parser, run_or_recall

Gradients = Mapping[str, Any]  # parameter -> its gradient

SIDES = ("ours", "trl")
STEP, BETA, LEARNING_RATE = 16, 0.1, 1e-4
QUICK_ROWS = 32
LOSSES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # ours, TRL's
    "sigmoid": ({}, {"loss_type": ["sigmoid"]}),
    "sigmoid, label_smoothing": (
        {"label_smoothing": 0.1}, {"loss_type": ["robust"], "label_smoothing": 0.1},
    ),
    "ipo": ({"loss": "ipo"}, {"loss_type": ["ipo"]}),
    "sigmoid_norm": ({"loss": "sigmoid_norm"}, {"loss_type": ["sigmoid_norm"]}),
    "sigmoid, sft_weight": (
        {"sft_weight": 0.3}, {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.3]},
    ),
}  # fmt: skip

# --- what both learn ------------------------------------------------------------------------------


def write_pairs(data: Path, target: Path, rows: int) -> None:
    """Pairs of IMDB reviews, the same for each call."""
    with gzip.open(data / "imdb" / "imdb_train.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"].split() for line in islice(lines, 4 * rows)]
    long = [words for words in texts if len(words) > 160][: rows + 1]
    with target.open("w", encoding="utf-8") as file:
        for number in range(len(long) - 1):
            sizes = [15 + (37 * number + 23 * side) % 46 for side in range(2)]
            answers = [" ".join(long[number + side][80 : 80 + sizes[side]]) for side in range(2)]
            pair = {
                "prompt": " ".join(long[number][:80]),
                "chosen": answers[0],
                "rejected": answers[1],
            }
            file.write(json.dumps(pair) + "\n")


def prepare(folder: Path, options: argparse.Namespace) -> Any:
    """An experiment on a saved random model, checked, its base loaded."""
    from ft_harness.models.base_model import load_base_model
    from ft_harness.pipeline.experiment import Experiment
    from ft_harness.pipeline.stages import Stage, check_experiment
    from ft_harness.recipe import load_recipe

    (name,), (batch,) = options.models, options.batches
    build_model(name, options.dtype).save_pretrained(folder / "model")
    load_tokenizer(options.data, name).save_pretrained(folder / "model")
    source = folder / "pairs"
    source.mkdir()
    for split, rows in (("train", options.rows), ("test", 2)):
        write_pairs(options.data, source / f"{split}.jsonl", rows)
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"model: {{pretrained: {folder / 'model'}, dtype: {options.dtype}}}\n"
        f"task: {{name: preference_custom}}\ndata: {{source: {source}, validation_size: 2}}\n"
        "adapter: {r: 16, lora_alpha: 32, lora_dropout: 0.0, target_modules: all-linear}\n"
        f"train: {{objective: preference, preference: {{beta: {BETA}}}, num_train_epochs: 1,\n"
        f"  learning_rate: {LEARNING_RATE}, per_device_train_batch_size: {batch},\n"
        f"  gradient_accumulation_steps: {STEP // batch}, save_steps: 1000000}}\n"
        "eval: {splits: [test], limit: 1}\n"
    )
    experiment = Experiment("benchmark", load_recipe(recipe), recipe, folder, "")
    checked = check_experiment(experiment, trains=True)
    return Stage(experiment, checked, load_base_model(experiment.recipe.model))


def in_steps(pairs: list[Any]) -> list[Any]:
    """The pairs in the order in which our side reads them."""
    from ft_harness.training.batches import steps_of_epoch

    lengths = [len(pair.input_ids) for pair in pairs]
    steps = steps_of_epoch(lengths, STEP, seed=0, epoch=0)
    return [pairs[number] for step in steps for number in step]


def as_columns(pairs: list[Any]) -> Any:
    """TRL's own columns of token ids."""
    from datasets import Dataset

    return Dataset.from_list(
        [
            {
                "prompt_ids": pair.chosen.context_ids,
                "chosen_ids": pair.chosen.answer_ids,
                "rejected_ids": pair.rejected.answer_ids,
            }
            for pair in pairs
        ]
    )


def make_trainer(base: Any, pairs: list[Any], folder: Path, **settings: Any) -> Any:
    """TRL's trainer on token ids that are there already."""
    from peft import LoraConfig
    from trl import DPOConfig, DPOTrainer

    class OnTokens(DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    config = DPOConfig(
        **{
            "output_dir": str(folder / "peer"), "learning_rate": LEARNING_RATE, "num_train_epochs": 1,
            "lr_scheduler_type": "linear", "warmup_steps": 0.05, "use_cpu": True, "seed": 0,
            "save_strategy": "no", "report_to": "none", "logging_steps": 1, "disable_tqdm": True,
            "train_sampling_strategy": "sequential", "gradient_checkpointing": False,
            "max_length": None, "precompute_ref_log_probs": True, "beta": BETA, **settings,
        }
    )  # fmt: skip
    lora = LoraConfig(
        r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return OnTokens(
        model=base.model, args=config, train_dataset=as_columns(pairs),
        processing_class=base.tokenizer, peft_config=lora,
    )  # fmt: skip


# --- speed and memory -----------------------------------------------------------------------------


def run_alone(options: argparse.Namespace) -> dict[str, float]:
    """Train once with one side: seconds of everything and of the loop, peak memory, last loss."""
    import torch

    from ft_harness.models.adapters import read_history
    from ft_harness.models.memory import peak_rss_bytes, reset_peaks
    from ft_harness.training import train

    with tempfile.TemporaryDirectory() as place:
        folder, (batch,) = Path(place), options.batches
        stage = prepare(folder, options)
        plan = stage.training_plan()
        pairs = plan.data.examples
        reset_peaks()
        start = time.perf_counter()
        if options.alone == "ours":
            loop = train(plan, stage.experiment.folder).cost.seconds
            last = read_history(stage.experiment.folder)[-1].loss
        else:
            torch.manual_seed(0)
            trainer = make_trainer(
                stage.base, in_steps(pairs), folder, bf16=options.dtype == "bfloat16",
                per_device_train_batch_size=batch, gradient_accumulation_steps=STEP // batch,
            )  # fmt: skip
            begun = time.perf_counter()
            trainer.train()
            loop = time.perf_counter() - begun
            last = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry][-1]
        seconds, peak = time.perf_counter() - start, peak_rss_bytes() / 2**20
        tokens = sum(len(pair.input_ids) for pair in pairs)
        return {"tokens_per_s": tokens / seconds, "loop_tokens_per_s": tokens / loop,
                "peak_mib": peak, "loss": last, "tokens": tokens}  # fmt: skip


def run(name: str, side: str, batch: int, repeat: int, options: Any) -> dict[str, float]:
    key = {"model": name, "side": side, "batch": batch, "repeat": repeat, "rows": options.rows,
           "dtype": options.dtype}  # fmt: skip
    arguments = [
        "--data", str(options.data), "--rows", str(options.rows), "--models", name, "--batches", str(batch),
        "--dtype", options.dtype, "--alone", side,
    ]  # fmt: skip
    return run_or_recall(key, arguments, options.log)


def compare(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Medians over the repeats; each side with its quickest and its leanest batch."""
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for repeat in range(options.repeats):
        for side in SIDES:
            for batch in options.batches:
                figures = run(name, side, batch, repeat, options)
                found.setdefault((side, batch), []).append(figures)
    row: dict[str, Any] = {"model": name, "rows": options.rows, "dtype": options.dtype}
    best: dict[str, tuple[float, float, float]] = {}
    for side in SIDES:
        medians = [
            [
                statistics.median(each[key] for each in found[side, batch])
                for key in ("tokens_per_s", "loop_tokens_per_s", "peak_mib")
            ]
            for batch in options.batches
        ]
        best[side] = (
            max(m[0] for m in medians),
            max(m[1] for m in medians),
            min(m[2] for m in medians),
        )
        row |= {
            f"{side}_tokens_per_s": round(best[side][0], 1),
            f"{side}_peak_mib": round(best[side][2]),
        }
        row[f"{side}_loss"] = round(found[side, options.batches[0]][0]["loss"], 4)
    ours, peer = best["ours"], best["trl"]
    return row | {
        "speed": round(ours[0] / peer[0], 2),
        "speed_of_loop": round(ours[1] / peer[1], 2),
        "memory": round(ours[2] / peer[2], 3),
    }


# --- agreement ------------------------------------------------------------------------------------


def agree() -> Iterator[dict[str, Any]]:
    """For each loss the relative difference of its value, the difference of the mean margin of
    rewards in nats, and the length of the difference of all gradients over that of TRL's; at last
    how far both gradients in float32 are from TRL's in float64, which is what rounding does."""
    with tempfile.TemporaryDirectory() as place:
        for name in LOSSES:
            found, ours, theirs = compare_loss(name, "float32", Path(place))
            yield found
            found, _, exact = compare_loss(name, "float64", Path(place))
            yield found
            yield {
                "loss": name,
                "our_rounding": _distance(ours, exact),
                "trl_rounding": _distance(theirs, exact),
            }


def compare_loss(
    name: str, dtype: str, folder: Path
) -> tuple[dict[str, Any], Gradients, Gradients]:
    """(the differences, our gradients, TRL's) of one batch, from the same weights of the adapter in
    either format."""
    import torch
    from peft import set_peft_model_state_dict

    from ft_harness.models.base_model import load_base_model
    from ft_harness.recipe import Recipe
    from ft_harness.tasks.finding import find_task
    from ft_harness.tasks.loading import load_tasks
    from ft_harness.tasks.pair_examples import build_pairs
    from ft_harness.training import TrainingPlan, TrainingSet
    from ft_harness.training.adapter_model import adapter_model
    from ft_harness.training.batches import Share
    from ft_harness.training.objectives import make_objective
    from ft_harness.training.reference import with_references

    ours, theirs = LOSSES[name]
    adapter = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0}
    recipe = Recipe.model_validate(
        {
            "task": {"name": "demo_preference"},
            "adapter": adapter,
            "train": {"objective": "preference", "preference": {"beta": BETA, **ours}},
        }
    )
    base, peer = (load_base_model(recipe.model) for _ in range(2))
    for each in (base.model, peer.model):
        each.to(getattr(torch, dtype))
    task = load_tasks(find_task("demo_preference"), ["test"])["test"]
    pairs = build_pairs(task, list(task.eval_docs)[:12], base.tokenizer, base.max_length, eos=False)
    trainer = make_trainer(
        peer, pairs, folder, bf16=False, per_device_train_batch_size=12, **theirs
    )
    objective = make_objective(base, recipe.train.preference)
    with adapter_model(recipe, base) as model:
        plan = TrainingPlan(recipe, base, TrainingSet(pairs, [], "task"))
        known = with_references(plan, model, None, Share(12)).data.examples
        torch.manual_seed(1)
        trained = {n: each for n, each in model.named_parameters() if each.requires_grad}
        for each in trained.values():  # the same numbers in either format
            each.data.copy_(0.02 * torch.randn(each.shape))
        state = {n.replace(".default", ""): each.detach().clone() for n, each in trained.items()}
        model.train()
        batch = objective.collate(known)
        sums = objective.sums(
            model, {k: v for k, v in batch.items() if k != "labels"}, batch["labels"]
        )
        loss = objective.mean_loss(model, batch)
        loss.backward()
        gradients = {n: each.grad.clone() for n, each in trained.items()}
    set_peft_model_state_dict(trainer.model, state)
    trainer.model.train()
    rows = [trainer.train_dataset[number] for number in range(len(pairs))]
    expected = trainer.compute_loss(trainer.model, trainer.data_collator(rows))
    expected.backward()
    others = {n: p.grad for n, p in trainer.model.named_parameters() if p.grad is not None}
    assert others.keys() == gradients.keys()
    margin = trainer._metrics["train"]["rewards/margins"][-1]
    found = {
        "loss": name,
        "dtype": dtype,
        "value": round(float(expected), 6),
        "loss_difference": abs(float(loss) - float(expected)) / abs(float(expected)),
        "margin": round(margin, 6),
        "margin_difference": abs(float(sums[-1]) / len(pairs) - margin),
        "gradient_difference": _distance(gradients, others),
    }
    return found, gradients, others


def _distance(gradients: Gradients, others: Gradients) -> float:
    """Length of the difference of all gradients over that of the others."""
    apart = {name: gradients[name].double() - other for name, other in others.items()}
    return _length(apart) / _length(others)


def _length(gradients: Gradients) -> float:
    return float(sum(each.double().square().sum() for each in gradients.values()) ** 0.5)


def main() -> None:
    parser = make_parser(__doc__, SIDES)
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 4])
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--agree", action="store_true")
    options = parser.parse_args()
    if options.agree:
        for found in agree():
            print(json.dumps(found), flush=True)
        return
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
