"""Where things lie: shipped task YAMLs, the bundled model and data, and the folders a command works
in."""

from __future__ import annotations

from pathlib import Path

BUNDLED = "bundled"
PACKAGE = Path(__file__).resolve().parent


def task_yamls_dir() -> Path:
    """The shipped task YAMLs: beside the installed package, else in the checkout."""
    installed = PACKAGE / "task_yamls"
    return installed if installed.is_dir() else PACKAGE.parents[1] / "task_yamls"


def bundled_model_dir() -> Path:
    """The bundled base model, a Hugging Face folder."""
    return PACKAGE / BUNDLED / "model"


def bundled_data_dir(name: str) -> Path:
    """The folder of one bundled data set."""
    return PACKAGE / BUNDLED / "data" / name


def bundled_recipe(name: str) -> Path:
    """A shipped recipe file: one of the demo's, or `template`."""
    return PACKAGE / BUNDLED / "recipes" / name / "recipe.yaml"


def adapters_dir(out: Path) -> Path:
    """Adapter folders of a working folder."""
    return out / "adapters"


def results_dir(out: Path) -> Path:
    """Evaluations of a working folder."""
    return out / "results"


def reports_dir(out: Path) -> Path:
    """Reports of a working folder."""
    return results_dir(out) / "reports"
