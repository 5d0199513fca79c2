"""An adapter that works, and the same with a fault, for benchmarks/planted_faults.py."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ft_harness.errors import FtHarnessError
from ft_harness.models.adapters import attached, problems
from ft_harness.models.base_model import load_base_model
from ft_harness.paths import bundled_model_dir
from ft_harness.recipe import ModelSection


class Adapters:
    """The bundled model, an adapter that was trained on it and scores well, and faults of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = Path(shutil.copytree(bundled_model_dir(), folder / "model"))
        settings = self.model / "tokenizer_config.json"
        template = "{{ bos_token }}{% for message in messages %}{{ message.content }}{% endfor %}"
        held = json.loads(settings.read_text(encoding="utf-8"))
        # other tools need a template, and a class that transformers 4 knows
        held |= {"chat_template": template, "tokenizer_class": "PreTrainedTokenizerFast"}
        held["model_input_names"] = ["input_ids", "attention_mask"]
        settings.write_text(json.dumps(held), encoding="utf-8")
        recipe = {
            "model": {"pretrained": str(self.model)},
            "task": {"name": "demo_sentiment"},
            "adapter": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0},
            "train": {
                "learning_rate": 2.0e-3,
                "num_train_epochs": 2,
                "per_device_train_batch_size": 16,
                "loss_on_eos": True,  # other tools let it write its answer
            },
        }
        place = folder / "adapters" / "whole" / "recipe.yaml"
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps(recipe), encoding="utf-8")
        command = [sys.executable, "-m", "ft_harness", "train", str(place), "--out", str(folder)]
        subprocess.run(command, check=True, capture_output=True)
        self.whole = place.parent

    def change(
        self, name: str, how: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
    ) -> Path:
        """A copy of PEFT's own files with other weights: without its card, whose checksums alone
        would give it away."""
        target = self.folder / name
        target.mkdir()
        shutil.copy(self.whole / "adapter_config.json", target)
        weights = how(load_file(self.whole / "adapter_model.safetensors"))
        save_file(
            {key: each.contiguous() for key, each in weights.items()},
            target / "adapter_model.safetensors",
            metadata={"format": "pt"},
        )
        return target

    def other_base(self) -> Path:
        """The model with the rows of each matrix in another order."""
        other = Path(shutil.copytree(self.model, self.folder / "other"))
        torch.manual_seed(1)
        held = load_file(other / "model.safetensors")
        moved = {
            key: each[torch.randperm(len(each))].contiguous() if each.ndim == 2 else each
            for key, each in held.items()
        }
        save_file(moved, other / "model.safetensors", metadata={"format": "pt"})
        return other

    def planted(self) -> dict[str, dict[str, str]]:
        """What other tools are given, by fault."""
        whole = self.change("plain", lambda held: held)
        dead = self.change(
            "dead", lambda held: {k: v * 0 if "lora_B" in k else v for k, v in held.items()}
        )
        renamed = self.change(
            "renamed",
            lambda held: {k.replace("self_attn", "attention"): v for k, v in held.items()},
        )
        same = {"model": str(self.model)}
        return {
            "no fault": same | {"adapter": str(whole)},
            "dead adapter (B is zero)": same | {"adapter": str(dead)},
            "keys of its attention part renamed": same | {"adapter": str(renamed)},
            "another base of the same shape": same
            | {"adapter": str(whole), "other": str(self.other_base())},
        }


def said_of_adapter(given: dict[str, str], prompts: list[str]) -> str:
    """Our answer: the refusal, or that it is in use."""
    folder = Path(given["adapter"])
    section = ModelSection(pretrained=given.get("other", given["model"]))
    try:
        if found := problems(folder, section=section):
            return f"refused: {found[0].what}"
        with attached(folder, load_base_model(section), prompts) as (_, info):
            assert info.live_proof is not None
            return f"taken: a logit changes by {info.live_proof.max_logit_change:.3g}"
    except FtHarnessError as error:
        return f"refused: {error.what}"
