"""Where things lie: shipped task YAMLs, the bundled model and data, and the folders a command works
in; what is a path, a hub id, or installed."""

from __future__ import annotations

import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

BUNDLED = "bundled"
_HUB_ID = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)?")
PACKAGE = Path(__file__).resolve().parent


def task_yamls_dir() -> Path:
    """The shipped task YAMLs: next to the installed package, else in the checkout."""
    installed = PACKAGE / "task_yamls"
    return installed if installed.is_dir() else PACKAGE.parents[1] / "task_yamls"


@cache
def _code_folders() -> list[Path]:
    """The folders of installed task YAMLs: ours and lm-eval's own."""
    lm_eval = find_spec("lm_eval")
    places = lm_eval.submodule_search_locations if lm_eval else None
    return [folder.resolve() for folder in (task_yamls_dir(), *map(Path, places or []))]


def is_installed(path: Path) -> bool:
    """Whether a file lies where our task YAMLs or lm-eval's are installed, so that code next to it
    is installed code."""
    return any(path.resolve().is_relative_to(folder) for folder in _code_folders())


def bundled_model_dir() -> Path:
    """Where the bundled base model lies, a Hugging Face folder."""
    return PACKAGE / BUNDLED / "model"


def model_folder(pretrained: str) -> str:
    """What transformers is given: the bundled folder, a local folder, or a hub id."""
    return str(bundled_model_dir()) if pretrained == BUNDLED else os.path.expanduser(pretrained)


def is_path(name: str) -> bool:
    """Whether a text can only be a path, and not a hub id."""
    return Path(name).is_absolute() or name.startswith((".", "~")) or name.count("/") > 1


def is_hub_id(name: str) -> bool:
    """Whether a text is a hub id, `owner/name` or `name` alone: neither bundled nor something
    here."""
    return name != BUNDLED and bool(_HUB_ID.fullmatch(name)) and not Path(name).exists()


def bundled_data_dir(name: str) -> Path:
    """Where one bundled data set lies."""
    return PACKAGE / BUNDLED / "data" / name


def bundled_recipe(name: str) -> Path:
    """Where a shipped recipe lies: one of the demo's, or `template`."""
    return PACKAGE / BUNDLED / "recipes" / name / "recipe.yaml"


def adapters_dir(out: Path) -> Path:
    """Where a working folder has its adapter folders."""
    return out / "adapters"


def results_dir(out: Path) -> Path:
    """Where a working folder has its evaluations."""
    return out / "results"


def reports_dir(out: Path) -> Path:
    """Where a working folder has its reports."""
    return results_dir(out) / "reports"
