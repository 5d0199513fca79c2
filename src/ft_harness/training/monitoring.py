"""Monitors of a training: the history on disk, the progress bar, and trackers.

Trackers are accelerate's own. They are given numbers and the recipe's own words, they are never the
only copy, and nothing that fails in them stops a training.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate.tracking import TensorBoardTracker, TrackioTracker, WandBTracker
from tqdm.auto import tqdm

from ft_harness import processes
from ft_harness.errors import FtHarnessError, InputError, first_line
from ft_harness.models.adapters import HISTORY_FILE
from ft_harness.recipe import Recipe
from ft_harness.records import HistoryEntry
from ft_harness.storage import append_line, check_kept, redact, redact_values

logger = logging.getLogger(__name__)

_PROJECT = "ft-harness"
# where the user's environment says nothing else
_WANDB = {
    "WANDB_MODE": "offline",
    "WANDB_PROJECT": _PROJECT,
    "WANDB_DISABLE_CODE": "true",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_X_DISABLE_META": "true",  # the command line, paths and the machine's name
    "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
}
_PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}


class Monitor:
    """All that watches one training. Of several processes the first one shows and tracks."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self._history = folder / HISTORY_FILE
        # Eight processes would write eight runs.
        shown = processes.rank() == 0
        config = shown_config(recipe, folder.name)
        names = recipe.train.report_to if shown else ()
        self._trackers = [Tracker(name, config, folder) for name in names]
        self._shows_bar = shown
        self._bar: Any = None

    def begin(self, done: int, steps: int) -> None:
        """A training, or what is left of it after `done` steps, begins."""
        self._bar = tqdm(total=steps, initial=done, dynamic_ncols=True, disable=not self._shows_bar)
        for tracker in self._trackers:
            tracker.begin()

    def log(self, entry: HistoryEntry) -> None:
        """Log the results of a step or an evaluation, in the history first.

        Raises:
            StorageLostError: the history is gone, and with it the steps before.
            ResourceError: the disk is full.
        """
        # Appending to a file that was deleted would make a new one, without the steps before.
        check_kept([self._history])
        append_line(self._history, entry.model_dump_json(exclude_none=True))
        if entry.loss is not None:
            self._bar.set_postfix(loss=f"{entry.loss:.3f}", refresh=False)
            self._bar.update()
        for tracker in self._trackers:
            tracker.log(shown_numbers(entry), entry.step)

    def end(self) -> None:
        """The last step is done, or the training fails."""
        if self._bar is not None:
            self._bar.close()
        for tracker in self._trackers:
            tracker.end()


# --- trackers -----------------------------------------------------------------------------------


def tracker_problems(recipe: Recipe) -> list[FtHarnessError]:
    """Trackers whose packages are not installed."""
    return [
        InputError(
            f"train.report_to {name}: the package {_PACKAGES[name][0]} is not installed",
            "the tracker's own package; history.jsonl is written without one",
            f"pip install {_PACKAGES[name][0]}, or leave {name} out",
        )
        for name in recipe.train.report_to
        if not any(find_spec(package) for package in _PACKAGES[name])
    ]


def shown_config(recipe: Recipe, name: str) -> dict[str, Any]:
    """What a tracker is given of a run: the sections of adapter and training, and names; no path,
    no data, no secret."""
    train = recipe.train.model_dump(mode="json")
    if recipe.train.continue_from:
        train["continue_from"] = Path(recipe.train.continue_from).name
    shown: dict[str, Any] = {
        "name": name,
        "id": f"{name}-{recipe.fingerprint()[:8]}",  # a later start goes on in the same run
        "task": recipe.task.name,
        "model": Path(recipe.model.pretrained).name,
        "adapter": recipe.adapter.model_dump(mode="json"),
        "train": train,
    }
    redacted: dict[str, Any] = redact_values(shown)
    return redacted


class Tracker:
    """One of accelerate's trackers, used until it fails; its failure never stops a run."""

    def __init__(self, name: str, config: dict[str, Any], folder: Path) -> None:
        self._name, self._config, self._folder = name, config, folder
        self._inner: Any = None

    def begin(self) -> None:
        """Start it, and give it the recipe."""
        self._try(self._start, "can't be started")

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """What a step, an evaluation or the whole training came to."""
        if self._inner is not None:
            self._try(lambda: self._inner.log(dict(numbers), step=step))

    def end(self) -> None:
        """Close it."""
        if self._inner is not None:
            self._try(self._inner.finish)
            self._inner = None

    def _start(self) -> None:
        name = self._config["name"]
        if self._name == "tensorboard":
            self._inner = TensorBoardTracker("tensorboard", self._folder)
        elif self._name == "wandb":
            # its folder is named: a second run of the process would be written into the first one's
            place = os.environ["WANDB_DIR"]
            options = {"name": name, "dir": place, "id": self._config["id"], "resume": "allow"}
            self._inner = WandBTracker(os.environ["WANDB_PROJECT"], **options)
        else:
            self._inner = TrackioTracker(_PROJECT, name=name, space_id=None, resume="allow")
        self._inner.start()
        if self._name == "tensorboard":  # its own way takes neither sections nor lists
            self._inner.tracker.add_text("recipe", json.dumps(self._config, indent=2))
        else:
            self._inner.store_init_configuration(self._config)

    def _try(
        self, act: Callable[[], None], failed: str = "failed and is left out from here on"
    ) -> None:
        try:
            with _defaults(self._folder):
                act()
        # The training is worth more than its picture.
        except Exception as error:  # a tracker may raise anything
            self._inner = None
            reason = redact(first_line(error))  # a tracker names its keys in what it raises
            logger.warning("%s %s (%s); history.jsonl holds everything", self._name, failed, reason)


def track_results(recipe: Recipe, folder: Path, numbers: Mapping[str, float], step: int) -> None:
    """Give the recipe's trackers the finished adapter's scores, in the run of its training."""
    config = shown_config(recipe, folder.name)
    for name in recipe.train.report_to:
        tracker = Tracker(name, config, folder)
        tracker.begin()
        tracker.log(numbers, step)
        tracker.end()


def shown_numbers(entry: HistoryEntry) -> dict[str, float]:
    """An entry of the history as a tracker gets it, by transformers' own names, as train/loss and
    eval/acc."""
    given = {
        "train/epoch": entry.epoch,
        "train/loss": entry.loss,
        "train/grad_norm": entry.grad_norm,
        "train/learning_rate": entry.learning_rate,
        "eval/loss": entry.eval_loss,
        **{f"eval/{name}": value for name, value in (entry.scores or {}).items()},
    }
    return {name: value for name, value in given.items() if value is not None}


@contextmanager
def _defaults(folder: Path) -> Iterator[None]:
    """Weights & Biases stays on this machine and in the adapter's folder, unless the user's
    environment differs."""
    wanted = {**_WANDB, "WANDB_DIR": str(folder)}
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
