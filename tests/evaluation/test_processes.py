"""Two processes share the docs of an evaluation and write the record of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ft_harness.evaluation.backends import CausalLM
from ft_harness.records import Evaluation
from ft_harness.records.finding import load_records
from tests.builders.command import assert_three_lines
from tests.builders.tiny import write_jsonl


@pytest.fixture
def recipe(tmp_path: Path, model_folder: Path) -> Path:
    """A recipe on 13 test docs, which two processes can't halve."""
    for start, split in enumerate(("train", "validation", "test")):
        rows = [
            {"text": f"the film {20 * start + i} was {'so ' * (i % 3)}good", "label": i % 2}
            for i in range(13)
        ]
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", rows)
    path = tmp_path / "adapters" / "mine" / "recipe.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\n"
        f"data: {{source: {tmp_path / 'data'}}}\neval: {{splits: [test], batch_size: 3}}\n"
    )
    return path


def launch(
    *arguments: object, program: tuple[str, ...] = ("-m", "ft_harness")
) -> subprocess.CompletedProcess[str]:
    """The command in two processes by torchrun, of which accelerate launch makes use too."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, *program, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=120, check=False
    )


def only(results: Path) -> Evaluation:
    (found,) = load_records([results])
    return found


@pytest.mark.slow  # three processes load a model
def test_two_processes_give_the_record_of_one(ft, recipe: Path, tmp_path: Path):
    done = launch("eval", recipe, "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Metric acc;") == 1  # one process prints
    assert ft("eval", recipe, "--out", tmp_path / "one")[0] == 0
    two, one = only(tmp_path / "two"), only(tmp_path / "one")
    assert two.folder.name == one.folder.name
    assert (two.record.back_end.processes, one.record.back_end.processes) == (2, 1)
    assert one.record.back_end.computed == 26
    assert two.record.back_end.computed == 28  # lm-eval asks both for as many: 7 docs and 6
    assert two.record.status == "complete"
    for mine, right in zip(two.record.scores, one.record.scores, strict=True):
        assert (
            mine.value == pytest.approx(right.value, abs=1e-5) or mine.value is right.value is None
        )
        assert (mine.metric, mine.n, mine.n_truncated, mine.signature) == (
            right.metric, right.n, right.n_truncated, right.signature,
        )  # fmt: skip
    pairs = list(zip(two.samples(), one.samples(), strict=True))
    assert [mine.doc_id for mine, _ in pairs] == list(range(13))
    for mine, right in pairs:
        assert mine.model_dump(exclude={"responses", "scores"}) == right.model_dump(
            exclude={"responses", "scores"}
        )
        assert [r[0] for r in mine.responses] == pytest.approx(
            [r[0] for r in right.responses], abs=1e-5
        )
        assert mine.scores["acc"] == right.scores["acc"]
    assert two.record.cost.tokens >= one.record.cost.tokens
    assert "scored already" in ft("eval", recipe, "--out", tmp_path / "two")[2]


def test_fewer_docs_than_processes_are_refused(ft, recipe: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(CausalLM, "world_size", 2)
    code, _, err = ft("eval", recipe, "--set", "eval.limit=1")
    assert code == 3
    assert_three_lines(err, "1 docs for 2 processes")
