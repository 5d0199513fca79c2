"""Evaluations in the schema of Every Eval Ever and in lm-eval's own layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ft_harness.records import Evaluation, Record, Score
from ft_harness.records.finding import load_records
from tests.builders.lm_eval_output import make_lines, write_output
from tests.builders.records import (
    answer_samples,
    label_samples,
    make_record,
    make_score,
    write_evaluation,
)

HERE = Path(__file__).parent
SETTINGS = (
    *("task", "task_version", "split", "num_fewshot", "limit", "seed", "max_length", "device"),
    *("batch_size", "back_end", "generation_kwargs", "chat_template_hash", "cluster"),
)
SAMPLE = (
    *("item_key", "doc_id", "doc", "prompt", "prompt_hash", "target", "targets", "target_hash"),
    *("responses", "prediction", "scores", "choices"),
)


def record_of(scores: list[Score], **settings: object) -> Record:
    return make_record(**settings).model_copy(update={"scores": scores})


def check_schema(content: object) -> None:
    """Raise where a file is none of Every Eval Ever's, by its own schema 0.3.0."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = json.loads((HERE / "every_eval_ever.schema.json").read_text(encoding="utf-8"))
    assert schema["version"] == "0.3.0"
    jsonschema.Draft7Validator(schema).validate(content)


@pytest.fixture
def report(ft, working: Path):
    """`ft-harness report` on everything in a format; the folder of that format."""

    def report(name: str) -> Path:
        code, out, err = ft(
            "report", working / "results", "--out", working, "--name", "r", "--format", name
        )
        assert code == 0, err
        folder = working / "results/reports/r" / name
        assert str(folder) in out
        return folder

    return report


def test_every_evaluation_is_written_for_every_eval_ever(report, working: Path):
    files = sorted(report("every-eval-ever").rglob("*.json"))
    assert len(files) == 4  # base and adapter on test and validation
    for path in files:
        check_schema(json.loads(path.read_text(encoding="utf-8")))
    contents = {path: json.loads(path.read_text(encoding="utf-8")) for path in files}
    tuned = [path for path in files if path.parts[-2] == "small"]
    assert [path.parts[-5:-1] for path in tuned] == [
        ("data", "demo_sentiment", "local", "small")
    ] * 2
    rows = json.loads((working / "results/reports/small/rows.json").read_text())
    (primary,) = [row for row in rows if row["primary"]]
    of_test = [
        contents[path]
        for path in tuned
        if "(test)" in contents[path]["evaluation_results"][0]["evaluation_name"]
    ]
    (model,) = [each["model_info"] for each in of_test]
    assert model["id"] == "small"
    assert model["additional_details"]["base_model"] == "tiny"
    assert model["additional_details"]["adapter_identity"].startswith("sha256:")
    (score,) = [
        each
        for each in of_test[0]["evaluation_results"]
        if each["metric_config"]["metric_id"] == "acc"
    ]
    details = score["score_details"]
    assert details["score"] == primary["tuned"]
    assert details["uncertainty"]["num_samples"] == 24
    interval = details["uncertainty"]["confidence_interval"]
    assert interval["lower"] <= details["score"] <= interval["upper"]
    assert interval["method"] == "Wilson score interval"
    assert interval["confidence_level"] == 0.95
    assert str(working) not in json.dumps(contents[tuned[0]])


def test_writing_again_changes_nothing(report):
    before = {
        path: path.read_bytes() for path in report("every-eval-ever").rglob("*") if path.is_file()
    }
    again = {
        path: path.read_bytes() for path in report("every-eval-ever").rglob("*") if path.is_file()
    }
    assert before == again


def assert_equal(given: Evaluation, read: Evaluation) -> None:
    for name in SETTINGS:
        assert getattr(read.record.settings, name) == getattr(given.record.settings, name), name
    assert read.record.subject == given.record.subject
    assert read.record.model.identity == given.record.model.identity
    assert read.record.model.dtype == given.record.model.dtype
    known = {score.metric: score for score in given.record.scores if score.value is not None}
    found = {score.metric: score for score in read.record.scores if score.value is not None}
    assert found.keys() == known.keys()
    for metric, score in known.items():
        assert found[metric].value == pytest.approx(score.value, abs=1e-12)
        assert found[metric].n == score.n
        assert found[metric].higher_is_better == score.higher_is_better
        if score.low is not None:
            ends = (found[metric].low, found[metric].high)
            assert ends == pytest.approx((score.low, score.high), abs=1e-9), metric
    pairs = zip(given.samples(), read.samples(), strict=True)
    for ours, theirs in pairs:
        for name in SAMPLE:
            assert getattr(theirs, name) == getattr(ours, name), name


def test_what_is_written_for_lm_eval_is_read_back_equal(report, working: Path):
    given = load_records(
        [working / "results/small", *sorted((working / "results").glob("base--*"))]
    )
    read = load_records([report("lm-eval")])
    assert len(given) == len(read) == 4
    found = {(e.record.subject, e.record.settings.split): e for e in read}
    for each in given:
        assert_equal(each, found[each.record.subject, each.record.settings.split])


def test_the_files_make_the_same_report(ft, report, working: Path):
    folder = report("lm-eval")
    code, _, err = ft("report", folder, "--out", working, "--name", "from-lm-eval")
    assert code == 0, err
    ours, theirs = (
        json.loads((working / f"results/reports/{name}/rows.json").read_text())
        for name in ("r", "from-lm-eval")
    )
    for name in ("base", "tuned", "delta", "low", "high", "p", "n"):
        of_ours = {(row["split"], row["metric"]): row[name] for row in ours if row["tuned"]}
        of_theirs = {(row["split"], row["metric"]): row[name] for row in theirs if row["tuned"]}
        assert of_theirs == pytest.approx(of_ours, abs=1e-9), name


def test_what_a_report_holds_for_others_is_not_evaluated_twice(ft, report, working: Path):
    """The copies lie below the folder that the next report reads."""
    report("lm-eval")
    assert ft("report", working / "results", "--out", working, "--name", "next")[0] == 0
    first, second = (
        (working / f"results/reports/{name}/rows.json").read_text() for name in ("r", "next")
    )
    assert second == first
    copies = working / "results/reports/r"  # given by itself it is read
    assert ft("report", copies, "--out", working, "--name", "copies")[0] == 0


def test_base_and_adapter_have_names_of_their_own(report):
    """As lm-eval's tracker names them, so that other readers take them for two models."""
    names = {
        json.loads(path.read_text(encoding="utf-8"))["model_name"]
        for path in report("lm-eval").rglob("results_*.json")
    }
    assert len(names) == 2


def test_the_train_split_generation_and_clusters_come_back(tmp_path: Path):
    from ft_harness.pipeline.shared_formats import write_shared

    kwargs = {"until": ["\n"], "max_gen_toks": 8}
    samples = [
        each.model_copy(update={"responses": [f" {each.prediction}"]})
        for each in answer_samples(["a cat", "two dogs", "x"], ["a cat", "a dog", "y"])
    ]
    record = record_of(
        [make_score(name, value=1 / 3, n=3) for name in ("exact_match", "token_f1")],
        split="train",
        generation_kwargs=kwargs,
        chat_template_hash="0123456789abcdef",
        limit=3,
    )
    given = write_evaluation(tmp_path / "in", record, samples)
    write_shared([given], tmp_path / "out", ["lm-eval", "every-eval-ever"])
    (read,) = load_records([tmp_path / "out" / "lm-eval"])
    assert read.record.settings.split == "train"
    assert read.record.settings.limit == 3
    assert read.record.settings.chat_template_hash == "0123456789abcdef"
    assert read.record.settings.generation_kwargs == kwargs
    assert read.record.scores[0].value == pytest.approx(1 / 3)
    assert [s.prediction for s in read.samples()] == [s.prediction for s in given.samples()]
    (path,) = (tmp_path / "out" / "every-eval-ever").rglob("*.json")
    content = json.loads(path.read_text())
    check_schema(content)
    arguments = content["evaluation_results"][0]["generation_config"]["generation_args"]
    assert arguments == {"max_tokens": 8}


def test_lm_evals_own_output_comes_through_unchanged(tmp_path: Path):
    from ft_harness.pipeline.shared_formats import write_shared

    folder = write_output(
        tmp_path / "in", make_lines([0, 1, 1, 0], [0, 1, 0, 0]), peft="my/adapter"
    )
    (given,) = load_records([folder])
    write_shared([given], tmp_path / "out", ["lm-eval", "every-eval-ever"])
    (read,) = load_records([tmp_path / "out" / "lm-eval"])
    assert read.record.scores[0].value == 0.75
    for ours, theirs in zip(given.samples(), read.samples(), strict=True):
        assert theirs == ours
    (path,) = (tmp_path / "out" / "every-eval-ever").rglob("*.json")
    content = json.loads(path.read_text())
    check_schema(content)
    assert content["eval_library"] == {"name": "lm-eval", "version": "0.4.13"}


def test_undefined_scores_and_other_scales_have_their_place(tmp_path: Path):
    from ft_harness.publish.every_eval_ever import every_eval_ever_json

    scores = [
        make_score("acc", value=None, n=0),
        make_score("mcc", value=-0.2, low=-0.5, high=0.1, n=9),
        make_score("chrf", value=41.5, n=9),
        make_score("byte_ppl", value=3.5, n=9, higher_is_better=False),
        make_score("preference_margin", value=-2.5, n=9),
        make_score("a_strangers", value=7.0, n=9),
    ]
    record = record_of(scores, cluster="premise")
    content = json.loads(every_eval_ever_json(Evaluation(folder=tmp_path, record=record), 7.0))
    check_schema(content)
    found = {each["metric_config"]["metric_id"]: each for each in content["evaluation_results"]}
    assert set(found) == {"mcc", "chrf", "byte_ppl", "preference_margin", "a_strangers"}
    assert found["mcc"]["metric_config"]["min_score"] == -1
    assert found["chrf"]["metric_config"]["max_score"] == 100
    assert found["byte_ppl"]["metric_config"]["min_score"] == 1
    assert found["byte_ppl"]["metric_config"]["max_score"] == "Infinity"
    assert found["preference_margin"]["metric_config"]["min_score"] == "-Infinity"
    assert found["preference_margin"]["metric_config"]["max_score"] == "Infinity"
    assert found["byte_ppl"]["metric_config"]["lower_is_better"]
    assert "score_type" not in found["a_strangers"]["metric_config"]
    uncertainty = found["mcc"]["score_details"]["uncertainty"]
    assert "clusters" in uncertainty["confidence_interval"]["method"]
    assert content["retrieved_timestamp"] == "7"


def test_labels_that_are_digits_stay_the_labels_they_are(tmp_path: Path):
    """Of choices "1" and "0" the target "1" is the first, not the one with that index."""
    from ft_harness.pipeline.shared_formats import write_shared

    (sample,) = label_samples([0], [0])
    sample = sample.model_copy(
        update={
            "choices": [" 1", " 0"],
            "target": "1",
            "prediction": "1",
            "responses": [[-0.1, True], [-2.0, False]],
            "scores": {"acc": 1.0},
        }
    )
    record = record_of([make_score("acc", value=1.0, n=1)])
    given = write_evaluation(tmp_path / "in", record, [sample])
    write_shared([given], tmp_path / "out", ["lm-eval"])
    (read,) = load_records([tmp_path / "out"])
    (again,) = read.samples()
    assert (again.target, again.prediction) == ("1", "1")


def test_an_unknown_format_is_named(ft, working: Path):
    code, _, err = ft("report", working / "results", "--out", working, "--format", "lm_eval")
    assert code == 2
    assert "did you mean lm-eval?" in err
