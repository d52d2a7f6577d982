"""How many examples hypothesis tries: the same ones every time, or with
PYUSDT_FUZZ_EXAMPLES=N so many new ones."""

import os

from hypothesis import HealthCheck, Phase, settings

_COUNT = os.environ.get("PYUSDT_FUZZ_EXAMPLES")

examples = settings(
    max_examples=int(_COUNT or 300),
    derandomize=_COUNT is None,
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
