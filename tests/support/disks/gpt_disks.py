"""Disks with a GUID partition table, made by sfdisk and filled at random; and what sgdisk says of one."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.requirements import need

MIB = 1 << 20


def make_disk(
    path: Path, size: int, parts: Mapping[str, tuple[int, int]], *, seed: int = 7, filled: int = 300_001
) -> bytes:
    """A file of `size` MiB with partitions by name: (first MiB, MiB). The beginning of each is random, the rest
    zeros. Its bytes."""
    need("sfdisk")
    with path.open("wb") as file:
        file.truncate(size * MIB)
    rows = "".join(
        f'start={first}MiB, size={length}MiB, name="{name}"\n' for name, (first, length) in parts.items()
    )
    argv = ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", str(path)]
    subprocess.run(argv, input=f"label: gpt\n{rows}", text=True, check=True, capture_output=True)
    source = random.Random(seed)
    with path.open("r+b") as file:
        file.write(source.randbytes(440))  # boot code
        for first, length in parts.values():
            file.seek(first * MIB)
            file.write(source.randbytes(min(length * MIB, filled)))
    return path.read_bytes()


def table_of(path: Path) -> dict[str, Any]:
    """What sfdisk reads: `partitions` with `name`, `start`, `size` in sectors; `lastlba`."""
    need("sfdisk")
    said = subprocess.run(["sfdisk", "--json", str(path)], check=True, capture_output=True, text=True)
    table: dict[str, Any] = json.loads(said.stdout)["partitiontable"]
    return table


def problems_of(path: Path) -> str:
    """What sgdisk finds wrong, both copies of the table and the protective MBR among it; empty for nothing."""
    need("sgdisk")
    said = subprocess.run(["sgdisk", "--verify", str(path)], capture_output=True, text=True)
    return "" if "No problems found" in said.stdout else said.stdout + said.stderr
