"""Input files: what steps and bases get from outside, known by digest before a build: files of packages, and those that
flavours have fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dibo.plan.packages import ArchivePackage
from dibo.units import OnBytes


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class InputFile:
    """`sha256` is hexadecimal; `size` in bytes, None where it is not known. `name` is for people."""

    sha256: str
    name: str
    size: int | None = None


def package_file(package: ArchivePackage) -> InputFile:
    """The file of a package, named as in archives."""
    version = package.version.rpartition(":")[2]
    name = f"{package.name}_{version}_{package.architecture}.deb"
    return InputFile(sha256=package.sha256, name=name, size=package.size)


class InputStore(Protocol):
    """Where input files may be, beside the servers that they are from."""

    def bring(
        self, file: InputFile, target: Path, *, on_bytes: OnBytes | None = None, urgent: bool = False
    ) -> bool:
        """Have a file at `target`, with the bytes that its digest says; whether it was there. With `urgent`, no server
        has it, so a place is asked that seems to have none. Raises nothing but what `on_bytes` does."""


class NoInputs:
    """No such place."""

    def bring(
        self, _file: InputFile, _target: Path, *, on_bytes: OnBytes | None = None, urgent: bool = False
    ) -> bool:
        del on_bytes, urgent
        return False
