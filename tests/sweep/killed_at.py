"""ft-harness in a process that kills itself by SIGKILL at a moment that is told by a file:

    python killed_at.py PATTERN TIMES ARGUMENT...

where the pattern is searched in `open PATH` of files that are written, `rename PATH PATH` and
`rmtree PATH`, and the process ends before it does that for the TIMES-th time.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import Any


class _Watch:
    """An audit hook, which sees what Python opens, renames and deletes; nothing of the program is replaced."""

    def __init__(self, pattern: str, times: int) -> None:
        self.pattern, self.left = re.compile(pattern), times

    def __call__(self, event: str, given: tuple[Any, ...]) -> None:
        if event == "open" and given[2] & (os.O_WRONLY | os.O_RDWR):
            done = f"open {given[0]}"
        elif event == "os.rename":
            done = f"rename {given[0]} {given[1]}"
        elif event == "shutil.rmtree":
            done = f"rmtree {given[0]}"
        else:
            return
        if self.pattern.search(done):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    pattern, times, *arguments = sys.argv[1:]
    sys.argv = ["ft-harness", *arguments]
    sys.addaudithook(_Watch(pattern, int(times)))
    from ft_harness.__main__ import main

    main()
