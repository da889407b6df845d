"""What is kept of the output of a step."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.build.engines.step_log import MOST_AT_EACH_END, StepLog
from dibo.units import MIB


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 19, 20])
def test_an_output_that_fits_is_kept_whole(tmp_path: Path, count: int) -> None:
    """Of lines of ten bytes, two hundred are kept."""
    lines = [f"line {number:04}" for number in range(count)]
    with StepLog(tmp_path / "log", most=100) as log:
        for line in lines:
            log.write(line)
    assert (tmp_path / "log").read_text() == "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("count", [21, 22, 29, 30, 31, 1000])
def test_of_a_longer_one_the_beginning_and_the_end(tmp_path: Path, count: int) -> None:
    lines = [f"line {number:04}" for number in range(count)]
    with StepLog(tmp_path / "log", most=105) as log:
        for line in lines:
            log.write(line)
    kept = (tmp_path / "log").read_text().splitlines()
    (at,) = [number for number, line in enumerate(kept) if line.startswith("---")]
    end = len(kept) - at - 1
    assert kept[:at] == lines[:10]
    assert end in (9, 10)
    assert kept[at + 1 :] == lines[-end:]
    assert kept[at] == f"--- {10 * (count - 10 - end)} bytes are left out here"


def test_lines_that_are_longer_than_what_is_kept(tmp_path: Path) -> None:
    with StepLog(tmp_path / "log", most=10) as log:
        for letter in "abc":
            log.write(letter * 24)
    assert (tmp_path / "log").read_text() == "--- 65 bytes are left out here\nccccccccc\n"


def test_what_is_on_disk_meanwhile_has_a_bound_too(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with StepLog(path) as log:
        for _ in range(40):
            log.write("x" * (MIB - 1))
            assert path.stat().st_size <= 2 * MOST_AT_EACH_END
    assert path.stat().st_size <= 2 * MOST_AT_EACH_END + 100


def test_a_log_of_before_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("of before")
    with StepLog(tmp_path / "log") as log:
        log.write("é\udcff")
    assert (tmp_path / "log").read_text() == "é?\n"
