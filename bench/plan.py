"""What a plan takes on a runner that starts from nothing: an empty store, an empty cache directory, and a registry that
has all 30 layers of a stack, on a base whose packages are chosen before a build. No layer is pulled.

Usage: python bench/plan.py [ROUNDS]. Builds the layers first, which takes some minutes and a Debian mirror, and uses a
container store of its own. Once with a registry on loopback, once with one that is slow to answer.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from layers import ENVIRONMENT, dibo_program, store_of_our_own, timed

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.servers.counting_proxy import CountingProxy
from tests.support.servers.registry import registry

PACKAGES = (
    "bc",
    "ed",
    "file",
    "gawk",
    "hello",
    "jq",
    "lsof",
    "m4",
    "make",
    "patch",
    "pv",
    "rsync",
    "tree",
    "zip",
)
"""One for each flavour, which has a layer of packages and one of a hook; the base and `finalise` are two more."""


FAR = 0.05
"""Seconds that a registry elsewhere takes longer for each request."""


def write_flavours(top: Path) -> list[str]:
    for package in PACKAGES:
        hook = top / "flavours" / f"with-{package}" / "install.d" / "50-hook"
        hook.parent.mkdir(parents=True)
        hook.write_text(f"#!/bin/sh\necho {package} > /etc/with-{package}\n")
        hook.chmod(0o755)
        (hook.parent.parent / "flavour.yaml").write_text(f"packages: [{package}]\nnetwork: false\n")
    return [f"with-{package}" for package in PACKAGES]


def plan_from_nothing(top: Path, cache: str, arguments: list[str]) -> tuple[float, str]:
    """How long it takes, and what it said."""
    for name in ("empty-cache", "empty-data"):
        shutil.rmtree(top / name, ignore_errors=True)
        (top / name).mkdir()
    argv = [
        dibo_program("dibo"),
        "plan",
        "--cache-dir",
        str(top / "empty-cache"),
        "--cache",
        cache,
        *arguments,
    ]
    environment = {"XDG_DATA_HOME": str(top / "empty-data")}
    begun = time.monotonic()
    done = subprocess.run(
        argv, env={**ENVIRONMENT, **environment}, capture_output=True, text=True, check=True
    )
    return time.monotonic() - begun, done.stdout


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with store_of_our_own() as top, tempfile.TemporaryDirectory() as storage, registry(Path(storage)) as hub:
        names = write_flavours(top)
        arguments = [
            "--no-base",
            "--base",
            "debian-minimal",
            "--flavours-path",
            str(top / "flavours"),
            *names,
        ]
        build = [
            dibo_program("dibo"),
            "build",
            "--cache-dir",
            str(top / "cache"),
            "--cache",
            f"{hub.host}/cache",
        ]
        built = timed([*build, *arguments])
        best = min(plan_from_nothing(top, f"{hub.host}/cache", arguments)[0] for _ in range(rounds))
        with CountingProxy(hub.host) as proxy:
            proxy.slow_at, proxy.slow = "/v2/", FAR
            far, text = plan_from_nothing(top, f"{proxy.host}/cache", arguments)
            kinds = Counter(f"{asked.method} {asked.path.split('/')[-2]}" for asked in proxy.asked)
            fetched = sum(asked.sent for asked in proxy.asked if asked.method == "GET")
    print(text.strip().splitlines()[-1])
    print(f"the build took {built:.0f} s; its plan from nothing {best:.2f} s (wanted: under 5)")
    print(f"from a registry that takes {1000 * FAR:.0f} ms for each request: {far:.2f} s")
    requests = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    print(f"requests: {requests}; {fetched} bytes fetched")


if __name__ == "__main__":
    main()
