"""How much is tried: `FT_HARNESS_FUZZ=ci` (the default) is two minutes of inputs that are the same
each time; `hour` is an hour of new ones, of which those that fail are kept in `.hypothesis`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

PROFILE = os.environ.get("FT_HARNESS_FUZZ", "ci")
# files are written and tasks are built for each input, which takes longer than hypothesis expects
settings.register_profile(
    "ci", derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.register_profile(
    "hour", deadline=None, print_blob=True, suppress_health_check=list(HealthCheck)
)
settings.load_profile(PROFILE)
