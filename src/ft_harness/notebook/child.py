"""The command line in a process that ends with the one that started it.

Its standard input is a pipe that nobody writes to: it ends when the notebook's kernel does,
however that went.
"""

from __future__ import annotations

import os
import runpy
import signal
import threading


def _end_with_parent() -> None:
    os.read(0, 1)  # no buffered read, which would hold its lock when the interpreter ends
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """`python -m ft_harness ARGUMENTS` in a process that ends with its parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    runpy.run_module("ft_harness", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
