"""First on PYTHONPATH, this loads pyusdt into every Python: the benchmarks of pyperformance."""

import pyusdt  # noqa: F401
