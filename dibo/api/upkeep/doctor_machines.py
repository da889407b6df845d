"""What `dibo doctor` says of `dibo boot`: QEMU, firmware and KVM by architecture; and what logs in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from dibo.build.finding import Finding, try_check
from dibo.errors import MachineError
from dibo.machines.accelerator import choose_accelerator
from dibo.machines.boards import BOARDS, Board, FirmwareKind
from dibo.machines.firmware import descriptor_directories, find_firmware
from dibo.settings.settings import Settings
from dibo.system import process
from dibo.system.package_names import how_to_install

_FOR_LOGIN: Final = ("ssh", "ssh-keygen")


def examine(settings: Settings, *, asked_for: bool) -> Iterator[Finding]:
    """Of the architecture that is built for; if `asked_for`, QEMU of that one and programs that log in are needed, and
    what other architectures have is listed, too."""
    architecture = settings.architecture if settings.architecture in BOARDS else "amd64"
    boards = sorted(BOARDS.values(), key=lambda board: board.architecture != architecture)
    for board in boards if asked_for else boards[:1]:
        is_needed = asked_for and board is boards[0]
        yield replace(_qemu(board), needed=is_needed)
        if process.find(board.program) is not None:
            yield from (replace(finding, needed=False) for finding in _firmware(board, settings))
    yield from (replace(finding, needed=False) for finding in _kvm(boards[0], settings.cache))
    for tool in _FOR_LOGIN:
        yield Finding(
            title=f"dibo boot, to log in: {tool}",
            works=process.find(tool) is not None,
            needed=asked_for,
            advice=how_to_install(tool),
        )


def _qemu(board: Board) -> Finding:
    return Finding(
        title=f"dibo boot, {board.architecture}: {board.program}",
        works=process.find(board.program) is not None,
        advice=how_to_install(board.program),
    )


def _firmware(board: Board, settings: Settings) -> Iterator[Finding]:
    """Of what QEMU does not bring; U-Boot and UEFI are in each other's place."""
    for kind in board.firmware:
        if kind in (FirmwareKind.BIOS, FirmwareKind.BUILT_IN):
            continue

        def find(kind: FirmwareKind = kind) -> str:
            files = find_firmware(
                board, board.machines[0], kind, directories=descriptor_directories(settings.environment)
            )
            return str(files.code)

        yield from try_check(f"dibo boot, {board.architecture}: firmware {kind.value}", find)


def _kvm(board: Board, cache: Path) -> Iterator[Finding]:
    """KVM is tried with a guest of a few instructions, if it may be used."""

    def find() -> str:
        choose_accelerator("kvm", board, None, cache=cache)
        if choose_accelerator("auto", board, None, cache=cache) != "kvm":
            raise MachineError(
                "a small guest does not run in time",
                hint="dibo boot does without it; --accel kvm insists on it",
            )
        return ""

    if process.find(board.program) is not None and cache.is_dir():
        yield from try_check(f"dibo boot, {board.architecture}: KVM", find)
