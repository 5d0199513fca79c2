"""Trackers beside `history.jsonl`: transformers' own callbacks, which are shown numbers and the recipe's own words.

They are never the only copy, and nothing that fails in them stops a training.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ft_harness.errors import FtHarnessError, InputError
from ft_harness.recipe import Recipe
from ft_harness.storage.redaction import redact

if TYPE_CHECKING:
    from transformers import TrainerCallback

logger = logging.getLogger(__name__)

_PROJECT = "ft-harness"
_WANDB = {
    "WANDB_MODE": "offline",
    "WANDB_PROJECT": _PROJECT,
    "WANDB_DISABLE_CODE": "true",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_X_DISABLE_META": "true",  # the command line, paths and the machine's name
    "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
}  # where the user's environment says nothing else


_PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}


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
    """What a tracker is told of a run: the sections of adapter and training, and names; no path, no data, no secret."""
    train = recipe.train.model_dump(mode="json")
    if recipe.train.continue_from:
        train["continue_from"] = Path(recipe.train.continue_from).name
    told = {
        "name": name,
        "task": recipe.task.name,
        "model": Path(recipe.model.pretrained).name,
        "adapter": recipe.adapter.model_dump(mode="json"),
        "train": train,
    }
    plain: dict[str, Any] = json.loads(redact(json.dumps(told)))
    return plain


class _ShownArguments:
    """TrainingArguments as a tracker sees them: no path of this machine, and nothing that would publish a run."""

    project = _PROJECT
    trackio_space_id = trackio_bucket_id = None
    trackio_static_space_id = False
    hub_private_repo = True
    output_dir = ""
    logging_steps = 1

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self.run_name = str(config["name"])

    def to_dict(self) -> dict[str, Any]:
        return self._config

    def to_json_string(self) -> str:
        return json.dumps(self._config, indent=2)


@contextmanager
def _defaults(folder: Path) -> Iterator[None]:
    """Weights & Biases stays on this machine and in the adapter's folder, unless the user's environment differs."""
    added = {
        name: value
        for name, value in {**_WANDB, "WANDB_DIR": str(folder)}.items()
        if name not in os.environ
    }
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def tracker_callbacks(recipe: Recipe, folder: Path) -> list[TrainerCallback]:
    """One callback for each tracker of `train.report_to`, in this order; TensorBoard writes below the folder."""
    from transformers import TrainerCallback
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    arguments = _ShownArguments(shown_config(recipe, folder.name))

    class Tracker(TrainerCallback):  # type: ignore[misc]
        """Hands on what may be seen, until the tracker fails."""

        def __init__(self, name: str) -> None:
            self.name, self.inner = name, None

        def _tell(self, event: str, state: Any, control: Any, **told: Any) -> None:
            if self.inner is None or not state.is_world_process_zero:
                return
            try:
                with _defaults(folder):
                    getattr(self.inner, event)(arguments, state, control, **told)
            except Exception as error:  # a tracker may raise anything, and is worth no run
                self.inner = None
                logger.warning(
                    "%s failed and is left out from here on (%s); history.jsonl holds everything",
                    self.name,
                    redact(str(error)),
                )

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            try:
                with _defaults(folder):
                    self.inner = _make(INTEGRATION_TO_CALLBACK[self.name], folder)
            except Exception as error:
                logger.warning(
                    "%s can't be started (%s); history.jsonl holds everything",
                    self.name,
                    redact(str(error)),
                )
            self._tell("on_train_begin", state, control)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            self._tell("on_log", state, control, logs=logs)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._tell("on_train_end", state, control)

    return [Tracker(name) for name in recipe.train.report_to]


def _make(callback_class: Any, folder: Path) -> Any:
    """The callback, without the uploads that some environments switch on, and with its files in the folder."""
    callback = callback_class()
    if hasattr(callback, "_log_model"):
        callback._log_model = type(callback._log_model)("false")
    if hasattr(callback, "logging_dir"):
        callback.logging_dir = callback.logging_dir or str(folder / "tensorboard")
    return callback
