"""Whether KVM works here: there are machines where /dev/kvm is there, and hangs guests or is slower than none.

A guest of a few instructions is started, once after each start of this machine: it counts, which takes a processor
hundredths of a second, and ends. Where instructions are emulated one by one it does not end in time.

    x86     a ROM of 64 KiB, whose last 16 bytes are run first (Intel SDM, volume 3, "First Instruction Executed");
            QEMU ends with the code 2n+1 for the n written to the device isa-debug-exit
    arm64   code at address 0 of the machine `virt`; PSCI's SYSTEM_OFF ends it (Arm DEN 0022)
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dibo.errors import CommandFailed, MachineError
from dibo.machines.boards import Board
from dibo.system import process

AUTO: Final = "auto"
TCG: Final = "tcg,thread=single"
"""Emulation, with one thread for one processor."""
ACCELERATORS: Final = (AUTO, "kvm", "tcg", "hvf")
_DEVICE: Final = Path("/dev/kvm")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_SECONDS: Final = 3.0
_ROM_SIZE: Final = 1 << 16
_COUNT_AT: Final = 0xFF00
_START_AT: Final = 0xFFF0
_X86_COUNT: Final = bytes.fromhex(
    "66b980f0fa02"  # mov  ecx, 50000000
    "6649"  # dec  ecx
    "75fc"  # jnz  to the dec
    "ba0105"  # mov  dx, 0x501
    "b031"  # mov  al, 0x31
    "ee"  # out  dx, al
    "f4"  # hlt
)
_X86_START: Final = bytes.fromhex("e90dff")  # jmp to _COUNT_AT
_X86_CODE: Final = 2 * 0x31 + 1
_ARM64: Final = bytes.fromhex(
    "415fa0d2"  # movz x1, #0x2fa, lsl #16
    "210400f1"  # subs x1, x1, #1
    "e1ffff54"  # b.ne to the subs
    "000180d2"  # movz x0, #8
    "0080b0f2"  # movk x0, #0x8400, lsl #16: SYSTEM_OFF
    "020000d4"  # hvc  #0
    "00000014"  # b    to itself
)

Probe = Callable[[], bool]


def choose_accelerator(wish: str, board: Board, processors: int | None, *, cache: Path) -> str:
    """QEMU's word for the accelerator that `wish` means. `cache` is a directory that remembers the answer for KVM.
    Raises MachineError for KVM where it cannot be."""
    if wish == "tcg":
        return TCG if (processors or 1) == 1 else "tcg"
    if wish == "hvf":
        return wish
    native = os.uname().machine in board.hosts
    usable = os.access(_DEVICE, os.R_OK | os.W_OK)
    if wish == "kvm":
        _require_kvm(board, native=native, usable=usable)
        return wish
    if native and usable and remembered(cache / "kvm.json", lambda: kvm_works(board, cache)):
        return "kvm"
    return choose_accelerator("tcg", board, processors, cache=cache)


def _require_kvm(board: Board, *, native: bool, usable: bool) -> None:
    if not native:
        raise MachineError(f"KVM of this machine does not run {board.architecture}", hint="leave --accel out")
    if not usable:
        why = "you may not use it" if _DEVICE.exists() else "there is none"
        raise MachineError(
            f"cannot use {_DEVICE}: {why}",
            hint="leave --accel out, or join its group: sudo adduser $USER kvm",
        )


def remembered(path: Path, probe: Probe) -> bool:
    """What `probe` answered since this machine was started; it is asked if that is not known."""
    boot = boot_identity()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(path.read_text())
        if boot and known["boot"] == boot:
            return bool(known["works"])
    works = probe()
    with contextlib.suppress(OSError):  # else it is asked again the next time
        path.write_text(json.dumps({"boot": boot, "works": works}))
    return works


def boot_identity() -> str:
    """What tells one start of this machine from another; empty where nothing does."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def kvm_works(board: Board, directory: Path, *, accelerator: str = "kvm") -> bool:
    """Start the small guest; whether it ended as it should, in time. Its code is written to `directory` for a while."""
    code, expected = (_ARM64, 0) if board.qemu_name == "aarch64" else (_x86_rom(), _X86_CODE)
    if board.qemu_name not in ("x86_64", "i386", "aarch64"):
        return False
    rom = directory / f"kvm-probe-{os.getpid()}"
    machine = "virt" if code is _ARM64 else "q35,graphics=off"
    processor = "host" if accelerator == "kvm" else "max"
    ending = [] if code is _ARM64 else ["-device", "isa-debug-exit,iobase=0x501,iosize=2"]
    argv = [
        *(board.program, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-m", "64"),
        *("-machine", machine, "-accel", accelerator, "-cpu", processor, "-bios", str(rom), *ending),
    ]
    try:
        rom.write_bytes(code)
        with process.Process(argv) as guest:
            return guest.wait(timeout=_SECONDS) == expected
    except (OSError, CommandFailed):
        return False
    finally:
        rom.unlink(missing_ok=True)


def _x86_rom() -> bytes:
    rom = bytearray(b"\xf4" * _ROM_SIZE)
    rom[_COUNT_AT : _COUNT_AT + len(_X86_COUNT)] = _X86_COUNT
    rom[_START_AT : _START_AT + len(_X86_START)] = _X86_START
    return bytes(rom)
