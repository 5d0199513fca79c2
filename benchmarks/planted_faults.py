"""Faults of a before/after comparison, planted on purpose, and what is said of each.

    python benchmarks/planted_faults.py [--errorbars PATH]

PATH is the command of errorbars (https://pypi.org/project/errorbars) in an environment of its own; it is given the same
evaluations in lm-eval's layout. Random models of a second, hand-made outcomes: no download, two minutes on a CPU.
The table is that of docs/why.md.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from ft_harness.comparison.aggregator import aggregate, compare  # noqa: E402
from ft_harness.errors import FtHarnessError  # noqa: E402
from ft_harness.models.adapters import attached, problems  # noqa: E402
from ft_harness.models.base_model import load_base_model  # noqa: E402
from ft_harness.pipeline.shared_formats import write_shared  # noqa: E402
from ft_harness.recipe import ModelSection  # noqa: E402
from ft_harness.records import Evaluation, Record, Sample  # noqa: E402
from tests.builders.records import LABELS, label_samples, make_record, write_evaluation  # noqa: E402
from tests.builders.tiny import save_model  # noqa: E402

PROMPTS = ["the film was good", "the cast was bad"]
CHOICES = [f" {label}" for label in LABELS]
ITEMS = 300
METRICS = ["acc", "f1_macro", "recall_negative", "recall_positive"]
Pair = tuple[Evaluation, Evaluation]


def outcomes(golds: Sequence[int], right: Sequence[bool]) -> list[Sample]:
    """Items that were answered rightly or wrongly."""
    predicted = [
        gold if is_right else 1 - gold for gold, is_right in zip(golds, right, strict=True)
    ]
    samples = label_samples(golds, predicted)
    return [
        sample.model_copy(
            update={
                "choices": CHOICES,
                "responses": [[-0.5 if at == answer else -2.0, at == answer] for at in (0, 1)],
                "doc": {"text": f"text {sample.doc_id}", "label": LABELS[gold]},
            }
        )
        for sample, answer, gold in zip(samples, predicted, golds, strict=True)
    ]


def with_scores(record: Record, samples: Sequence[Sample]) -> Record:
    """The record with the accuracy of its samples: what another program holds them against."""
    share = sum(sample.scores["acc"] == 1.0 for sample in samples) / len(samples)  # type: ignore[comparison-overlap]
    scores = [
        score.model_copy(update={"value": share, "n": len(samples)})
        if score.metric == "acc"
        else score
        for score in record.scores
    ]
    return record.model_copy(update={"scores": scores, "primary_metric": "acc"})


class Faults:
    """Each method plants one fault: the pair of evaluations that it leaves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.golds = [number % 2 for number in range(ITEMS)]
        self.count = 0

    def pair(self, base: Sequence[Sample], tuned: Sequence[Sample], name: str = "tuned") -> Pair:
        self.count += 1
        place = self.folder / f"pair{self.count}"
        records = (
            make_record(metrics=METRICS),
            make_record(name, metrics=METRICS),
        )
        first = write_evaluation(place / "base", with_scores(records[0], base), base)
        second = write_evaluation(place / "tuned", with_scores(records[1], tuned), tuned)
        return first, second

    def at(self, share: float, golds: Sequence[int] | None = None, shift: int = 0) -> list[Sample]:
        """That share of the items right, spread evenly over both labels."""
        golds = self.golds if golds is None else golds
        right = [((number // 2 + shift) * 37) % 100 < share * 100 for number in range(len(golds))]
        return outcomes(golds, right)

    def other_items(self) -> Pair:
        tuned = [
            sample.model_copy(
                update={
                    "item_key": f"other{sample.item_key}",
                    "doc": {"text": f"other {sample.doc_id}"},
                }
            )
            for sample in self.at(0.8)
        ]
        return self.pair(self.at(0.6), tuned)

    def flipped_gold_labels(self) -> Pair:
        flipped = [1 - gold if number % 5 == 0 else gold for number, gold in enumerate(self.golds)]
        tuned = [
            sample.model_copy(
                update={"target_hash": f"gold-{gold}-{sample.doc_id}"} if number % 5 == 0 else {}
            )
            for number, (sample, gold) in enumerate(
                zip(self.at(0.8, flipped), flipped, strict=True)
            )
        ]
        return self.pair(self.at(0.6), tuned)

    def other_prompts(self) -> Pair:
        tuned = [
            sample.model_copy(
                update={"prompt": f"{sample.prompt} ", "prompt_hash": f"other-{sample.doc_id}"}
            )
            for sample in self.at(0.8)
        ]
        return self.pair(self.at(0.6), tuned)

    def one_class_collapsed(self) -> Pair:
        """80 % before and after; of one label 100 % before and 60 % after."""
        base = outcomes(
            self.golds,
            [gold == 1 or (number // 2) % 10 < 6 for number, gold in enumerate(self.golds)],
        )
        tuned = outcomes(
            self.golds,
            [gold == 0 or (number // 2) % 10 < 6 for number, gold in enumerate(self.golds)],
        )
        return self.pair(base, tuned)

    def sixty_items_and_three_points(self) -> Pair:
        golds = self.golds[:60]
        base = outcomes(golds, [number % 60 < 36 for number in range(60)])
        tuned = outcomes(golds, [2 <= number % 60 < 40 for number in range(60)])
        return self.pair(base, tuned)


def said_of(pair: Pair) -> str:
    """Our answer: the refusal, or the finding with its cautions."""
    try:
        found = compare(*pair)
    except FtHarnessError as error:
        return "refused: " + "; ".join(
            " ".join(line.split()) for line in error.what.splitlines()[1:]
        )
    study = aggregate(list(pair), name="planted", command="")
    (compared,) = study.comparisons
    verdict = compared.headline.verdict or found.headline.verdict
    return f"{verdict}: {' '.join([compared.finding, *compared.cautions])}"


def errorbars_said(command: str, pair: Pair, folder: Path) -> str:
    write_shared(pair, folder, ["lm-eval"])
    files = [
        str(next(path for path in sorted(folder.rglob("samples_*.jsonl")) if name in str(path)))
        for name in ("base--", "/tuned/")
    ]
    done = subprocess.run(
        [command, "compare", *files, "--metric", "acc"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return f"refused: {done.stderr.strip().splitlines()[-1][:160]}"
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    return "; ".join(line for line in lines if re.match(r"mean diff|95% CI|p-value|n \(", line))


# --- adapters ------------------------------------------------------------------------------------


def make_adapter(model: Path, folder: Path) -> Path:
    torch.manual_seed(3)
    config = LoraConfig(
        task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False
    )
    get_peft_model(AutoModelForCausalLM.from_pretrained(model), config).save_pretrained(folder)
    return folder


def change(folder: Path, how: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Path:
    path = folder / "adapter_model.safetensors"
    save_file(
        {key: each.contiguous() for key, each in how(load_file(path)).items()},
        path,
        metadata={"format": "pt"},
    )
    return folder


def said_of_adapter(folder: Path, model: Path) -> str:
    section = ModelSection(pretrained=str(model))
    try:
        if found := problems(folder, section=section):
            return f"refused: {found[0].what}"
        with attached(folder, load_base_model(section), PROMPTS) as (_, info):
            return f"taken: a logit changes by {info.live_proof.max_logit_change if info.live_proof else 0:.3g}"
    except FtHarnessError as error:
        return f"refused: {error.what}"


def planted_adapters(folder: Path) -> dict[str, str]:
    model, other = save_model(folder / "model", seed=0), save_model(folder / "other", seed=1)
    whole = make_adapter(model, folder / "whole")
    dead = change(
        make_adapter(model, folder / "dead"),
        lambda held: {k: v * 0 if "lora_B" in k else v for k, v in held.items()},
    )
    renamed = change(
        make_adapter(model, folder / "renamed"),
        lambda held: {k.replace("self_attn", "attention"): v for k, v in held.items()},
    )
    return {
        "no fault": said_of_adapter(whole, model),
        "dead adapter (B is zero)": said_of_adapter(dead, model),
        "renamed keys": said_of_adapter(renamed, model),
        "another base of the same shape": said_of_adapter(
            make_adapter(model, folder / "moved"), other
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--errorbars", help="its command")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, said in planted_adapters(folder).items():
            print(f"{name}\n  ours: {shown(said, folder)}")
        faults = Faults(folder)
        for plant in (
            faults.other_items,
            faults.flipped_gold_labels,
            faults.other_prompts,
            faults.one_class_collapsed,
            faults.sixty_items_and_three_points,
        ):
            pair = plant()
            print(f"{plant.__name__.replace('_', ' ')}\n  ours: {shown(said_of(pair), folder)}")
            if given.errorbars:
                said = errorbars_said(given.errorbars, pair, folder / f"shared-{plant.__name__}")
                print(f"  errorbars: {shown(said, folder)}")


def shown(text: str, folder: Path) -> str:
    return json.dumps(text.replace(f"{folder}/", ""), ensure_ascii=False)[1:-1]


if __name__ == "__main__":
    main()
