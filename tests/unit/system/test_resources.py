"""What this machine has."""

from __future__ import annotations

from pathlib import Path

from dibo.system.resources import available_memory, processors


def test_memory_that_programs_can_take() -> None:
    memory = available_memory()
    total = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemTotal:")
    )
    assert memory is not None
    assert 0 <= memory <= total


def test_processors() -> None:
    assert processors() >= 1
