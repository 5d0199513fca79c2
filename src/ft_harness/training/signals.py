"""SIGINT and SIGTERM during training: the step is finished and saved first; a second signal leaves at once."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
logger = logging.getLogger(__name__)


class CutShort(BaseException):
    """A signal arrived in the midst of what need not be finished."""


class Stops:
    """What a signal asked for while a training runs.

    Attributes:
        requested: the signal that arrived; None: none did.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._before: dict[int, Any] = {}
        self._cutting = False

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Signals wait for `leave`; only the main thread gets any. One that is ignored stays so."""
        if threading.current_thread() is threading.main_thread():
            known = {number: signal.getsignal(number) for number in _SIGNALS}
            self._before = {
                number: handler for number, handler in known.items() if handler != signal.SIG_IGN
            }
        for number in self._before:
            signal.signal(number, self._arrived)
        try:
            yield
        finally:
            self._give_back()

    @contextmanager
    def cutting(self, *, alone: bool) -> Iterator[None]:
        """Something that a signal may end in its midst, by `CutShort`, in a process that works alone."""
        self._cutting = alone
        try:
            yield
        finally:
            self._cutting = False

    def leave(self) -> None:
        """Do what the signal (SIGTERM, if another process got it) would have done; end the process if it did not."""
        number = self.requested or signal.SIGTERM
        self._give_back()
        signal.raise_signal(number)
        sys.exit(128 + number)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        self.requested = number
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)  # a second one leaves at once
        logger.warning(
            "stopping: a checkpoint is saved after this step; a second signal leaves at once without it"
        )
        if self._cutting:
            raise CutShort

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
