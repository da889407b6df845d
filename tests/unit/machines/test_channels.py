"""The pipes and the socket that lead into a machine."""

from __future__ import annotations

import os

import pytest

from dibo.machines.channels import open_channels


def test_a_console_that_nobody_reads_takes_what_a_firmware_writes() -> None:
    """A serial port writes byte by byte, and a firmware gives up on one that takes nothing."""
    with open_channels() as (console, monitor, numbers):
        os.set_blocking(numbers.output, False)
        for _ in range(60_000):
            os.write(numbers.output, b"a")
        assert console.receive(0.0) == (b"a" * 60_000, set())
        console.close()
        monitor.close()


def test_both_ways_and_the_end() -> None:
    watched, writer = os.pipe()
    with open_channels() as (console, monitor, numbers):
        assert console.receive(0.0, watched) == (None, set())
        os.write(writer, b"x")
        console.send(b"root\r")
        assert os.read(numbers.input, 100) == b"root\r"
        assert console.receive(0.0, watched) == (None, {watched})
    assert console.receive(0.0) == (b"", set())
    with pytest.raises(BrokenPipeError):
        console.send(b"root\r")
    console.close()
    monitor.close()
    os.close(watched)
    os.close(writer)
