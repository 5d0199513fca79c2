"""One writer: a file is the old one or the new one, a full disk and a lost folder say so, a folder
has one user."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ft_harness import storage
from ft_harness.errors import InputError, ResourceError, StorageLostError
from ft_harness.storage import hashing, writing


def failing(monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException) -> None:
    def fail(*_):
        raise error

    monkeypatch.setattr(writing.os, name, fail)


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "error_type", "exit_code"),
    [
        (errno.ENOSPC, ResourceError, 5),
        (errno.EDQUOT, ResourceError, 5),
        (errno.EIO, StorageLostError, 7),
        (errno.EROFS, StorageLostError, 7),
    ],
)
def test_a_failing_write_leaves_the_old_file_and_nothing_else(
    step: str,
    number: int,
    error_type: type,
    exit_code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    path = tmp_path / "record.json"
    storage.write_text(path, '{"n": 1}\n')
    failing(monkeypatch, step, OSError(number, os.strerror(number)))
    with pytest.raises(error_type) as caught:
        storage.write_text(path, '{"n": 2}\n')
    assert caught.value.exit_code == exit_code
    assert json.loads(path.read_text()) == {"n": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["record.json"]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "record.json"
    storage.write_text(path, '{"n": 1}\n')
    failing(monkeypatch, "fsync", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        storage.write_text(path, '{"n": 2}\n')
    assert [item.name for item in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize("write", [storage.write_text, storage.append_line])
def test_a_lost_folder_names_an_emergency_copy(
    write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writing.tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / "results"
    folder.write_text("a file where the folder was")
    with pytest.raises(StorageLostError) as caught:
        write(folder / "report.md", "0.75")
    copy = next(tmp_path.glob("ft-harness-*/report.md"))
    assert caught.value.exit_code == 7
    assert str(folder / "report.md") in caught.value.what
    assert str(copy) in caught.value.what
    assert copy.read_text().strip() == "0.75"


def test_without_room_for_a_copy_the_message_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writing.tempfile, "tempdir", str(tmp_path / "nowhere"))
    (tmp_path / "results").write_text("")
    with pytest.raises(StorageLostError, match="no emergency copy"):
        storage.write_text(tmp_path / "results" / "report.md", "0.75")


def test_a_removed_folder_is_made_again(tmp_path: Path):
    storage.write_text(tmp_path / "gone" / "deeper" / "report.md", "0.75")
    assert (tmp_path / "gone" / "deeper" / "report.md").read_text() == "0.75"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_nan_is_never_written(number: float, tmp_path: Path):
    with pytest.raises(ValueError, match="JSON"):
        storage.canonical_json({"acc": number})
    with pytest.raises(ValueError, match="JSON"):
        storage.canonical_json({"acc": number})
    assert not list(tmp_path.iterdir())


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path: Path):
    (tmp_path / "victim").write_text("untouched")
    (tmp_path / "record.json").symlink_to(tmp_path / "victim")
    storage.write_text(tmp_path / "record.json", "{}\n")
    assert (tmp_path / "victim").read_text() == "untouched"
    assert (tmp_path / "record.json").read_text() == "{}\n"


def test_the_same_lines_are_the_same_gzip_bytes(tmp_path: Path):
    for name in ("a.gz", "b.gz"):
        storage.write_gzip_lines(tmp_path / name, iter(["one", "zwei ü"]))
        os.utime(tmp_path / name, (0, 0))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()).decode() == "one\nzwei ü\n"
    assert (tmp_path / "a.gz").read_bytes()[
        4:8
    ] == b"\0\0\0\0"  # RFC 1952: no time of day in the header


def test_lines_are_appended_whole(tmp_path: Path):
    storage.append_line(tmp_path / "history.jsonl", '{"step":1}')
    storage.append_line(tmp_path / "history.jsonl", '{"step":2}')
    assert (tmp_path / "history.jsonl").read_bytes() == b'{"step":1}\n{"step":2}\n'


def test_a_full_disk_while_appending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    failing(monkeypatch, "fsync", OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(ResourceError, match="disk is full"):
        storage.append_line(tmp_path / "history.jsonl", "{}")


def test_every_writer_redacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CANARY_TOKEN", "canary-0123456789")
    storage.write_text(tmp_path / "a", "x canary-0123456789")
    storage.write_text(tmp_path / "b", '["canary-0123456789"]')
    storage.append_line(tmp_path / "c", "canary-0123456789")
    storage.write_gzip_lines(tmp_path / "d", ["canary-0123456789"])
    contents = [(tmp_path / name).read_bytes() for name in "abc"] + [
        gzip.decompress((tmp_path / "d").read_bytes())
    ]
    assert [b"canary" in content for content in contents] == [False] * 4
    assert [b"[redacted]" in content for content in contents] == [True] * 4


def test_canonical_json_is_one_spelling():
    assert storage.canonical_json({"b": [1, None], "a": "ü"}) == '{"a":"ü","b":[1,null]}'


def test_the_probe_of_a_good_folder_makes_it_and_leaves_nothing(tmp_path: Path):
    assert storage.problems(tmp_path / "new" / "results") == []
    assert list((tmp_path / "new" / "results").iterdir()) == []


def test_a_full_disk_is_found_by_the_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda _: SimpleNamespace(free=199_000_000))
    (problem,) = storage.problems(tmp_path)
    assert problem.exit_code == 5
    assert "199 MB left" in problem.what
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda _: SimpleNamespace(free=200_000_000))
    assert storage.problems(tmp_path) == []


@pytest.mark.parametrize("below", ["file", "file/results"])
def test_a_file_in_the_way_of_the_folder_is_found_by_the_probe(below: str, tmp_path: Path):
    (tmp_path / "file").write_text("")
    (problem,) = storage.problems(tmp_path / below)
    assert problem.exit_code == 2
    assert str(tmp_path / below) in problem.what
    assert "--out" in problem.action


HOLDER = """
import sys
from pathlib import Path
from ft_harness.storage import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


def test_a_folder_in_use_by_a_living_process_is_refused(tmp_path: Path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(InputError, match=f"in use by process {holder.pid}") as caught,
            storage.locked(tmp_path),
        ):
            pytest.fail("the lock was taken")
        assert caught.value.exit_code == 3
    finally:
        holder.kill()
        holder.wait()
    with storage.locked(
        tmp_path
    ) as died:  # the holder was killed: its lock is free, whatever the file says
        assert died.startswith(f"{holder.pid} since 20")
        assert (tmp_path / storage.LOCK_FILE).read_text().startswith(f"{os.getpid()} since 20")


@pytest.mark.parametrize("left", ["", "not a number", "1"])
def test_a_lock_file_that_nobody_holds_is_taken_over(left: str, tmp_path: Path):
    """Also one with the number of a living process: numbers are given again after a restart."""
    (tmp_path / storage.LOCK_FILE).write_text(left)
    with storage.locked(tmp_path):
        assert (tmp_path / storage.LOCK_FILE).read_text().startswith(f"{os.getpid()} since 20")


def test_a_lock_that_was_given_back_tells_of_nobody(tmp_path: Path):
    for _ in range(2):
        with storage.locked(tmp_path) as died:
            assert died is None


def test_a_lock_is_released_after_a_fault(tmp_path: Path):
    with pytest.raises(RuntimeError), storage.locked(tmp_path / "new"):
        raise RuntimeError
    assert not list((tmp_path / "new").iterdir())


def test_a_file_is_hashed_anew_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, read = tmp_path / "a", []
    whole = storage.sha256_file
    monkeypatch.setattr(hashing, "sha256_file", lambda file: read.append(file) or whole(file))
    path.write_bytes(b"one")
    found = [storage.sha256_once(path), storage.sha256_once(path)]
    path.write_bytes(b"other")
    found.append(storage.sha256_once(path))
    assert found == [hashlib.sha256(content).hexdigest() for content in (b"one", b"one", b"other")]
    assert read == [path, path]


def test_a_list_is_written_item_by_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, secret = tmp_path / "rows.json", "hf_" + "a1B2" * 6
    storage.write_json_list(path, [])
    assert path.read_text() == "[]\n"
    storage.write_json_list(path, (json.dumps({"name": f"row {number}"}) for number in range(3)))
    assert [each["name"] for each in json.loads(path.read_text())] == ["row 0", "row 1", "row 2"]
    assert len(path.read_text().splitlines()) == 5
    storage.write_json_list(path, [json.dumps({"url": secret}), "{}"])
    assert json.loads(path.read_text()) == [{"url": "[redacted]"}, {}]

    def break_off():
        yield "{}"
        raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(ResourceError):
        storage.write_json_list(path, break_off())
    assert len(json.loads(path.read_text())) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["rows.json"]
