"""Scripts that mount, load drivers, change the network or the name of the machine, in namespaces of their own: a
mistake reaches nobody."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Mapping, Sequence

from tests.support.requirements import need, unmet
from tests.support.timeouts import TIMEOUT

APART = ("unshare", "--map-root-user", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--")
NAMESPACES = ("net", "mnt", "uts", "user")


@functools.cache
def refusal() -> str:
    """Why this machine gives an ordinary user no namespaces; empty where it does."""
    done = subprocess.run([*APART, "true"], capture_output=True, text=True, check=False, timeout=TIMEOUT)
    return done.stderr if done.returncode else ""


def apart(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run a program in namespaces of its own, and nowhere else; what it prints, errors included."""
    need("unshare")
    if refusal():
        unmet(f"these scripts run in namespaces alone, and here are none: {refusal()}")
    output = subprocess.run(
        [*APART, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        check=False,
        timeout=TIMEOUT,
    )
    return output.stdout
