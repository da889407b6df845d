"""How programs of another architecture run while a layer is built.

The kernel starts an emulator for them, qemu-user, as binfmt_misc tells it (Documentation/admin-guide/binfmt-misc.rst of
Linux). From Linux 6.7 on each user namespace can have registrations of its own, which end with it: an ordinary user
needs no help of root then, and nothing of the machine changes. With older kernels, and for root, who has no such
namespace, it is the machine's own registrations that count.

With the flag F the kernel opens the emulator when it is registered, so that no file of it has to be in a root; it must
be linked statically for that. P tells the program the name that it was called by, and C lets setuid programs be so.

Whether it works is tried: a program of some hundred bytes runs in a root that has nothing else. No key says how.
"""

from __future__ import annotations

import functools
import os
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.build.namespace import enter_namespace
from dibo.errors import DiboError, EngineError, ToolMissing
from dibo.formats import magic
from dibo.images.sources.buildah_environment import engine_environment
from dibo.system import process, resources
from dibo.system.package_names import how_to_install

_SCRIPTS: Final = resources.shared("containerfiles") / "buildah"
_TRIAL_SECONDS: Final = 60.0
_LONGEST_PATH: Final = 127  # of an interpreter, as the documentation of binfmt_misc has it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Processor:
    """What ELF (elf(5)) and qemu call an architecture."""

    machine: int
    """e_machine."""
    bits: int
    qemu: str
    """qemu-user's name for it: `aarch64` of qemu-aarch64."""
    exit_code: bytes
    """Instructions that call exit(0)."""
    flags: int = 0
    """e_flags."""


def _words(*instructions: int) -> bytes:
    return struct.pack(f"<{len(instructions)}I", *instructions)


_PROCESSORS: Final = {
    # xor edi, edi; push 60; pop rax; syscall
    "amd64": _Processor(machine=62, bits=64, qemu="x86_64", exit_code=bytes.fromhex("31ff 6a3c 58 0f05")),
    # mov x0, 0; mov x8, 93; svc 0
    "arm64": _Processor(
        machine=183, bits=64, qemu="aarch64", exit_code=_words(0xD2800000, 0xD2800BA8, 0xD4000001)
    ),
    # mov r0, 0; mov r7, 1; svc 0 (EABI version 5)
    "armhf": _Processor(
        machine=40, bits=32, qemu="arm", exit_code=_words(0xE3A00000, 0xE3A07001, 0xEF000000), flags=5 << 24
    ),
    # xor ebx, ebx; push 1; pop eax; int 0x80
    "i386": _Processor(machine=3, bits=32, qemu="i386", exit_code=bytes.fromhex("31db 6a01 58 cd80")),
    # li a0, 0; li a7, 93; ecall
    "riscv64": _Processor(
        machine=243, bits=64, qemu="riscv64", exit_code=_words(0x00000513, 0x05D00893, 0x00000073)
    ),
}
"""By Debian's word for the architecture."""

_OWN: Final = {
    "x86_64": ("amd64", "i386"),
    "i686": ("i386",),
    "i386": ("i386",),
    "aarch64": ("arm64",),
    "armv7l": ("armhf",),
    "riscv64": ("riscv64",),
}
"""uname(2) → what runs without being tried."""
_MAY_RUN: Final = {"aarch64": ("armhf",)}
"""What some processors of this kind run by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulation:
    """How programs of one architecture run."""

    prefix: tuple[str, ...] = ()
    """What runs a command, within the engine's namespace, so that they do."""
    description: str = ""
    """For `dibo doctor`; empty where this machine runs them by itself."""


def is_native(architecture: str) -> bool:
    """Whether this machine runs programs of `architecture`, Debian's word, by itself for certain."""
    return architecture in _OWN.get(os.uname().machine, ())


@functools.cache
def emulation(architecture: str) -> Emulation:
    """How programs of `architecture`, Debian's word, run here. One that dibo has no emulator for is left to the
    machine. Raises ToolMissing, EngineError."""
    if is_native(architecture) or architecture not in _PROCESSORS:
        return Emulation()
    if architecture in _MAY_RUN.get(os.uname().machine, ()) and _runs(architecture):
        return Emulation()
    program = emulator(architecture)
    reason = ""
    if program is not None and os.geteuid() != 0:
        prefix = ("bash", str(_SCRIPTS / "emulate.sh"), registration(architecture, program))
        reason = _trial(architecture, prefix)
        if not reason:
            return Emulation(prefix=prefix, description=f"by {program}, in a user namespace of dibo's own")
    if _runs(architecture):
        return Emulation(description="as binfmt_misc of this machine says")
    raise _refused(architecture, program, reason)


def _refused(architecture: str, program: Path | None, reason: str) -> DiboError:
    message = f"programs of {architecture} do not run on this machine"
    name = f"qemu-{_PROCESSORS[architecture].qemu}-static"
    convert = "`dibo convert` runs nothing of an image, and needs none of this"
    if program is None:
        return ToolMissing(f"{message}: {name} is not installed", hint=f"{how_to_install(name)}\n{convert}")
    register = "let root register it for the whole machine: sudo systemctl restart systemd-binfmt"
    if os.geteuid() == 0:
        advice = f"{register}\nor build as an ordinary user, who needs no registration from Linux 6.7 on"
    else:
        advice = (
            f"ordinary users may register an emulator from Linux 6.7 on; with an older kernel, {register}"
        )
    detail = f": {reason}" if reason else ", and this machine has registered no emulator for them"
    return EngineError(f"{message}{detail}", hint=f"{advice}\n{convert}")


def emulator(architecture: str) -> Path | None:
    """The program that emulates, where it is installed. The kernel may be told its path."""
    name = f"qemu-{_PROCESSORS[architecture].qemu}"
    for candidate in (f"{name}-static", name):
        program = process.find(candidate)
        if program is not None and ":" not in program and len(os.fsencode(program)) <= _LONGEST_PATH:
            return Path(program)
    return None


def registration(architecture: str, program: Path) -> str:
    """The line for binfmt_misc by which `program` runs files of `architecture`: little-endian ELF files, for that
    machine, executable (2) or position-independent (3), of any ABI."""
    processor = _PROCESSORS[architecture]
    magic = _identification(processor) + struct.pack("<HH", 2, processor.machine)
    mask = b"\xff" * 7 + b"\0" + b"\xff" * 8 + b"\xfe\xff\xff\xff"
    escaped = ["".join(f"\\x{byte:02x}" for byte in field) for field in (magic, mask)]
    return f":dibo-{architecture}:M::{escaped[0]}:{escaped[1]}:{program}:POCF"


def smallest_program(architecture: str) -> bytes:
    """A static ELF file that exits with 0: its header, one segment, and the instructions (elf(5))."""
    processor = _PROCESSORS[architecture]
    wide = processor.bits == 64
    header_size, segment_size = (64, 56) if wide else (52, 32)
    start = header_size + segment_size
    base = 0x10000
    size = start + len(processor.exit_code)
    address = "Q" if wide else "I"
    header = struct.pack(
        f"<HHI3{address}I6H",
        *(2, processor.machine, 1, base + start, header_size, 0, processor.flags),
        *(header_size, segment_size, 1, 0, 0, 0),
    )
    load, readable_and_executable, page = 1, 5, 0x1000
    if wide:
        fields = (load, readable_and_executable, 0, base, base, size, size, page)
        segment = struct.pack("<II6Q", *fields)
    else:
        segment = struct.pack("<8I", load, 0, base, base, size, size, readable_and_executable, page)
    return _identification(processor) + header + segment + processor.exit_code


def _identification(processor: _Processor) -> bytes:
    """e_ident: 32 or 64 bits, little-endian, version 1."""
    return magic.ELF + bytes([processor.bits // 32, 1, 1]) + bytes(9)


def _runs(architecture: str) -> bool:
    return not _trial(architecture, ())


def _trial(architecture: str, prefix: Sequence[str]) -> str:
    """Why a program of `architecture` does not run in a root of its own; nothing where it does."""
    with tempfile.TemporaryDirectory(prefix="dibo-foreign-") as directory:
        program = Path(directory) / "program"
        program.write_bytes(smallest_program(architecture))
        argv = [*enter_namespace(), *prefix, "bash", str(_SCRIPTS / "try-program.sh"), str(program)]
        environment = {**engine_environment(), "TMPDIR": directory}
        options = process.ProcessOptions(timeout=_TRIAL_SECONDS)
        try:
            done = process.run(argv, env=environment, capture=True, check=False, options=options)
        except DiboError as error:
            return error.message
    return "" if done.returncode == 0 else " ".join(done.tail[-1:]) or process.describe_exit(done.returncode)
