"""A machine for benchmarks, started as `dibo boot` does: without KVM, one processor, a kernel that QEMU hands over.

Nothing is looked up on the machine that measures, so that figures of several compare.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.machines.accelerator import TCG
from dibo.machines.boards import BOARDS, FirmwareKind
from dibo.machines.machine import DirectKernel, FirmwareFiles, MachineDisk, VirtualMachine
from dibo.machines.running import started

BOOT_SECONDS: Final = 300.0
MEMORY: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownText:
    """What the console showed, and when: seconds after QEMU was started."""

    match: re.Match[str]
    seconds: float


def seconds_until(
    pattern: str, *, kernel: Path, initrd: Path, arguments: str, disks: tuple[Path, ...] = ()
) -> ShownText:
    """Boot until the console shows a line that fits; raw disks stay as they are. Ends the run where none does."""
    board = BOARDS["amd64"]
    machine = VirtualMachine(
        name=initrd.stem,
        board=board,
        machine="q35",
        accelerator=TCG,
        processors=1,
        memory=MEMORY,
        firmware=FirmwareFiles(kind=FirmwareKind.NONE),
        kernel=DirectKernel(
            kernel=kernel, initrd=initrd, arguments=f"console={board.console} quiet {arguments}".strip()
        ),
        disks=tuple(
            MachineDisk(path=path, format="raw", serial=f"disk-{number}") for number, path in enumerate(disks)
        ),
        network="isolated",
    )
    wanted = re.compile(f"{pattern}.*\n")
    with tempfile.TemporaryDirectory() as directory:
        begun = time.monotonic()
        with started(machine, directory=Path(directory), on_console=lambda _: None) as running:
            running.watched = False
            while not running.ended and time.monotonic() - begun < BOOT_SECONDS:
                running.look(1.0)
                if (match := wanted.search(running.text)) is not None:
                    return ShownText(match=match, seconds=time.monotonic() - begun)
            print("\n".join(running.tail), file=sys.stderr)
    sys.exit(f"{initrd.name}: the console did not show {pattern!r} with {arguments!r}")
