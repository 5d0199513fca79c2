"""A folder has one user at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TextIO

from ft_harness.errors import ConfigError, InputError

LOCK_FILE = ".lock"


class InUseError(InputError):
    """A folder is locked by another running process."""


@contextmanager
def locked(folder: Path) -> Iterator[str | None]:
    """Hold a folder for this process; the lock of a process that died is free.

    Yields:
        The process that held it, and since when, if it died without giving it back; else None.

    Raises:
        ConfigError: the lock's file can't be opened.
        InUseError: another running process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    with _open_held(path) as lock:
        lock.seek(0)
        died = lock.read().strip() or None
        lock.truncate(0)
        lock.write(f"{os.getpid()} since {datetime.now():%Y-%m-%d %H:%M:%S}")
        lock.flush()
        try:
            yield died
        finally:
            with suppress(OSError):  # a folder that became read-only has a fault of its own
                path.unlink()


def _open_held(path: Path) -> TextIO:
    """The lock file, held.

    It may have been given back and deleted between opening and holding: what is held then is no
    longer the file of that name, which somebody else may hold by now.
    """
    while True:
        try:
            lock = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"{path}: can't be opened ({error.strerror})",
                "a file that this user may write, or none",
                "remove it, or use --name or --out",
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            with lock:
                lock.seek(0)
                holder = lock.read().strip() or "another"
            raise InUseError(
                f"{path.parent}: in use by process {holder}",
                "one run per folder",
                "wait for it, or use --name or --out",
            ) from error
        if path.exists() and os.path.samestat(path.stat(), os.fstat(lock.fileno())):
            return lock
        lock.close()
