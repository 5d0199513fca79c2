"""Records, samples, cards, histories and what lm-eval writes, with anything in them changed."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ft_harness.data.data_report import DATA_REPORT_FILE, describe_data, read_data_report
from ft_harness.pipeline import report_files
from ft_harness.pipeline.report_files import ReportOptions
from ft_harness.pipeline.reports import report_only
from ft_harness.records import RECORD_FILE, SAMPLES_FILE, SCORES_FILE, read_evaluation
from ft_harness.records.adapter_files import CARD_FILE, HISTORY_FILE, read_card, read_history
from ft_harness.records.adapter_folder import AdapterFolder
from ft_harness.records.score_table import read_outcomes, write_scores
from ft_harness.storage import hashing
from tests.builders.lm_eval_output import DATE, TASK, make_lines, make_results
from tests.builders.records import (
    label_samples,
    make_card,
    make_record,
    make_score,
    write_evaluation,
)
from tests.builders.study import make_data
from tests.fuzz.inputs import changed, damaged, json_bytes, values
from tests.fuzz.outcome import examples, outcome

pytestmark = pytest.mark.slow  # hundreds of inputs a test
FORMATS = ("md", "html", "tex", "csv", "json")
GOLDS = [0, 1, 0, 1, 1, 0]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base and an adapter on six items."""
    folder = tmp_path_factory.mktemp("study")
    for name, predicted in (("base", [0, 0, 0, 0, 0, 0]), ("tuned", [0, 1, 0, 1, 0, None])):
        record = make_record(None if name == "base" else name)
        write_evaluation(folder / name, record, label_samples(GOLDS, predicted))
    return folder


@pytest.fixture(autouse=True, scope="module")
def no_figures() -> Iterator[None]:
    """They take a second each, and their texts are those of the pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_files, "write_figures", lambda *_: ({}, [], {}))
        yield


def report(folder: Path) -> None:
    out = folder.with_name(f"{folder.name}-out")
    report_only([folder], out, "all", "ft-harness report", options=ReportOptions(FORMATS))
    for name in ("rows.json", "report.json"):
        text = (out / "results/reports/all" / name).read_text()
        json.loads(text, parse_constant=lambda _: pytest.fail("NaN in JSON"))


RECORD = json.loads(
    make_record("tuned")
    .model_copy(
        update={
            "scores": [make_score("acc", value=0.5, low=0.1, high=0.9, n=6), make_score("f1_macro")]
        }
    )
    .model_dump_json()
)


@examples(150)
@given(content=changed(RECORD).map(json_bytes))
def test_a_record(content: bytes, study: Path):
    (study / "tuned" / RECORD_FILE).write_bytes(content)
    outcome(lambda: report(study))


@examples(200)
@given(content=damaged(json_bytes(RECORD)))
def test_a_record_of_other_bytes(content: bytes, study: Path):
    (study / "tuned" / RECORD_FILE).write_bytes(content)
    outcome(lambda: read_evaluation(study / "tuned"))


LINES = [
    json.loads(sample.model_dump_json()) for sample in label_samples(GOLDS, [0, 1, 0, 1, 0, None])
]


@examples(150)
@given(lines=changed(LINES))
def test_samples(lines: Any, study: Path):
    (study / "tuned" / RECORD_FILE).write_bytes(json_bytes(RECORD))
    text = b"\n".join(map(json_bytes, lines)) + b"\n"
    (study / "tuned" / SAMPLES_FILE).write_bytes(gzip.compress(text, 1))
    hashing._hash_of_state.cache_clear()
    outcome(lambda: report(study))


@pytest.fixture(scope="module")
def scored(study: Path) -> tuple[Path, bytes, bytes]:
    """An evaluation with scores.parquet, its samples and its scores."""
    folder = study.parent / "scored"
    write_evaluation(folder, make_record(None), label_samples(GOLDS, GOLDS))
    write_scores(read_evaluation(folder))
    return folder, (folder / SAMPLES_FILE).read_bytes(), (folder / SCORES_FILE).read_bytes()


@examples(200)
@given(data=st.data())
def test_samples_and_scores_of_other_bytes(data: st.DataObject, scored: tuple[Path, bytes, bytes]):
    folder, samples, scores = scored
    of_samples = data.draw(st.booleans())
    (folder / SAMPLES_FILE).write_bytes(data.draw(damaged(samples)) if of_samples else samples)
    (folder / SCORES_FILE).write_bytes(scores if of_samples else data.draw(damaged(scores)))
    hashing._hash_of_state.cache_clear()

    def read() -> None:
        found = read_outcomes(read_evaluation(folder))
        for metric in found.columns:
            assert len(found.statistics(metric)) == len(found.texts)

    outcome(read)


# --- adapters -------------------------------------------------------------------------------------

CARD = json.loads(make_card("a").model_dump_json()) | {
    "recipe": {
        "model": {"pretrained": "bundled"},
        "adapter": {"peft_type": "LORA"},
        "train": {"seed": 1},
    },
    "lineage": [{"name": "b", "identity": "i", "fingerprint": None, "epochs": 1.0, "steps": 2}],
}
HISTORY = [
    {"step": step, "epoch": step / 4, "loss": 1.0, "learning_rate": 1e-4, "grad_norm": 0.5}
    for step in range(1, 4)
] + [{"step": 3, "epoch": 1.0, "eval_loss": 0.5, "scores": {"acc": 0.5}}]


@examples(200)
@given(data=st.data())
def test_an_adapter_folder(data: st.DataObject, study: Path):
    folder = study.parent / "adapters" / "tuned"
    folder.mkdir(parents=True, exist_ok=True)
    report_ = json.loads(make_data("demo_nli").model_dump_json())
    documents = {CARD_FILE: CARD, DATA_REPORT_FILE: report_}
    odd = data.draw(st.sampled_from([CARD_FILE, DATA_REPORT_FILE, HISTORY_FILE]))
    for name, document in documents.items():
        whole = json_bytes(document)
        new = st.one_of(changed(document).map(json_bytes), damaged(whole))
        (folder / name).write_bytes(data.draw(new) if name == odd else whole)
    lines = b"".join(json_bytes(entry) + b"\n" for entry in HISTORY)
    new = st.one_of(
        changed(HISTORY).map(lambda kept: b"\n".join(map(json_bytes, kept))), damaged(lines)
    )
    (folder / HISTORY_FILE).write_bytes(data.draw(new) if odd == HISTORY_FILE else lines)

    def read() -> None:
        adapter = AdapterFolder(folder)
        assert adapter.is_whole in (True, False)
        read_card(folder)
        read_history(folder)
        describe_data(read_data_report(folder))  # type: ignore[arg-type]  # it is there

    outcome(read)


# --- lm-eval --------------------------------------------------------------------------------------

FOREIGN = make_lines(GOLDS, [0, 1, 0, 1, 0, 0])
RESULTS = make_results({TASK: FOREIGN})


@examples(150)
@given(data=st.data())
def test_output_of_lm_eval(data: st.DataObject, study: Path):
    folder = study.parent / "foreign"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    of_results = data.draw(st.booleans())
    results = data.draw(changed(RESULTS, new=values)) if of_results else RESULTS
    lines = FOREIGN if of_results else data.draw(changed(FOREIGN, new=values))
    (folder / f"results_{DATE}.json").write_bytes(json_bytes(results))
    text = b"\n".join(map(json_bytes, lines))
    (folder / f"samples_{TASK}_{DATE}.jsonl").write_bytes(text)
    outcome(lambda: report(folder))
