"""What may stand side by side: equal on both sides, declared as a factor, or accepted by name and
said."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ft_harness.comparison.aggregator import Row, aggregate, compare
from ft_harness.comparison.comparability import Terms, conditions_of, find_mismatches, find_unknown
from ft_harness.comparison.pairing import match_evaluations
from ft_harness.comparison.repeats import count_training_seeds
from ft_harness.errors import ConfigError, NotComparableError
from ft_harness.records import Evaluation, Record
from ft_harness.records.finding import load_records
from tests.builders.command import assert_three_lines
from tests.builders.lm_eval_output import TASK, make_line, make_lines, write_output
from tests.builders.records import label_samples, make_record, write_evaluation

GOLDS = [0, 1] * 30
BASE = [0] * 60  # 30 of 60 right
TUNED = [0, 1] * 24 + [1, 0] * 6  # 48 of 60 right: 24 of gold 1 corrected, 6 of gold 0 broken
Change = Callable[[dict[str, Any]], None]


def only(path: Path) -> Evaluation:
    (found,) = load_records([path])
    return found


def write_sides(
    folder: Path, base: list[dict[str, Any]], tuned: list[dict[str, Any]]
) -> tuple[Path, Path]:
    return write_output(folder / "b", base), write_output(folder / "t", tuned, "adapters/mine")


def table_of(error: NotComparableError | str) -> dict[str, list[str]]:
    """The two columns of a refusal, by field."""
    rows = [
        re.split(" {2,}", line.strip()) for line in str(error).splitlines() if line.startswith("  ")
    ]
    return {row[0]: row[1:] for row in rows}


def refuse(base: Evaluation, tuned: Evaluation, **terms: Any) -> dict[str, list[str]]:
    with pytest.raises(NotComparableError) as caught:
        compare(base, tuned, **terms)
    return table_of(caught.value)


def headline(rows: list[Row]) -> Row:
    (row,) = [row for row in rows if row.tuned is not None]
    return row


# --- items


def test_shuffled_and_renumbered_samples_pair_rightly(tmp_path: Path):
    """The numbers of a companion tool that joins on doc_id would change; ours are those of the file
    in order."""
    lines = make_lines(GOLDS, TUNED)
    random.Random(3).shuffle(lines)
    shuffled = [line | {"doc_id": number} for number, line in enumerate(lines)]
    base, tuned = write_sides(tmp_path / "1", make_lines(GOLDS, BASE), make_lines(GOLDS, TUNED))
    _, other = write_sides(tmp_path / "2", make_lines(GOLDS, BASE), shuffled)
    expected, found = compare(only(base), only(tuned)), compare(only(base), only(other))
    assert headline(found.rows).model_dump(exclude={"tuned_settings"}) == headline(
        expected.rows
    ).model_dump(exclude={"tuned_settings"})
    assert found.cases.counts == {
        "still right": 24,
        "corrected": 24,
        "broken": 6,
        "not corrected": 6,
    }


def test_five_of_sixty_items_are_refused(ft, tmp_path: Path):
    base, tuned = write_sides(tmp_path, make_lines(GOLDS, BASE), make_lines(GOLDS, TUNED)[:5])
    code, _, err = ft("compare", base, tuned)
    assert code == 3
    assert table_of(err)["items"] == ["60 (55 only here)", "5 (0 only here)"]
    code, _, err = ft("compare", base, tuned, "--allow-mismatch", "items")
    assert code == 0, err
    text = (tmp_path / "results/reports/comparison/report.md").read_text()
    assert "accepted difference, items: base 60 (55 only here), tuned 5 (0 only here)" in text
    rows = json.loads((tmp_path / "results/reports/comparison/rows.json").read_text())
    assert [row["n"] for row in rows if row["tuned"] is not None] == [5]


def test_equal_docs_are_told_apart_by_occurrence(tmp_path: Path):
    """Three docs, the second of which stands three times: four keys, and one more on one side is
    seen."""
    lines = [
        make_line(
            number, 1, 0, doc={"text": "same"} if number in (1, 2, 3) else {"text": f"{number}"}
        )
        for number in range(5)
    ]
    base, tuned = write_sides(tmp_path, lines, lines[:4])
    keys = [sample.item_key for sample in only(base).samples()]
    assert len(set(keys)) == 5
    assert sorted(key.rpartition("-")[2] for key in keys) == ["1", "1", "1", "2", "3"]
    assert refuse(only(base), only(tuned)) == {
        "base": ["tuned"],
        "items": ["5 (1 only here)", "4 (0 only here)"],
    }


@pytest.mark.parametrize("field", ["prompt_hash", "target_hash"])
def test_other_prompts_and_targets_are_refused_by_name(tmp_path: Path, field: str):
    changed = [
        line | {field: "0" * 64} if line["doc_id"] in (4, 7) else line
        for line in make_lines(GOLDS, TUNED)
    ]
    base, tuned = write_sides(tmp_path, make_lines(GOLDS, BASE), changed)
    (name,) = [key for key in refuse(only(base), only(tuned)) if key.startswith(field)]
    assert name.startswith(f"{field} of 2 of 60 items, first ")


def test_an_adapter_that_changes_no_score_is_the_finding(tmp_path: Path):
    """lm-eval says nothing of an adapter of which no weight was loaded."""
    base, same = write_sides(tmp_path / "1", make_lines(GOLDS, BASE), make_lines(GOLDS, BASE))
    _, other = write_sides(
        tmp_path / "2", make_lines(GOLDS, BASE), make_lines(GOLDS, [1, *BASE[1:]])
    )
    said = "Check that the adapter was in use: nothing has shown that it was."
    for tuned, changed in ((same, False), (other, True)):
        (compared,) = aggregate([only(base), only(tuned)], name="n", command="c").comparisons
        assert compared.finding.endswith(said) != changed
        assert compared.finding.startswith("Nothing changed on ") != changed
        assert compared.changed == changed


# --- settings


def put(*path: str, value: object) -> Change:
    def change(results: dict[str, Any]) -> None:
        place = results
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value

    return change


SETTINGS: dict[str, tuple[Change, str, list[str]]] = {
    "shots": (put("n-shot", TASK, value=3), "num_fewshot", ["0", "3"]),
    "limit": (put("config", "limit", value=60.0), "limit", ["None", "60"]),
    "version": (put("versions", TASK, value=2.0), "task_version", ["'1.0'", "'2.0'"]),
    "dtype": (
        put("config", "model_dtype", value="torch.bfloat16"),
        "dtype",
        ["'float32'", "'bfloat16'"],
    ),
    "max_length": (put("max_length", value=256), "max_length", ["512", "256"]),
    "seed": (put("config", "fewshot_seed", value=7), "seed", ["1234", "7"]),
    "back-end": (put("config", "model", value="vllm"), "back_end", ["'hf'", "'vllm'"]),
    "system": (
        put("system_instruction", value="Be brief."),
        "system_instruction",
        ["None", "'Be brief.'"],
    ),
    "split": (put("configs", TASK, "test_split", value=None), "split", ["'test'", "unknown"]),
    "quantization": (
        put("config", "model_args", "load_in_4bit", value=True),
        "quantization",
        ["None", "'4bit'"],
    ),
    "base model": (
        put("config", "model_args", "pretrained", value="models/other"),
        "model",
        ["'models/small'", "'models/other'"],
    ),
    "program": (
        put("lm_eval_version", value="0.4.9"),
        "metric acc",
        ["'metric:acc|filter:none|lm-eval:0.4.13'", "'metric:acc|filter:none|lm-eval:0.4.9'"],
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_other_settings_of_plain_lm_eval_are_refused_by_name(ft, tmp_path: Path, name: str):
    change, field, values = SETTINGS[name]
    base = write_output(tmp_path / "b", make_lines(GOLDS, BASE))
    tuned = write_output(tmp_path / "t", make_lines(GOLDS, TUNED), "adapters/mine", change=change)
    code, _, err = ft("compare", base, tuned)
    assert code == 3
    shown = table_of(err)
    assert shown[field] == values
    accepted = [
        part
        for key in shown
        if key != "base"
        for part in ("--allow-mismatch", key.split(" of ")[0])
    ]
    code, _, err = ft("compare", base, tuned, *accepted)
    assert code == 0, err
    rows = json.loads((tmp_path / "results/reports/comparison/rows.json").read_text())
    (row,) = [row for row in rows if row["tuned"] is not None]
    assert f"accepted difference, {field}: base {values[0]}, tuned {values[1]}" in row["footnotes"]
    assert (
        f"{field}".replace("_", "\\_")
        in (tmp_path / "results/reports/comparison/report.md").read_text()
    )


@pytest.mark.parametrize(
    "change",
    [
        put("chat_template", value="{{ messages }}"),
        put("configs", TASK, "doc_to_text", value="Film: {{text}}"),
    ],
)
def test_other_templates_are_refused(tmp_path: Path, change: Change):
    base = write_output(tmp_path / "b", make_lines(GOLDS, BASE))
    tuned = write_output(tmp_path / "t", make_lines(GOLDS, TUNED), "adapters/mine", change=change)
    assert refuse(only(base), only(tuned)).keys() & {"chat_template_hash", "task_hash"}


def test_generation_arguments_are_compared(tmp_path: Path):
    def generate(length: int) -> Change:
        def change(results: dict[str, Any]) -> None:
            config = results["configs"][TASK]
            config |= {
                "output_type": "generate_until",
                "generation_kwargs": {"max_gen_toks": length},
            }

        return change

    base = write_output(tmp_path / "b", make_lines(GOLDS, BASE), change=generate(8))
    tuned = write_output(tmp_path / "t", make_lines(GOLDS, TUNED), "a/mine", change=generate(9))
    shown = refuse(only(base), only(tuned))
    assert shown["generation_kwargs"] == ["{'max_gen_toks': 8}", "{'max_gen_toks': 9}"]
    row = headline(compare(only(base), only(tuned), factors=["decoding"]).rows)
    assert row.footnotes[0].startswith(
        "declared factor decoding, generation_kwargs: base {'max_gen_toks': 8}"
    )


# --- what is not said


def test_what_one_side_does_not_say_is_not_equal(tmp_path: Path):
    base = write_output(tmp_path / "b", make_lines(GOLDS, BASE))
    tuned = write_output(
        tmp_path / "t",
        make_lines(GOLDS, TUNED),
        "a/mine",
        change=lambda found: found.pop("max_length"),
    )
    assert refuse(only(base), only(tuned))["max_length"] == ["512", "unknown"]


def test_what_neither_side_says_is_a_footnote_for_one_version_only(tmp_path: Path):
    def without(version: str) -> Change:
        return lambda found: found.update({"max_length": None, "lm_eval_version": version})

    base = only(write_output(tmp_path / "b", make_lines(GOLDS, BASE), change=without("0.4.9")))
    same = only(
        write_output(tmp_path / "t", make_lines(GOLDS, TUNED), "a/mine", change=without("0.4.9"))
    )
    other = only(
        write_output(tmp_path / "o", make_lines(GOLDS, TUNED), "a/mine", change=without("0.4.13"))
    )
    assert find_unknown(base.record, same.record) == ["weights", "max_length"]
    assert conditions_of(base.record)["max_length"] is None
    row = headline(compare(base, same).rows)
    assert row.footnotes == [
        "lm-eval 0.4.9 does not record weights, max_length, so it was not checked that they are the "
        "same for base and tuned"
    ]
    assert refuse(base, other)["max_length"] == ["unknown", "unknown"]
    assert find_mismatches(base.record, same.record) == {}


def test_our_record_says_more_than_lm_evals(tmp_path: Path):
    """What only our records hold differs from unknown: nothing passes silently."""
    ours = write_evaluation(
        tmp_path / "ours", make_record(task=TASK), label_samples([0, 1], [0, 1])
    )
    theirs = only(write_output(tmp_path / "t", make_lines(GOLDS, TUNED), "a/mine"))
    assert {"model", "task_hash", "metric acc"} <= find_mismatches(
        ours.record, theirs.record
    ).keys()
    assert find_unknown(ours.record, theirs.record) == []


# --- declared factors


def write(folder: Path, record: Record, predictions: list[int], prompt: str = "") -> Evaluation:
    samples = label_samples(GOLDS, predictions)
    changed = [
        sample.model_copy(update={"prompt_hash": prompt + sample.prompt_hash}) for sample in samples
    ]
    return write_evaluation(folder, record, changed)


@pytest.fixture
def shots(tmp_path: Path) -> tuple[Evaluation, Evaluation]:
    """A base without examples in its prompts, an adapter with three."""
    settings = {"num_fewshot": 3, "fewshot_hash": "rows-1"}
    return (
        write(tmp_path / "r" / "b", make_record(), BASE),
        write(tmp_path / "r" / "t", make_record("nli", **settings), TUNED, "3 shots "),
    )


def test_a_declared_factor_may_differ_and_is_printed(
    ft, shots: tuple[Evaluation, Evaluation], tmp_path: Path
):
    shown = refuse(*shots)
    assert shown.keys() >= {"num_fewshot", "fewshot_hash"}
    code, _, err = ft("report", "r", "--factor", "shots")
    assert code == 0, err
    text = (tmp_path / "results/reports/report/report.md").read_text()
    assert "0 -&gt; 3" in text or "0 -> 3" in text
    assert "declared factor shots, num\\_fewshot: base 0, tuned 3" in text
    rows = json.loads((tmp_path / "results/reports/report/rows.json").read_text())
    assert {row["metric"] for row in rows if row["tuned"] is not None} >= {"acc", "f1_macro"}
    code, _, err = ft("report", "r")
    assert code == 3
    assert_three_lines(err, "no adapter's evaluation has a base")


def test_a_factor_lets_nothing_else_pass(shots: tuple[Evaluation, Evaluation], tmp_path: Path):
    base, _ = shots
    tuned = write(tmp_path / "u", make_record("nli", num_fewshot=3, max_length=64), TUNED)
    assert refuse(base, tuned, factors=["shots"]).keys() == {"base", "max_length"}


def test_an_equal_partner_goes_before_one_that_differs_in_the_factor(shots, tmp_path: Path):
    base, tuned = shots
    equal = write(
        tmp_path / "e", make_record(num_fewshot=3, fewshot_hash="rows-1"), BASE, "3 shots "
    )
    matched, _, notes = match_evaluations([base, equal, tuned], Terms(factors=("shots",)))
    assert matched == [(equal, tuned)]
    assert notes == [
        "base--bundled/demo_nli@test: not compared, nli/demo_nli@test was matched with an "
        "evaluation more like it"
    ]
    study = aggregate([base, tuned], name="n", command="c", terms=Terms(factors=("shots",)))
    assert len(study.comparisons) == 1


@pytest.mark.parametrize(
    ("factor", "model"),
    [
        ("model", {"identity": "model-2"}),
        ("quantization", {"quantization": "nf4, bfloat16"}),
        ("head", {"head": "head-1"}),
    ],
)
def test_factors_of_the_model(tmp_path: Path, factor: str, model: dict[str, str]):
    base, record = write(tmp_path / "b", make_record(), BASE), make_record("nli")
    changed = record.model_copy(update={"model": record.model.model_copy(update=model)})
    tuned = write(tmp_path / "t", changed, TUNED)
    assert factor in refuse(base, tuned)
    row = headline(
        [row for row in compare(base, tuned, factors=[factor]).rows if row.metric == "acc"]
    )
    assert [note.partition(",")[0] for note in row.footnotes] == [f"declared factor {factor}"]


def test_settings_within_a_signature_are_compared_once(tmp_path: Path):
    """With shots as a factor, the shots that the signature names are no second difference."""

    def sign(record: Record, shots: int, version: str) -> Record:
        scores = [
            score.model_copy(
                update={"signature": f"metric:{score.metric}|shots:{shots}|lm-eval:{version}"}
            )
            for score in record.scores
        ]
        return record.model_copy(update={"scores": scores})

    base = write(tmp_path / "b", sign(make_record(), 0, "1"), BASE)
    tuned = write(tmp_path / "t", sign(make_record("nli", num_fewshot=3), 3, "1"), TUNED)
    newer = write(tmp_path / "n", sign(make_record("nli", num_fewshot=3), 3, "2"), TUNED)
    assert compare(base, tuned, factors=["shots"]).rows
    assert "metric acc" in refuse(base, newer, factors=["shots"])
    assert compare(base, newer, factors=["shots"], allow_mismatch=["metric"]).rows


def test_an_unknown_factor_is_a_config_error(ft, shots: tuple[Evaluation, Evaluation]):
    with pytest.raises(ConfigError, match="did you mean shots"):
        compare(*shots, factors=["shot"])
    code, _, err = ft("report", "r", "--factor", "temperature")
    assert code == 2
    assert_three_lines(err, "unknown factor 'temperature'")


def test_a_merged_model_stands_beside_its_base_by_position(ft, tmp_path: Path):
    """A model that another trainer wrote as a whole has no adapter; `compare` takes sides by
    position."""
    base = write_output(tmp_path / "b", make_lines(GOLDS, BASE))
    merged = write_output(
        tmp_path / "t", make_lines(GOLDS, TUNED), change=SETTINGS["base model"][0]
    )
    assert ft("compare", base, merged)[0] == 3
    code, _, err = ft("compare", base, merged, "--factor", "model")
    assert code == 0, err
    text = (tmp_path / "results/reports/comparison/report.md").read_text()
    assert "models/small" in text
    assert "models/other" in text


def test_a_seed_that_is_not_recorded_is_none(tmp_path: Path):
    """lm-eval's files say nothing of the training; with the adapter's card they would."""
    base = only(write_output(tmp_path / "b", make_lines(GOLDS, BASE)))
    tuned = only(write_output(tmp_path / "t", make_lines(GOLDS, TUNED), "a/mine"))
    compared = compare(base, tuned)
    assert compared.tuned.foreign
    assert compared.tuned.adapter
    assert "seed" not in compared.finding
    assert count_training_seeds(compared.tuned, [], has_card=True) == 1
