"""Imports that nest, take a known time and fail; prints the time from outside."""

import json
import sys
import tempfile
import time
from pathlib import Path

SLEEP = 0.02
MODULES = {
    "shop_outer": "import time; time.sleep(0.02); import shop_inner",
    "shop_inner": "import time; time.sleep(0.02)",
    "shop_broken": "import shop_inner; raise ImportError('broken')",
}
with tempfile.TemporaryDirectory() as where:
    sys.path.insert(0, where)
    for name, source in MODULES.items():
        Path(where, name + ".py").write_text(source)
    begin = time.monotonic_ns()
    import shop_outer  # noqa: F401

    took = time.monotonic_ns() - begin
    import shop_outer  # noqa: F401

    try:
        import shop_broken  # noqa: F401
    except ImportError:
        pass
print(json.dumps(took))
