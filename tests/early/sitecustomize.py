"""Imports what tests/oracle.py and the programs it runs import, before pyusdt is there.

With this directory in PYTHONPATH, Python does so at its start. An import is up to a
million events, each of which would go through two tools, and none of which is compared.
"""

import asyncio
import bisect
import collections
import concurrent.futures.thread
import contextlib
import dataclasses
import decimal
import enum
import functools
import io
import itertools
import json
import runpy
import threading
import types
import typing
