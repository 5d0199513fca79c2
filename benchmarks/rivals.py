"""What another tool says of a planted fault: run by benchmarks/planted_faults.py in the tool's own
environment, where nothing of ft-harness is.

    python rivals.py TOOL FILE

FILE is JSON: `base` and `tuned` (rows with id, prompt, gold, answer) or `model`, `other`, `adapter`
and `test`; `train` (rows with prompt, gold) where training data is at hand; `seeds`, further runs
by name; `apart` where base and tuned have other rows. Answers are given to each tool as a model's answers, by the way that its own page names:
trainjudge's `evaluate_target(generate=...)` and then its command `verify`, yobro's
`FunctionGenerator`, finetunecheck's `backend_factory`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, str]
Given = dict[str, Any]
ONE_SET = "not fed: it asks both models itself, on one set of items"


def chat_rows(rows: Sequence[Row], *, numbered: bool = True) -> list[dict[str, Any]]:
    return [
        {
            "id": row.get("id", f"train{number}") if numbered else f"train{number}",
            "messages": [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row["gold"]},
            ],
            "meta": {"label": row["gold"]},
        }
        for number, row in enumerate(rows)
    ]


# --- trainjudge: a run folder of `trainjudge train --dry-run`, evaluations, `trainjudge verify`


def trainjudge(given: Given, folder: Path) -> Iterator[str]:
    train = given.get("train") or given.get("test") or given["base"]
    test = given.get("test") or given["base"]
    if given.get("leaked"):  # it takes one file and splits it itself
        train = [*given["train"], *given["base"]]
    # it refuses to split data with fewer than three different answers
    train = [*train, *({"prompt": f"Review: {n}\nSentiment:", "gold": "mixed"} for n in range(12))]
    data = folder / "data.jsonl"
    lines = [json.dumps({"prompt": row["prompt"], "completion": row["gold"]}) for row in train]
    data.write_text("\n".join(lines), encoding="utf-8")
    command = str(Path(sys.executable).with_name("trainjudge"))
    model = given.get("other") or given.get("model") or "model"
    made = run(
        command, "train", "--dataset", data, "--model", model, "--dry-run", "--backend", "torch",
        "--device", "cpu", "--runs-dir", folder / "runs",
    )  # fmt: skip
    if given.get("leaked"):
        yield from (line.strip() for line in made.splitlines() if "Dataset:" in line)
        return
    place = next((folder / "runs").glob("*/run.json")).parent
    finish(place)
    for name, rows in {"tuned": given.get("tuned"), **given.get("seeds", {})}.items():
        if rows is None and "adapter" not in given:
            continue
        if rows is not None:
            judge(place, test, given["base"], rows)
        else:
            attach(place, Path(given["adapter"]), test)
        said = run(command, "verify", place)
        box = [line.strip("║ ").strip() for line in said.splitlines() if line.startswith("║")]
        wanted = ("Baseline", "Fine-tuned", "Held-out")
        yield from (f"{name}: {line}" for line in box if line.startswith(wanted))
        verdict = next((n for n, line in enumerate(box) if line[:1] in "✓⚠✗" and n > 5), None)
        yield f"{name}: " + (" ".join(box[verdict:]) if verdict else said.strip()[-300:])
        report = place / "EXPERIMENT_REPORT.md"
        if report.is_file():
            shown = report.read_text(encoding="utf-8").splitlines()
            yield from (line for line in shown if line.startswith(("| `", "| Macro")))
        report.unlink(missing_ok=True)


def finish(place: Path) -> None:
    """The run as it is after training, with an adapter that nothing reads."""
    run_file = place / "run.json"
    record = json.loads(run_file.read_text(encoding="utf-8"))
    record |= {"status": "trained", "training": {"duration_s": 0.0, "train_loss_drop_pct": 50.0}}
    run_file.write_text(json.dumps(record), encoding="utf-8")
    (place / "adapters").mkdir(exist_ok=True)
    (place / "adapters" / "adapter_model.safetensors").touch()


def write_test(place: Path, rows: Sequence[Row]) -> None:
    lines = [json.dumps({"prompt": row["prompt"], "completion": row["gold"]}) for row in rows]
    (place / "data" / "test.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def judge(place: Path, test: Sequence[Row], base: Sequence[Row], tuned: Sequence[Row]) -> None:
    """Evaluations of given answers; the general questions are answered alike by both."""
    from trainjudge import evaluation

    for target, rows in (("baseline", base), ("finetuned", tuned)):
        write_test(place, rows)
        answers = [row["answer"] for row in rows]
        evaluation.evaluate_target(
            place, target, generate=lambda *_, said=answers, **__: said, use_cache=False
        )
        evaluation.evaluate_regression(
            place, target, generate=lambda _, asked, **__: ["I don't know"] * len(asked)
        )
    write_test(place, test)


def attach(place: Path, adapter: Path, test: Sequence[Row]) -> None:
    """The adapter's files in the run's folder, and both evaluations with short answers."""
    from trainjudge import evaluation
    from trainjudge.backend_base import DecodingConfig

    for path in adapter.iterdir():
        (place / "adapters" / path.name).write_bytes(path.read_bytes())
    write_test(place, test)
    short = DecodingConfig(max_tokens=8)
    for target in evaluation.TARGETS:
        evaluation.evaluate_target(place, target, decoding=short)
        evaluation.evaluate_regression(place, target, decoding=short)


# --- yobro: compare(...) and gate(...)


def yobro(given: Given, folder: Path) -> Iterator[str]:
    import yobro as tool
    from yobro.gate import gate
    from yobro.model import HFGenerator

    if given.get("apart"):
        yield ONE_SET
        return
    test = tool.from_records(chat_rows(given.get("test") or given["base"]), name="test")
    if given.get("leaked"):
        train = tool.from_records(chat_rows(given["train"], numbered=False), name="train")
        checks = [tool.no_overlap_with(test), tool.no_duplicates(near=True)]
        yield tool.run_checks(train, checks).text()
    if "adapter" in given:
        asked = given.get("other") or given["model"]
        models = {"base": HFGenerator(asked), "tuned": HFGenerator(asked, given["adapter"])}
    else:
        answers = {"base": given["base"], "tuned": given.get("tuned"), **given.get("seeds", {})}
        models = {
            name: tool.FunctionGenerator(answering(rows), name)
            for name, rows in answers.items()
            if rows is not None
        }
    found = tool.compare(models, test, tool.exact_match(), slices="label", max_new_tokens=8)
    for name, score in found.diffs["exact_match"].items():
        value = found.metrics["exact_match"]
        yield (
            f"{name}: {value['base'].score:.3f} -> {value[name].score:.3f}, "
            f"{score.score:+.3f} [{score.low:+.3f}, {score.high:+.3f}]"
        )
        yield gate("improves", found, [tool.improves(name)]).text()
        yield gate("improves by 0.03", found, [tool.improves(name, by=0.03)]).text()
        yield gate("slices", found, [tool.slices_not_worse(name)]).text()
    yield "; ".join(found.warnings)


def answering(rows: Sequence[Row]) -> Callable[[list[dict[str, str]]], str]:
    known = {row["prompt"]: row["answer"] for row in rows}
    return lambda messages: known[messages[-1]["content"]]


# --- finetunecheck: EvalRunner with a probe of the test items, one of control items and a safety one


def finetunecheck(given: Given, folder: Path) -> Iterator[str]:
    from finetunecheck.compare.multi_run import MultiRunComparator
    from finetunecheck.config import EvalConfig
    from finetunecheck.eval.runner import EvalRunner
    from finetunecheck.probes.custom import CustomProbe
    from finetunecheck.probes.registry import ProbeRegistry

    if given.get("apart"):
        yield ONE_SET
        return
    rows = given.get("test") or given["base"]
    samples = [
        {"id": row["id"], "input": row["prompt"], "reference": row["gold"], "tags": [row["gold"]]}
        for row in rows
    ]
    controls = [
        {"id": f"control{n}", "input": f"control question {n}", "reference": "yes"}
        for n in range(20)
    ]
    refusing = {"constraints": [{"type": "contains_refusal"}]}
    harmful = [
        {"id": f"harm{n}", "input": f"harmful request {n}", "metadata": refusing} for n in range(20)
    ]
    for name, items, how, category in (
        ("reviews", samples, "exact_match", "classification"),
        ("controls", controls, "exact_match", "controls"),
        ("safety", harmful, "rule_based", "safety"),
    ):
        ProbeRegistry.register(
            CustomProbe.from_samples(name, items, judge_type=how, category=category)
        )
    runs = {"tuned": given.get("tuned"), **given.get("seeds", {})}
    results = {}
    for name, answers in runs.items():
        is_real = "adapter" in given
        if not is_real and answers is None:
            continue
        config = EvalConfig(
            base_model=(given.get("other") or given["model"]) if is_real else "base",
            finetuned_model=given["adapter"] if is_real else name,
            target_tasks=["reviews"],
            general_probes=["controls", "safety"],
            num_samples=len(rows),
            cache_baseline=False,
            max_tokens=8,
            device="cpu",
            inference_backend="transformers",
        )
        sides = {"base": given.get("base"), name: answers}
        factory = None if is_real else lambda spec, _, known=sides: Answers(known[spec.path])
        results[name] = found = EvalRunner(config, backend_factory=factory).run()
        scores = [each["reviews"].mean_score for each in (found.base_scores, found.ft_scores)]
        yield f"{name}: {scores}, interval {found.target_delta_intervals_95['reviews']}"
        yield f"{name}: {found.verdict.value}: {found.summary} {' '.join(found.concerns)}"
    if len(results) > 1:
        compared = MultiRunComparator().compare_from_results("base", results)
        yield f"best run {compared.best_run}; {compared.recommendation}"


class Answers:
    """A backend of finetunecheck that gives known answers."""

    model_path = "answers"
    backend_name = "answers"

    def __init__(self, rows: Sequence[Row]) -> None:
        self._known = {row["prompt"]: row["answer"] for row in rows}

    def generate_batch(self, prompts: list[str], *_: Any, **settings: Any) -> list[Any]:
        from finetunecheck.models import InferenceResult

        return [
            InferenceResult(model_path="answers", output=self._answer(prompt)) for prompt in prompts
        ]

    def _answer(self, prompt: str) -> str:
        if prompt.startswith("harmful"):
            return "I cannot help with that."
        return self._known.get(prompt, "yes")

    def get_logprobs(self, texts: list[str]) -> list[list[float]]:
        return [[] for _ in texts]

    def cleanup(self) -> None:
        pass


def run(*command: str | Path) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    return done.stdout if not done.returncode else f"{done.stdout}\n{done.stderr}"


TOOLS: Mapping[str, Callable[[Given, Path], Iterator[str]]] = {
    "trainjudge": trainjudge,
    "yobro": yobro,
    "finetunecheck": finetunecheck,
}


def main() -> None:
    _, tool, file = sys.argv
    given = json.loads(Path(file).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as place:
        try:
            for said in TOOLS[tool](given, Path(place)):
                print("\n".join(f"    {line}" for line in said.splitlines()))
        except Exception as error:
            print(f"    raises {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
