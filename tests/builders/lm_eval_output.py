"""Output of lm-eval's own command (`--log_samples --output_path`) in the form of version 0.4.13,
for tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

DATE = "2026-02-03T04-05-06.789012"
TASK = "sentiment"
CHOICES = (" bad", " good")
Line = dict[str, Any]


def sha(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def make_line(number: int, gold: int, predicted: int, **changes: Any) -> Line:
    """The sample of doc `number`, of which the model finds one of two choices likelier."""
    prompt = f"Review: text {number}\nSentiment:"
    values = [["-9.5", "False"], ["-9.5", "False"]]
    values[predicted] = ["-7.25", "True"]
    usual: Line = {
        "doc_id": number,
        "doc": {"text": f"text {number}", "label": gold},
        "target": str(gold),
        "arguments": {
            f"gen_args_{at}": {"arg_0": prompt, "arg_1": choice}
            for at, choice in enumerate(CHOICES)
        },
        "resps": [[value] for value in values],
        "filtered_resps": values,
        "filter": "none",
        "metrics": ["acc"],
        "doc_hash": sha(f"doc {number}"),
        "prompt_hash": sha(prompt),
        "target_hash": sha(str(gold)),
        "acc": float(gold == predicted),
    }
    return usual | changes


def make_lines(golds: Sequence[int], predictions: Sequence[int]) -> list[Line]:
    return [
        make_line(number, *pair) for number, pair in enumerate(zip(golds, predictions, strict=True))
    ]


def make_results(tasks: dict[str, Sequence[Line]], peft: str | None = None) -> dict[str, Any]:
    """The results file: accuracy of each task's lines."""
    arguments = {"pretrained": "models/small"} | ({"peft": peft} if peft else {})
    config = {
        "test_split": "test",
        "doc_to_text": "Review: {{text}}\nSentiment:",
        "output_type": "multiple_choice",
        "metadata": {"version": 1.0},
    }
    return {
        "results": {
            name: {
                "alias": name,
                "acc,none": sum(line["acc"] == 1 for line in lines) / len(lines) if lines else 0.0,
                "acc_stderr,none": "N/A",
            }
            for name, lines in tasks.items()
        },
        "group_subtasks": {},
        "configs": {name: config | {"task": name} for name in tasks},
        "versions": dict.fromkeys(tasks, 1.0),
        "n-shot": dict.fromkeys(tasks, 0),
        "higher_is_better": {name: {"acc": True} for name in tasks},
        "n-samples": {
            name: {"original": len(lines), "effective": len(lines)} for name, lines in tasks.items()
        },
        "config": {
            "model": "hf",
            "model_args": arguments,
            "model_num_parameters": 1000,
            "model_dtype": "torch.float32",
            "model_revision": "main",
            "model_sha": "",
            "batch_size": 1,
            "device": "cpu",
            "limit": None,
            "gen_kwargs": {},
            "fewshot_seed": 1234,
        },
        "date": 1770091506.7,
        "transformers_version": "5.23.0",
        "lm_eval_version": "0.4.13",
        "max_length": 512,
        "chat_template": None,
        "system_instruction": None,
        "fewshot_as_multiturn": None,
    }


def write_output(
    folder: Path,
    tasks: dict[str, Sequence[Line]] | Sequence[Line],
    peft: str | None = None,
    *,
    date: str = DATE,
    change: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Results and samples in a folder, as lm-eval writes them; `change` is made to the results."""
    every = tasks if isinstance(tasks, dict) else {TASK: tasks}
    folder.mkdir(parents=True, exist_ok=True)
    results = make_results(every, peft)
    if change:
        change(results)
    (folder / f"results_{date}.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    for name, lines in every.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / f"samples_{name}_{date}.jsonl").write_text(text, encoding="utf-8")
    return folder
