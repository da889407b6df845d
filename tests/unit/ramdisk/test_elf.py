"""ELF files that are not what their headers say: an error with a reason, whatever pyelftools trips over."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from dibo.ramdisk.elf import modinfo, read_elf, with_interpreter
from tests.support.elf_files import elf

PROGRAM = Path(sys.executable).resolve().read_bytes()
_LINK_AT = 40
"""Of a section header of 64 bits: sh_link."""


def test_a_dynamic_section_whose_strings_are_no_strings() -> None:
    """pyelftools asserts that they are."""
    file = ELFFile(io.BytesIO(PROGRAM))
    number = next(index for index, section in enumerate(file.iter_sections()) if section.name == ".dynamic")
    at = file["e_shoff"] + number * file["e_shentsize"] + _LINK_AT
    broken = bytearray(PROGRAM)
    broken[at : at + 4] = bytes(4)
    with pytest.raises(ValueError, match="incomplete ELF file: AssertionError"):
        read_elf(bytes(broken))


def test_headers_broken_at_random() -> None:
    numbers = random.Random(7)
    for _ in range(60):
        broken = bytearray(PROGRAM[: 1 << 20])
        for _ in range(numbers.choice((1, 3, 8))):
            at = numbers.randrange(64 + 13 * 56)
            broken[at : at + 2] = numbers.choice((numbers.randbytes(2), b"\xff\xff", bytes(2)))
        for read in (read_elf, modinfo):
            try:
                read(bytes(broken))
            except ValueError:
                continue


def test_a_program_with_another_loader(tmp_path: Path) -> None:
    true = Path(shutil.which("true") or "")
    loader = read_elf(true.read_bytes()).interpreter
    assert loader is not None
    program = tmp_path / "program"
    program.write_bytes(with_interpreter(true.read_bytes(), "./loader"))
    program.chmod(0o755)
    with pytest.raises(FileNotFoundError):
        subprocess.run([program], cwd=tmp_path, check=True)
    (tmp_path / "loader").symlink_to(loader)
    subprocess.run([program], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    ("program", "words"),
    [(elf(), "no loader"), (elf(interpreter="/lib/ld.so"), "longer than"), (b"#!/bin/sh\n", "incomplete")],
)
def test_a_program_whose_loader_cannot_be_another(program: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        with_interpreter(program, "/usr/lib/dibo/kit/ld.so")
