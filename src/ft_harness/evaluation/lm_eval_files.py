"""The files of lm-eval's own command: without secrets, and if they can't be written the command
fails.

lm-eval itself ignores every error of saving.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from lm_eval.loggers import EvaluationTracker
from lm_eval.utils import sanitize_model_name

from ft_harness import storage
from ft_harness.errors import ConfigError, FtHarnessError, StorageLostError
from ft_harness.storage import redact, redact_values, write_bytes


def output_folder(path: str) -> Path:
    """The folder below which lm-eval's own command writes for `--output_path`."""
    return Path(path).parent if Path(path).suffix == ".json" else Path(path)


def output_problems(path: str) -> list[FtHarnessError]:
    """The fault that keeps the files of lm-eval's own command from being written, found by
    writing."""
    return [
        type(problem)(
            f"--output_path {path}: {problem.what}", problem.expected, "use another --output_path"
        )
        if isinstance(problem, ConfigError)
        else problem
        for problem in storage.problems(output_folder(path))
    ]


class CheckedTracker(EvaluationTracker):  # type: ignore[misc]
    """Lets lm-eval's own command write into a temporary folder, and moves complete files to their
    place."""

    output_path: str | None
    undefined: ClassVar[list[str]] = []  # of the last results: numbers that are not finite

    def save_results_aggregated(
        self, results: dict[str, Any], samples: dict[str, Any] | None = None
    ) -> None:
        """Write the results.

        Raises:
            ResourceError: the disk is full.
            StorageLostError: they can't be written.
        """
        type(self).undefined = [
            f"{name} of {task} is {value}"
            for task, scores in results["results"].items()
            for name, value in scores.items()
            if isinstance(value, float) and not math.isfinite(value) and "_stderr" not in name
        ]
        self._redact_model()
        shown = redact_values(results)
        save = super().save_results_aggregated
        self._save(lambda: save(shown, samples), lambda text: bool(json.loads(text)))

    def save_results_samples(self, task_name: str, samples: Any) -> None:
        """Write a task's samples.

        Raises:
            ResourceError: the disk is full.
            StorageLostError: they can't be written.
        """
        shown = redact_values(list(samples))
        save = super().save_results_samples
        self._save(lambda: save(task_name, shown), lambda text: text.count("\n") == len(shown))

    def _redact_model(self) -> None:
        """What lm-eval adds to the results of its own, a folder's name included."""
        tracker = self.general_config_tracker
        for name, value in vars(tracker).items():
            setattr(tracker, name, redact_values(value))
        tracker.model_name_sanitized = sanitize_model_name(redact(str(tracker.model_name)))

    def _save(self, save: Callable[[], None], is_whole: Callable[[str], bool]) -> None:
        if not self.output_path:
            save()
            return
        final = Path(self.output_path)
        # lm-eval names its files by the time; in an empty folder of its own the new one is the only
        # one.
        with tempfile.TemporaryDirectory() as trial:
            folder = Path(trial)
            self.output_path = str(folder / final.name if final.suffix == ".json" else folder)
            try:
                save()
            finally:
                self.output_path = str(final)
            files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
            # lm-eval catches what goes wrong when it saves, logs a warning and exits with 0.
            if len(files) != 1 or not _check(files[0], is_whole):
                raise StorageLostError(
                    f"{final}: lm-eval could not write its files",
                    "results and samples as files",
                    "see the warnings above, free space for temporary files, and run it again",
                )
            target = output_folder(str(final)) / files[0].relative_to(folder)
            write_bytes(target, files[0].read_bytes())


def _check(path: Path, is_whole: Callable[[str], bool]) -> bool:
    try:
        return is_whole(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
