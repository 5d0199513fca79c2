"""The only place that opens result files for writing: atomic replace, checked append, locks, write
probe.

A file is either the old one or the new one, never half of one. Everything written passes through
the redaction of secrets, and JSON never holds NaN.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ft_harness.errors import (
    ConfigError,
    FtHarnessError,
    InputError,
    ResourceError,
    StorageLostError,
)
from ft_harness.storage.redaction import redact

LOCK_FILE = ".lock"
GZIP_LINES = 1000  # of a member
DROPPED = ".dropped-"  # before the name of a folder that is being deleted
_BLOCK_BYTES = 1 << 16
MIN_FREE_BYTES = 200_000_000  # an adapter with its checkpoints, and the samples of its evaluations


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file atomically.

    Raises:
        ResourceError: the disk is full.
        StorageLostError: the folder can't be written any more.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise _write_failure(path, error, content) from error
    finally:  # also after Ctrl-C; nothing is left to remove after a replace
        with suppress(OSError):
            unfinished.unlink()


def _emergency_copy(path: Path, content: bytes) -> str:
    """Keep what can't be written where it belongs in a new temporary folder; names the copy."""
    try:
        copy = Path(tempfile.mkdtemp(prefix="ft-harness-")) / path.name
        copy.write_bytes(content)
    except OSError:
        return "no emergency copy could be written either"
    return f"emergency copy in {copy}"


def _write_failure(path: Path, error: OSError, content: bytes) -> ResourceError | StorageLostError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(
            f"{path}: the disk is full",
            "room for the results",
            "free space, then run the same command again",
        )
    return StorageLostError(
        f"{path}: can't be written ({error.strerror}); {_emergency_copy(path, content)}",
        "the output folder to stay writable during the run",
        "restore the folder, then run the same command again; finished evaluations are kept",
    )


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically, secrets redacted."""
    write_bytes(path, redact(text).encode("utf-8"))


def remove(path: Path) -> None:
    """Remove a file, or a link, that may be gone already.

    Raises:
        StorageLostError: the folder does not allow it.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageLostError(
            f"{path}: can't be removed ({error.strerror})",
            "a folder whose files may be replaced",
            "remove it, then run the same command again",
        ) from error


def write_gzip_lines(path: Path, lines: Iterable[str]) -> None:
    """Replace a gzipped text file atomically; same lines, same bytes.

    Every 1,000 lines are a gzip member of their own, so that a line can be read without all before
    it; any program reads the file as a whole.
    """
    every = iter(lines)
    parts = iter(lambda: "".join(f"{line}\n" for line in islice(every, GZIP_LINES)), "")
    members = [
        gzip.compress(redact(part).encode("utf-8"), compresslevel=6, mtime=0) for part in parts
    ]
    write_bytes(path, b"".join(members) or gzip.compress(b"", mtime=0))


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Append lines, in one write, and wait until they are on disk; other processes may append to
    the same file.

    An unfinished last line, which a killed process left, is cut off first.
    """
    content = redact("".join(f"{line}\n" for line in lines)).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            _cut_unfinished(handle)
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise _write_failure(path, error, content) from error


def append_line(path: Path, line: str) -> None:
    """Append one line and wait until it is on disk."""
    append_lines(path, [line])


def _cut_unfinished(handle: BinaryIO) -> None:
    """Cut off what follows the last newline."""
    end = whole = handle.seek(0, os.SEEK_END)
    while whole > 0:
        start = max(0, whole - _BLOCK_BYTES)
        handle.seek(start)
        at = handle.read(whole - start).rfind(b"\n")
        whole = start + at + 1
        if at >= 0:
            break
    if whole < end:
        handle.truncate(whole)


def _sync(path: Path) -> None:
    """Wait until a file, or the list of a folder's files, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_folder(unfinished: Path, target: Path) -> None:
    """Give a folder that is written its name, once all of it is on disk; a folder of that name is
    replaced.

    Raises:
        OSError: it can't be moved.
    """
    for path in (*(path for path in sorted(unfinished.rglob("*")) if path.is_file()), unfinished):
        _sync(path)
    drop_folder(target)
    os.rename(unfinished, target)
    _sync(target.parent)


def drop_folder(folder: Path) -> None:
    """Delete a folder, if it is there, under another name: a kill on the way leaves no half of it
    under its own."""
    dropped = folder.with_name(f"{DROPPED}{folder.name}")
    shutil.rmtree(dropped, ignore_errors=True)
    if folder.exists():
        os.rename(folder, dropped)
        shutil.rmtree(dropped, ignore_errors=True)


def free_bytes(folder: Path) -> int:
    """Free space of the disk that a folder lies on."""
    return shutil.disk_usage(folder).free


def problems(folder: Path) -> list[FtHarnessError]:
    """The fault that keeps a folder from being written to, if there is one; probed by writing."""
    probe = folder / f".probe.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"probe")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return [
            ConfigError(
                f"{folder}: can't be written ({reason})",
                "a folder this user may write to",
                "use --out DIR",
            )
        ]
    free = free_bytes(folder)
    if free < MIN_FREE_BYTES:
        return [
            ResourceError(
                f"{folder}: the disk has {free / 1e6:.0f} MB left",
                f"at least {MIN_FREE_BYTES / 1e6:.0f} MB",
                "free some space, or use --out DIR on another disk",
            )
        ]
    return []


@contextmanager
def locked(folder: Path) -> Iterator[str | None]:
    """Hold a folder for this process; the lock of a process that died is free.

    Yields:
        The process that held it, and since when, if it died without giving it back; else None.

    Raises:
        InputError: another running process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    with path.open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "another"
            raise InputError(
                f"{folder}: in use by process {holder}",
                "one run per folder",
                "wait for it, or use --name or --out",
            ) from error
        lock.seek(0)
        died = lock.read().strip() or None
        lock.truncate(0)
        lock.write(f"{os.getpid()} since {datetime.now():%Y-%m-%d %H:%M:%S}")
        lock.flush()
        try:
            yield died
        finally:
            path.unlink(missing_ok=True)
