"""What a type is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dibo.errors import UsageError
from dibo.formats.vm_disks.identity import ImageIdentity
from dibo.images.layers.spool import Spool
from dibo.tree.node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class RootTree:
    """A root: its names, and the bytes of its files."""

    node: Node
    spool: Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionJob:
    """One artefact to make at `target`: of `disk`, a raw disk or a qcow2 as the type takes it, or of `root`."""

    target: Path
    name: str
    """What people call the artefact: the output's name without a type."""
    architecture: str
    """Debian's word."""
    size: int
    """Of the disk, in bytes."""
    identity: ImageIdentity
    options: Mapping[str, str] = field(default_factory=dict)
    """The variables for converters."""
    disk: Path | None = None
    root: RootTree | None = None
    warn: Callable[[str], None] = lambda _: None

    @property
    def source(self) -> Path:
        assert self.disk is not None
        return self.disk


def number_option(options: Mapping[str, str], name: str, *, default: int, largest: int) -> int:
    """The value of a variable for converters that is a whole number from 1 on. Raises UsageError."""
    text = options.get(name, "") or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 0 < int(text) <= largest):
        raise UsageError(f"{name} is {text!r}", hint=f"it is a number from 1 to {largest}")
    return int(text)
