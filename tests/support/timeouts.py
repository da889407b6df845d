"""How long tests wait for what must come. No test asserts on time: a machine may be slow, or busy with other tests, so
a limit is there only for what never ends. What can die is looked at meanwhile, and its death ends the wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable

TIMEOUT = 600.0
"""In seconds."""


def wait_until(true: Callable[[], object], what: str) -> None:
    """Look many times a second. Raises AssertionError with `what` at the end of the timeout."""
    deadline = time.monotonic() + TIMEOUT
    while not true():
        assert time.monotonic() < deadline, f"not within {TIMEOUT:.0f} s: {what}"
        time.sleep(0.02)
