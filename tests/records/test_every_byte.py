"""A byte that is flipped anywhere in a file that is read back: the file is named, the rest reported,
exit code 6."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ft_harness.comparison.cases import NEAREST_FILE, Nearest, read_nearest
from ft_harness.data.data_report import DATA_REPORT_FILE, read_data_report
from ft_harness.errors import InputError
from ft_harness.evaluation import write_evaluation
from ft_harness.records import RECORD_FILE, SAMPLES_FILE, SCORES_FILE, read_evaluation, write_kept
from ft_harness.records.adapter_files import (
    CARD_FILE,
    CONFIG_FILE,
    HISTORY_FILE,
    WEIGHTS_FILE,
    check_histories,
    hash_histories,
    read_card,
    read_history,
    write_card,
)
from ft_harness.records.adapter_folder import AdapterFolder
from ft_harness.records.score_table import check_whole, find_damage
from ft_harness.storage import hashing
from tests.builders.command import assert_three_lines
from tests.builders.records import label_samples, make_card, make_record
from tests.builders.study import make_data

FLIPS = (0x01, 0x20, 0xFF)  # the smallest change, another case, all bits


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small one, written as ours are."""
    folder = tmp_path_factory.mktemp("evaluations") / "small"
    write_evaluation(folder, make_record(None), label_samples([0, 1], [0, 0]))
    write_kept(folder / NEAREST_FILE, Nearest(n_training=2, items={"a-1": None}))
    return folder


@pytest.fixture(scope="module")
def run_once(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, reviews: Path) -> Path:
    """A working folder after `ft-harness run`."""
    out = tmp_path_factory.mktemp("run")
    (out / "adapters/a").mkdir(parents=True)
    (out / "adapters/a/recipe.yaml").write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\n"
        f"data: {{source: {reviews}}}\nadapter: {{r: 2, target_modules: [q_proj]}}\n"
        "train: {max_steps: 4, learning_rate: 0.01}\neval: {splits: [test], limit: 24}\n"
    )
    command = [sys.executable, "-m", "ft_harness", "run", "adapters/a"]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def flipped(path: Path, step: int = 1) -> Iterator[int]:
    """The file with each (every `step`th) of its bytes flipped in turn; as it was afterwards."""
    whole = path.read_bytes()
    assert whole
    for place in range(0, len(whole), step):
        for bits in FLIPS:
            damaged = bytearray(whole)
            damaged[place] ^= bits
            _put(path, damaged)
            yield place
    _put(path, whole)


def _put(path: Path, content: bytes) -> None:
    """Write a file that is hashed anew although it is as young and as long as the last one."""
    path.write_bytes(content)
    hashing._hash_of_state.cache_clear()


def _says_the_same(path: Path, whole: bytes) -> bool:
    """Whether JSON has the same values: the last of 17 digits may stand for the same number."""
    try:
        return path.suffix == ".json" and json.loads(path.read_bytes()) == json.loads(whole)
    except ValueError:
        return False


def missed(path: Path, read: Callable[[], Any]) -> list[int]:
    """The places of which a flip goes unseen."""
    whole = path.read_bytes()
    unseen: list[int] = []
    named: list[bool] = []
    for place in flipped(path):
        try:
            read()
            if not _says_the_same(path, whole):
                unseen.append(place)
        except InputError as error:
            named.append(path.name in error.what)
    assert all(named)
    return unseen


def test_record(evaluation: Path):
    path = evaluation / RECORD_FILE
    assert missed(path, lambda: read_evaluation(evaluation)) == []


def test_samples(evaluation: Path):
    whole = read_evaluation(evaluation)
    path = evaluation / SAMPLES_FILE
    assert missed(path, lambda: check_whole(whole)) == []
    assert missed(path, lambda: list(whole.samples())) == []


def test_samples_without_a_known_hash_raise_nothing_but_our_errors(evaluation: Path):
    """Records that older versions wrote; a gzip file has bytes that mean nothing."""
    old = read_evaluation(evaluation)
    old = old.model_copy(update={"record": old.record.model_copy(update={"files": {}})})
    path = evaluation / SAMPLES_FILE
    assert len(missed(path, lambda: list(old.samples()))) < 40


@pytest.mark.slow  # flips every byte
def test_scores(evaluation: Path):
    whole = read_evaluation(evaluation)
    for _ in flipped(evaluation / SCORES_FILE):
        assert SCORES_FILE in (find_damage(whole) or "")
    assert find_damage(whole) is None


def test_samples_are_enough_where_scores_are_damaged(evaluation: Path):
    whole = read_evaluation(evaluation)
    for _ in flipped(evaluation / SCORES_FILE, 97):
        check_whole(whole)


def test_nearest_examples(evaluation: Path):
    whole = read_evaluation(evaluation)
    assert missed(evaluation / NEAREST_FILE, lambda: read_nearest(whole)) == []


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A small one, with all the files that training writes."""
    save_file({"a.lora_A.weight": torch.ones(1, 2)}, tmp_path / WEIGHTS_FILE)
    (tmp_path / CONFIG_FILE).write_text('{"peft_type": "LORA", "r": 1}')
    (tmp_path / HISTORY_FILE).write_text('{"step":1,"epoch":0.5,"loss":1.25}\n')
    write_kept(tmp_path / DATA_REPORT_FILE, make_data("demo_nli"))
    hashes = {"files": AdapterFolder(tmp_path).hashes, "histories": hash_histories(tmp_path)}
    write_card(tmp_path, make_card("a").model_copy(update=hashes))
    return tmp_path


@pytest.mark.slow  # flips every byte of each
def test_the_files_of_an_adapter(adapter: Path):
    card = read_card(adapter)
    assert card is not None

    def histories() -> None:
        check_histories(adapter, card)
        read_history(adapter)

    assert missed(adapter / CARD_FILE, lambda: read_card(adapter)) == []
    assert missed(adapter / HISTORY_FILE, histories) == []
    assert missed(adapter / DATA_REPORT_FILE, lambda: read_data_report(adapter)) == []
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        assert missed(adapter / name, lambda: AdapterFolder(adapter).check_files()) == []


NAMED = [
    RECORD_FILE,
    SAMPLES_FILE,
    SCORES_FILE,
    NEAREST_FILE,
    CARD_FILE,
    HISTORY_FILE,
    WEIGHTS_FILE,
    DATA_REPORT_FILE,
]


@pytest.mark.slow  # flips every byte of seven files
@pytest.mark.parametrize("name", NAMED)
def test_the_rest_is_reported(name: str, ft: Any, run_once: Path, tmp_path: Path):
    for part in ("adapters", "results"):
        shutil.copytree(run_once / part, tmp_path / part, dirs_exist_ok=True)
    (scored,) = (path.parent for path in (tmp_path / "results/a").rglob(RECORD_FILE))
    if name in (RECORD_FILE, SAMPLES_FILE):  # without which there is nothing to report
        record = read_evaluation(scored).record.model_copy(update={"subject": "b"})
        scored = shutil.copytree(scored, tmp_path / "results/b" / scored.name)
        write_kept(scored / RECORD_FILE, record)
        path = scored / name
    else:
        (path,) = (
            path for top in ("adapters", "results/a") for path in (tmp_path / top).rglob(name)
        )
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x01
    path.write_bytes(content)
    code, _, err = ft("report", "results")
    assert code == 6, err
    assert_three_lines(err, str(path.relative_to(tmp_path)))
    reported = tmp_path / "results/reports/report"
    assert {row["tuned_subject"] for row in json.loads((reported / "rows.json").read_text())} >= {
        "a"
    }
    assert name in (reported / "report.md").read_text().partition("## Notes")[2]
