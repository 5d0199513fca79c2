"""Labels: names before numbers, names that a file states, and names that read alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from ft_harness.data import load_splits
from ft_harness.data.labels import LabelIndex, alike, match_names
from ft_harness.errors import FtHarnessError, InputError
from ft_harness.metrics.label_words import parse_label

STARS = ["1", "2", "3", "4", "5"]


def write_labels(path: Path, raw: list) -> Path:
    rows = [{"text": f"t{i}", "label": value} for i, value in enumerate(raw)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path, labels: list[str], **options) -> list[int]:
    columns = {"text": [], "label": []}
    data = {"source": str(path), "columns": columns, "labels": labels, **options}
    return list(load_splits(data, test_all=True)["test"]["label"])


def test_numbers_that_are_names_are_names_only(tmp_path: Path):
    assert read(write_labels(tmp_path / "a.jsonl", [1, "5", 2.0, "3.0", " 4 "][:4]), STARS) == [
        0, 4, 1, 2,
    ]  # fmt: skip
    for raw in (0, "0", 6, 0.0):
        path = write_labels(tmp_path / "b.jsonl", [raw])
        with pytest.raises(InputError, match=r"label '.*' is not among the choices") as caught:
            read(path, STARS)
        assert "or 0 to" not in caught.value.expected
    path = write_labels(tmp_path / "c.jsonl", [2])
    with pytest.raises(InputError, match="label '2' is not among"):
        read(path, ["1", "none"])
    assert read(write_labels(tmp_path / "d.jsonl", [1, 2]), ["1.0", "2.0"]) == [0, 1]


def test_blanks_around_a_label_do_not_count(tmp_path: Path):
    assert read(write_labels(tmp_path / "a.jsonl", [" no", "yes "]), ["no", "yes"]) == [0, 1]


def test_a_label_nearly_like_a_name_is_refused_with_a_suggestion(tmp_path: Path):
    path = write_labels(tmp_path / "a.jsonl", ["positiv"])
    with pytest.raises(InputError, match="did you mean positive"):
        read(path, ["negative", "positive"])


def write_parquet(path: Path, values: list[int], names: list[str]) -> Path:
    datasets = pytest.importorskip("datasets")
    kinds = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    rows = [{"text": f"t{i}", "label": value} for i, value in enumerate(values)]
    made = datasets.Dataset.from_list(rows, features=datasets.Features(kinds))
    made.to_parquet(str(path))
    return path


@pytest.mark.parametrize(
    ("stated", "labels", "expected"),
    [
        (["positive", "negative"], ["negative", "positive"], [1, 0]),
        (["negative", "positive"], ["negative", "positive"], [0, 1]),
        (["POSITIVE", "Negative "], ["negative", "positive"], [1, 0]),
        (["pos", "neg"], ["negative", "positive"], [1, 0]),
        (["0", "1"], ["negative", "positive"], [0, 1]),
        (["1", "0"], ["negative", "positive"], [0, 1]),  # numbers name nothing
    ],
)
def test_names_that_a_file_states_are_used_by_name(
    stated: list[str], labels: list[str], expected: list[int], tmp_path: Path
):
    path = write_parquet(tmp_path / "a.parquet", [0, 1], stated)
    assert read(path, labels) == expected


def test_other_names_count_in_their_order_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = write_parquet(tmp_path / "a.parquet", [0, 1], ["bad", "good"])
    assert read(path, ["negative", "positive"]) == [0, 1]
    assert "taken in their order: bad as negative, good as positive" in caplog.text
    path = write_parquet(tmp_path / "b.parquet", [0, 1], ["bad", "mixed", "good"])
    with pytest.raises(InputError, match="states the labels bad, mixed, good, none of which"):
        read(path, ["negative", "positive"])


def test_a_stated_name_outside_the_labels_is_refused_or_dropped(tmp_path: Path):
    path = write_parquet(tmp_path / "a.parquet", [0, 1, 2], ["positive", "neutral", "negative"])
    with pytest.raises(InputError, match="row 1: label 'neutral' is not among the choices"):
        read(path, ["negative", "positive"])
    for drop in ("neutral", 1):
        assert read(path, ["negative", "positive"], drop_labels=[drop]) == [1, 0]


def test_names_of_a_hub_data_set_are_used_by_name(monkeypatch: pytest.MonkeyPatch):
    datasets = pytest.importorskip("datasets")
    kinds = {
        "text": datasets.Value("string"),
        "label": datasets.ClassLabel(names=["positive", "negative"]),
    }
    rows = [{"text": f"t{i}", "label": i % 2} for i in range(4)]
    hub = {"train": datasets.Dataset.from_list(rows, features=datasets.Features(kinds))}
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: hub)
    assert read(Path("org/name"), ["negative", "positive"]) == [1, 0, 1, 0]


def test_matching_of_names():
    assert match_names(["entailment", "not_entailment"], ["not_entailment", "entailment"]) == [1, 0]
    assert match_names(["a", "x"], ["x", "y"]) == [None, 0]
    assert match_names(["0", "1"], ["x", "y"]) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("US", "us"),
        ("\uff39es", "yes"),
        ("yes\u200b", "yes"),
        ("\u00adno", "no"),
        ("e\u0301", "\u00e9"),
        ("a  b", "a b"),
        ("Stra\u00dfe", "STRASSE"),
        ("\u0430", "a"),  # Cyrillic
        ("p\u043esitive", "positive"),
        ("\u041d\u0415", "he"),
        ("\u03bf\u03bd", "ov"),  # Greek
        ("a\u3164", "a"),
    ],
)
def test_words_that_read_alike_are_refused_or_warned_of(
    one: str, other: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    assert alike([one, other]) == (one, other)
    path = write_labels(tmp_path / "a.jsonl", [0, 1])
    with pytest.raises(FtHarnessError, match="are read as the same answer"):
        read(path, ["a", "b"], label_words=[one, other])
    assert not caplog.records
    read(path, [one, other])
    assert "differ only in case, invisible characters or the script of letters" in caplog.text


def test_words_of_other_scripts_are_words(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    words = [
        "\u0434\u0430",
        "\u043d\u0435\u0442",
        "\u03bd\u03b1\u03b9",
        "nat",
        "\u306f\u3044",
        "ha",
    ]
    path = write_labels(tmp_path / "a.jsonl", [0, 5])
    assert read(path, list("abcdef"), label_words=words) == [0, 5]
    assert not caplog.records


@pytest.mark.parametrize("label", ["p\u043esitive", "positive\u200b"])
def test_a_label_that_only_looks_like_a_name_is_shown_as_it_is(label: str, tmp_path: Path):
    path = write_labels(tmp_path / "a.jsonl", [label])
    with pytest.raises(InputError) as caught:
        read(path, ["negative", "positive"])
    assert f"it looks like positive, but is {label!a}" in caught.value.what


def test_the_parser_of_answers_takes_no_label_word_for_another(tmp_path: Path):
    """What the parser folds into one is refused above; all else it keeps apart."""
    words = ["not good", "good", "good!", "5", "-5"]
    assert [parse_label(word, words) for word in words] == [0, 1, 2, 3, 4]
    path = write_labels(tmp_path / "a.jsonl", [0, 4])
    assert read(path, ["a", "b", "c", "d", "e"], label_words=words) == [0, 4]


@pytest.mark.parametrize(
    ("names", "true"),
    [
        (["yes", "no"], "yes"),
        (["no", "yes"], "yes"),
        (["positive", "negative"], "positive"),
        (["1", "0"], "1"),
        (["False", "True"], "True"),
        (["ham", "spam"], "spam"),  # no name says it: the second one is class 1
    ],
)
def test_true_is_the_class_of_that_meaning(names: list[str], true: str):
    index = LabelIndex(names)
    for raw in (True, "true", "True"):
        assert names[index.find(raw, "place")] == true
    assert names[index.find(False, "place")] != true


def test_truth_values_are_no_names_that_are_other_numbers():
    with pytest.raises(InputError, match="label 'False' is not among the choices"):
        LabelIndex(["1", "2"]).find(False, "place")


def test_numbers_that_a_file_states_as_names_are_used_by_name(tmp_path: Path):
    names = ["1", "2", "3"]
    features = Features({"text": Value("string"), "m": {"stars": ClassLabel(names=names)}})
    rows = [{"text": f"row {i}", "m": {"stars": i % 3}} for i in range(6)]
    Dataset.from_list(rows, features=features).to_parquet(tmp_path / "a.parquet")
    columns = {"text": ["text"], "label": ["m.stars"]}
    for labels in (names, names[::-1]):
        options = {"source": str(tmp_path / "a.parquet"), "columns": columns, "labels": labels}
        docs = load_splits(options, test_all=True)["test"]
        assert [labels[doc["label"]] for doc in docs] == [names[i % 3] for i in range(6)]
