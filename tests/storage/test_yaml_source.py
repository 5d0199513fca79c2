"""Strict YAML: safe, no key twice, and file and line of every fault."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ft_harness.errors import ConfigError, InputError
from ft_harness.storage.strict_files import read_yaml


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "some.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_content_and_the_line_of_every_key(tmp_path: Path):
    path = write(tmp_path, "# a comment\ntask:\n  name: x\ndata: {seed: 1,\n  labels: [a]}\n")
    content, lines = read_yaml(path)
    assert content == {"task": {"name": "x"}, "data": {"seed": 1, "labels": ["a"]}}
    assert lines == {
        ("task",): 2,
        ("task", "name"): 3,
        ("data",): 4,
        ("data", "seed"): 4,
        ("data", "labels"): 5,
    }


def test_a_function_is_read_as_its_name_and_not_imported(tmp_path: Path):
    content, _ = read_yaml(write(tmp_path, "f: !function subprocess.check_output\n"))
    assert content == {"f": "!function subprocess.check_output"}


def test_dates_stay_text(tmp_path: Path):
    content, _ = read_yaml(write(tmp_path, "revision: 2024-01-31\nbroken: 2024-13-45\n"))
    assert content == {"revision": "2024-01-31", "broken": "2024-13-45"}


def test_byte_order_mark_and_crlf_are_accepted(tmp_path: Path):
    content, lines = read_yaml(write(tmp_path, b"\xef\xbb\xbfa: 1\r\nb: 2\r\n"))
    assert content == {"a": 1, "b": 2}
    assert lines[("b",)] == 2


def test_a_merge_key_is_refused_with_its_line(tmp_path: Path):
    with pytest.raises(InputError, match=r"some\.yaml:2: not valid YAML"):
        read_yaml(write(tmp_path, "a: &a {x: 1}\nb: {<<: *a}\n"))


@pytest.mark.parametrize(
    ("text", "where", "reason"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", ":3", "not valid YAML"),
        ("a: 1\n\ta: 2\n", ":2", "not valid YAML"),
        ("a: 1\nb: 2\na: 3\n", ":3", "the key 'a' is listed twice"),
        ("s:\n  a: 1\n  a: 1\n", ":3", "the key 'a' is listed twice"),
        ("a: 1\n? [x, y]\n: 2\n", ":2", "a key is a list or mapping"),
        (
            "a: 1\nb: !!python/object/apply:os.getcwd []\n",
            ":2",
            "could not determine a constructor",
        ),
        ("a: !!int abc\n", "", "invalid literal"),
        ("a: \x00\n", "", "characters are not allowed"),
        ("[" * 5000, "", "more than 50 levels deep"),
        ("a: " + "{b: " * 5000, "", "more than 50 levels deep"),
        ("- " * 5000, "", "more than 50 levels deep"),
        ("a: [" + "1," * 10_000 + "]\n", "", "more than 10000 values"),
        ("- a\n- b\n", "", "holds no mapping"),
        ("", "", "holds no mapping"),
        (b"a: \xff\xfe\n", "", "can't be read"),
    ],
)
@pytest.mark.parametrize("error_type", [ConfigError, InputError])
def test_faults_name_file_and_line(
    text: str | bytes, where: str, reason: str, error_type: type, tmp_path: Path
):
    path = write(tmp_path, text)
    with pytest.raises(error_type) as caught:
        read_yaml(path, error_type)
    assert caught.value.what.startswith(f"{path}{where}: ")
    assert reason in caught.value.what


def test_aliases_are_counted_with_what_they_stand_for(tmp_path: Path):
    """Nine levels of nine aliases: 9 ** 9 = 387 million values from 400 bytes."""
    levels = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    levels += [
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]"
        for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    bomb = "\n".join(levels)
    assert len(bomb) < 450
    started = time.monotonic()
    with pytest.raises(InputError, match="more than 10000 values, with aliases expanded"):
        read_yaml(write(tmp_path, bomb))
    assert time.monotonic() - started < 2


def test_a_few_aliases_are_fine(tmp_path: Path):
    content, _ = read_yaml(write(tmp_path, "a: &a [1, 2]\nb: *a\nc: &s word\nd: *s\n"))
    assert content == {"a": [1, 2], "b": [1, 2], "c": "word", "d": "word"}


def test_a_file_of_100_megabytes_is_refused_unread(tmp_path: Path):
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    started = time.monotonic()
    with pytest.raises(
        InputError, match=r"huge\.yaml: can't be read \(100000000 bytes, more than the 1000000"
    ):
        read_yaml(path)
    assert time.monotonic() - started < 0.1


def test_the_largest_legal_file_is_read_quickly(tmp_path: Path):
    path = write(tmp_path, "".join(f"key_{i}: {'x' * 180}\n" for i in range(4_900)))
    assert path.stat().st_size > 900_000
    started = time.monotonic()
    content, _ = read_yaml(path)
    assert len(content) == 4_900
    assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    "text",
    [
        "a: '" + "x " * 490_000,
        "[" * 990_000,
        "".join(f"k{i}: {'x' * 180}\n" for i in range(4_900)) + "a: [",
    ],
    ids=["quote", "depth", "end"],
)
def test_a_large_file_that_is_not_yaml_is_refused_quickly(text: str, tmp_path: Path):
    path = write(tmp_path, text)
    assert path.stat().st_size > 900_000
    started = time.monotonic()
    with pytest.raises(InputError, match="not valid YAML"):
        read_yaml(path)
    assert time.monotonic() - started < 8


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: can't be read"):
        read_yaml(tmp_path / "nowhere.yaml", ConfigError)
