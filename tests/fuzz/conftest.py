"""How much is tried: `FT_HARNESS_FUZZ=ci` (the default) is two minutes of inputs that are the same
each time; `hour` is an hour of new ones, of which those that fail are kept in `.hypothesis`."""

from __future__ import annotations

import os
import sys
import sysconfig
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

import ft_harness

PROFILE = os.environ.get("FT_HARNESS_FUZZ", "ci")
# files are written and tasks are built for each input, which takes longer than hypothesis expects
settings.register_profile(
    "ci", derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.register_profile(
    "hour", deadline=None, print_blob=True, suppress_health_check=list(HealthCheck)
)
settings.load_profile(PROFILE)

_LIBRARIES = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
_KNOWN = tuple(
    f"{Path(path)}/" for path in [*_LIBRARIES, *ft_harness.__path__, Path(__file__).parents[1]]
)


def _is_known(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return file is None or file.startswith(_KNOWN)


@pytest.fixture(scope="session", autouse=True)
def whole_package() -> None:
    """hypothesis tries the constants of every module that is loaded and no library's. All of ours
    are loaded first, so that these are the same whatever ran before; but for those whose extra is
    missing."""
    for module in walk_packages(ft_harness.__path__, "ft_harness."):
        if not module.name.endswith(".__main__"):
            with suppress(ImportError):
                import_module(module.name)


@pytest.fixture(autouse=True)
def no_other_modules(whole_package: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests have loaded from elsewhere (a task's own code, tools) is hidden."""
    for name, module in list(sys.modules.items()):
        if not _is_known(module):
            monkeypatch.delitem(sys.modules, name)
