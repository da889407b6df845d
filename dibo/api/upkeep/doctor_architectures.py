"""What `dibo doctor` says of other architectures: how their programs would run while a layer is built."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dibo.build import foreign
from dibo.build.finding import Finding, try_check
from dibo.flavours.model import ARCHITECTURES


def examine(requested: str) -> Iterator[Finding]:
    """One finding for each architecture that this machine does not run by itself; `requested`, Debian's word, is
    the one that is needed."""
    for architecture in ARCHITECTURES:
        if foreign.is_native(architecture):
            continue

        def describe(word: str = architecture) -> str:
            return foreign.emulation(word).description

        for finding in try_check(f"builds for {architecture}, -a {architecture}", describe):
            yield replace(finding, needed=architecture == requested)
