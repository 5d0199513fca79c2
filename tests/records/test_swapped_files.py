"""A whole file in the place of another one's, and damage of what several subjects share: named, the
rest reported, exit code 6."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ft_harness.evaluation.backends.store import ResponseStore
from ft_harness.records import RECORD_FILE, SAMPLES_FILE, SCORES_FILE
from ft_harness.records.adapter_files import CARD_FILE, HISTORY_FILE, WEIGHTS_FILE
from tests.builders.command import assert_three_lines
from tests.records.test_every_byte import flipped

RECIPE = (
    "model: {{pretrained: {model}}}\ntask: {{name: demo_sentiment}}\ndata: {{source: {data}}}\n"
    "adapter: {{r: 2, target_modules: [q_proj]}}\n"
    "train: {{max_steps: 4, learning_rate: 0.01, seed: {seed}}}\n"
    "eval: {{splits: [validation, test], limit: 16}}\n"
)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, reviews: Path) -> Path:
    """A working folder with the adapters `a` and `b`, which only their seeds part."""
    out = tmp_path_factory.mktemp("two")
    for seed, name in enumerate("ab"):
        path = out / "adapters" / name / "recipe.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(RECIPE.format(model=model_folder, data=reviews, seed=seed))
        command = [sys.executable, "-m", "ft_harness", "run", f"adapters/{name}"]
        done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def work(two_runs: Path, tmp_path: Path) -> Path:
    """A copy of it, without reports, as the current folder of the commands."""
    for part in ("adapters", "results"):
        shutil.copytree(two_runs / part, tmp_path / part, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "results/reports")
    return tmp_path


def place(work: Path, which: str) -> Path:
    """Of "a/test/record.json" the file of that evaluation, of "a/card.json" that of the adapter."""
    subject, *split, name = which.split("/")
    if not split:
        return work / "adapters" / subject / name
    folder = "base--tiny" if subject == "base" else subject
    (found,) = (work / "results" / folder).glob(f"*@{split[0]}-*/{name}")
    return found


def report(ft: Any, work: Path) -> tuple[int, str, set[str], str]:
    """(exit code, messages, reported subjects, text)."""
    code, _, err = ft("report", "results")
    folder = work / "results/reports/report"
    if not folder.exists():
        return code, err, set(), ""
    found = json.loads((folder / "rows.json").read_text())
    text = (folder / "report.md").read_text()
    return code, err, {row["tuned_subject"] for row in found}, text


SWAPS = {  # what comes -> where it is put
    "samples of another adapter": ("b/test/" + SAMPLES_FILE, "a/test/" + SAMPLES_FILE),
    "samples of the base": ("base/test/" + SAMPLES_FILE, "a/test/" + SAMPLES_FILE),
    "samples of another split": ("a/validation/" + SAMPLES_FILE, "a/test/" + SAMPLES_FILE),
    "scores of another adapter": ("b/test/" + SCORES_FILE, "a/test/" + SCORES_FILE),
    "scores of another split": ("a/validation/" + SCORES_FILE, "a/test/" + SCORES_FILE),
    "a record of another adapter": ("b/test/" + RECORD_FILE, "a/test/" + RECORD_FILE),
    "a record of another split": ("a/validation/" + RECORD_FILE, "a/test/" + RECORD_FILE),
    "a record of the base": ("base/test/" + RECORD_FILE, "a/test/" + RECORD_FILE),
    "nearest examples of another adapter": (
        "b/test/nearest_training.json", "a/test/nearest_training.json",
    ),
    "a card of another adapter": ("b/" + CARD_FILE, "a/" + CARD_FILE),
    "weights of another adapter": ("b/" + WEIGHTS_FILE, "a/" + WEIGHTS_FILE),
    "a history of another adapter": ("b/" + HISTORY_FILE, "a/" + HISTORY_FILE),
    "a data report of another adapter": ("b/data_report.json", "a/data_report.json"),
}  # fmt: skip


@pytest.mark.parametrize("swap", SWAPS)
def test_a_whole_file_of_something_else(swap: str, ft: Any, work: Path):
    source, target = (place(work, which) for which in SWAPS[swap])
    shutil.copyfile(source, target)
    code, err, subjects, text = report(ft, work)
    assert code == 6, err
    assert_three_lines(err, str(target.parent.relative_to(work)))
    assert "b" in subjects
    # of a record, or a card, the files next to it are said to be none of its own
    notes = text.partition("## Notes")[2]
    assert any(name in notes for name in (target.name, SAMPLES_FILE, WEIGHTS_FILE))


def test_an_older_history(ft: Any, work: Path):
    path = place(work, f"a/{HISTORY_FILE}")
    path.write_text(path.read_text().splitlines(keepends=True)[0])
    code, err, subjects, _ = report(ft, work)
    assert code == 6, err
    assert_three_lines(err, f"adapters/a/{HISTORY_FILE}")
    assert "b" in subjects


def test_folders_that_changed_places(ft: Any, work: Path):
    """A record says itself what it is of; but a run that looks for the evaluation of one split does
    not take that of another one for it."""
    before = report(ft, work)[2:]
    test, validation = (
        place(work, f"a/{split}/{RECORD_FILE}").parent for split in ("test", "validation")
    )
    test.rename(work / "aside")
    validation.rename(test)
    (work / "aside").rename(validation)
    code, err, *after = report(ft, work)
    assert code == 0, err
    assert after == [*before]
    code, _, err = ft("run", "adapters/a")
    assert code == 3, err
    assert_three_lines(err, "of another evaluation")


@pytest.mark.parametrize("name", [RECORD_FILE, SAMPLES_FILE, SCORES_FILE])
def test_damage_of_the_bases_files(name: str, ft: Any, work: Path):
    """All subjects share the base; what rests on its other split is reported."""
    path = place(work, f"base/test/{name}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x01
    path.write_bytes(content)
    code, err, subjects, text = report(ft, work)
    assert code == 6, err
    assert_three_lines(err, str(path.relative_to(work)))
    assert subjects >= {"a", "b"}
    assert name in text.partition("## Notes")[2]


def test_each_byte_of_a_response_store(tmp_path: Path, caplog: Any):
    """No other response than the one that was given; a line that is lost is said, unless it is the
    last one, which a killed process may have left unfinished."""
    caplog.set_level(logging.WARNING)
    store = ResponseStore(tmp_path, {"model": "m"})
    given = {store.key(str(n)): [[-0.5 * n, True]] for n in range(3)}
    store.add(given)
    last = store.path.stat().st_size - 1
    for at in flipped(store.path):
        caplog.clear()
        again = ResponseStore(tmp_path, {"model": "m"})
        kept = {key: again[key] for key in given if key in again}
        assert kept.items() <= given.items()
        assert len(kept) < 3
        assert caplog.text or at == last
    again = ResponseStore(tmp_path, {"model": "m"})
    assert {key: again[key] for key in given} == given


def test_a_response_store_of_another_model(tmp_path: Path):
    store = ResponseStore(tmp_path, {"model": "m"})
    store.add({store.key("asked"): [[-0.5, True]]})
    store.path.rename(ResponseStore(tmp_path, {"model": "n"}).path)
    other = ResponseStore(tmp_path, {"model": "n"})
    assert store.key("asked") in other  # it was read
    assert other.key("asked") not in other
