"""The only place that opens result files for writing: atomic replace, checked append, write probe;
and what to do when a folder is full or gone.

A file is either the old one or the new one, never half of one. Everything written passes through
the redaction of secrets: of JSON (`.json`, `.jsonl`) its values, of other files the whole text.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import os
import re
import resource
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from ft_harness.errors import (
    ConfigError,
    FtHarnessError,
    ResourceError,
    StorageLostError,
    first_line,
    message_of,
)
from ft_harness.storage.hashing import sha256_text
from ft_harness.storage.redaction import redact, redact_json

GZIP_LINES = 1000  # of a member
DROPPED = ".dropped-"  # before the name of a folder that is being deleted
_BLOCK_BYTES = 1 << 16
_PROBE_BYTES = 1 << 20
# disk, quota, and the largest file that a process may write (ulimit -f)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_OS_ERROR = re.compile(r"os error (\d+)")  # as safetensors' messages end
_MACHINE = sha256_text(os.uname().nodename)[:8]
_UNFINISHED = re.compile(r"\..*\.(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)\.tmp")
_OLD = 24 * 3600  # seconds, after which another machine's unfinished file is taken for left over
MIN_FREE_BYTES = 200_000_000  # an adapter with its checkpoints, and the samples of its evaluations


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file atomically.

    Raises:
        ResourceError: the disk is full.
        StorageLostError: the folder can't be written any more.
    """
    _replace(path, [content], content)


def write_parts(path: Path, parts: Iterable[str]) -> None:
    """Replace a text file atomically by these parts, holding one at a time; the caller has taken
    secrets out.

    Raises:
        ResourceError, StorageLostError: as `write_bytes`.
    """
    _replace(path, (part.encode("utf-8") for part in parts), b"")


def write_json_list(path: Path, items: Iterable[str]) -> None:
    """Replace a file atomically by a JSON list with one item per line, secrets redacted; items are
    JSON texts, held one at a time.

    Raises:
        ResourceError, StorageLostError: as `write_bytes`.
    """
    _replace(path, _list_lines(items), b"")


def _list_lines(items: Iterable[str]) -> Iterator[bytes]:
    before = "["
    for item in items:
        yield f"{before}\n{redact_json(item)}".encode()
        before = ","
    yield b"\n]\n" if before == "," else b"[]\n"


def _replace(path: Path, parts: Iterable[bytes], copy: bytes) -> None:
    """Replace a file by these parts; where that fails, `copy` is kept aside."""
    unfinished = path.with_name(f".{path.name}.{_MACHINE}-{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as handle:
            handle.writelines(parts)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise _write_failure(path, error, copy) from error
    finally:  # also after Ctrl-C; nothing is left to remove after a replace
        with suppress(OSError):
            unfinished.unlink()


def keep_aside(name: str, content: bytes) -> str | None:
    """Where a folder can't be written to: write a file into a new temporary folder; its path, None
    where that can't be done either."""
    try:
        copy = Path(tempfile.mkdtemp(prefix="ft-harness-")) / name
        copy.write_bytes(content)
    except OSError:
        return None
    return str(copy)


def is_full(error: BaseException) -> bool:
    """Whether a full disk, a quota or a file size limit prevented writing; the system says so by an
    error number, libraries in their messages."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    said = message_of(error)
    found = _OS_ERROR.search(said)
    return "no space left" in said.lower() or (found is not None and int(found[1]) in _FULL)


def full_disk(place: Path | str, error: BaseException, cure: str = "free space") -> ResourceError:
    """The error for a full disk, see `is_full`; `cure`: what makes room there."""
    reason = "the disk is full"
    if getattr(error, "errno", None) == errno.EFBIG or "too large" in message_of(error):
        reason = "a file may not become that large: see ulimit -f"
        cure = "raise the limit (ulimit -f unlimited)"
    return ResourceError(
        f"{place}: {reason}", "room for the results", f"{cure}, then run the same command again"
    )


def find_limit(folder: Path) -> OSError | None:
    """What keeps even a small file from being written in a folder, disk or quota, or the limit of
    this process; None: nothing. For the faults of libraries that don't say."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if most != resource.RLIM_INFINITY and most < _PROBE_BYTES:
        return OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    probe = folder / f".probe.{_MACHINE}-{os.getpid()}.tmp"
    try:
        probe.write_bytes(bytes(_PROBE_BYTES))
    except OSError as error:
        return error if is_full(error) else None
    finally:
        with suppress(OSError):
            probe.unlink()
    return None


def lost_folder(
    place: Path | str, error: BaseException, copy: str | None, of: str = ""
) -> StorageLostError:
    """The error of a folder that can't be written to any more; `copy`: where what was to be written
    is kept, None: nowhere."""
    reason = getattr(error, "strerror", None) or first_line(error)
    kept = f"emergency copy{of} in {copy}" if copy else "no emergency copy could be written either"
    return StorageLostError(
        f"{place}: can't be written ({reason}); {kept}",
        "the output folder to stay writable during the run",
        "restore the folder, then run the same command again; finished evaluations are kept",
    )


def _write_failure(path: Path, error: OSError, content: bytes) -> ResourceError | StorageLostError:
    if is_full(error):
        return full_disk(path, error)
    return lost_folder(path, error, keep_aside(path.name, content))


def check_kept(paths: Iterable[Path]) -> None:
    """Refuse to go on if result files that this run has written are gone.

    Raises:
        StorageLostError: with the first of them.
    """
    gone = [path for path in paths if not path.is_file()]
    if gone:
        more = f" (and {len(gone) - 1} more)" if len(gone) > 1 else ""
        raise StorageLostError(
            f"{gone[0]}{more}: saved by this run and removed since",
            "the output folders to stay as they are during the run",
            "run the same command again: what is missing is made again, the rest is reused",
        )


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically, secrets redacted."""
    clean = {".json": redact_json, ".jsonl": _redact_lines}.get(path.suffix, redact)
    write_bytes(path, clean(text).encode("utf-8"))


def _redact_lines(text: str) -> str:
    """JSON on each line, secrets taken out of its values."""
    if redact(text) == text:
        return text
    return "\n".join(map(redact_json, text.split("\n")))


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


def write_gzip_lines(path: Path, lines: Iterable[str], level: int = 6) -> bool:
    """Replace a gzipped file of JSON lines atomically; same lines, same bytes. Whether it holds the
    lines as they are, so that no secret was taken out. `level` is that of compression, 1 to 9.

    Every 1,000 lines are a gzip member of their own, so that a line can be read without all before
    it; any program reads the file as a whole.
    """
    every = iter(lines)
    parts = iter(lambda: "".join(f"{line}\n" for line in islice(every, GZIP_LINES)), "")
    members: list[bytes] = []
    is_whole = True
    for part in parts:
        kept = _redact_lines(part)
        is_whole = is_whole and kept == part
        members.append(gzip.compress(kept.encode("utf-8"), compresslevel=level, mtime=0))
    write_bytes(path, b"".join(members) or gzip.compress(b"", mtime=0))
    return is_whole


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Append lines of JSON, in one write, and wait until they are on disk; other processes may
    append to the same file.

    An unfinished last line, which a killed process left, is cut off first.
    """
    content = _redact_lines("".join(f"{line}\n" for line in lines)).encode()
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
    """Give a folder that was written its name, once all of it is on disk; a folder of that name is
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
    """Free space of the disk that is written to."""
    return shutil.disk_usage(folder).free


def sweep(folder: Path) -> None:
    """Delete files that dead processes left half written in and below a folder."""
    for path in folder.rglob(".*.tmp"):
        found = _UNFINISHED.fullmatch(path.name)
        if found is None:
            continue
        with suppress(OSError):
            here = found["machine"] == _MACHINE
            old = time.time() - path.stat().st_mtime > _OLD
            if old or (here and _is_dead(int(found["pid"]))):
                path.unlink()


def _is_dead(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # another user's
        pass
    return False


def problems(folder: Path) -> list[FtHarnessError]:
    """The fault that keeps a folder from being written to, if there is one; probed by writing.
    What killed processes left unfinished in it is deleted."""
    probe = folder / f".probe.{_MACHINE}-{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        probe.write_bytes(b"probe")
        probe.unlink()
    except OSError as error:
        if is_full(error):
            return [full_disk(folder, error)]
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
