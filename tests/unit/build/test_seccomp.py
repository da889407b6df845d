"""The filter of system calls, run by a small interpreter of classic BPF; its numbers, as libseccomp has them."""

from __future__ import annotations

import ctypes
import errno
import itertools
import struct
from typing import Final

import pytest

from dibo.build import seccomp
from tests.support.requirements import unmet

ALLOW: Final = 0
AUDIT_ARCH: Final = {
    "x86_64": 0xC000003E,
    "i386": 0x40000003,
    "aarch64": 0xC00000B7,
    "arm": 0x40000028,
    "riscv64": 0xC00000F3,
    "ppc64le": 0xC0000015,
}
TABLES: Final = [
    *(("x86_64", "x86_64"), ("x86_64", "i386"), ("aarch64", "aarch64"), ("aarch64", "arm")),
    *(("i686", "i386"), ("armv7l", "arm"), ("riscv64", "riscv64")),
]
"""Machines, and the architectures of the programs that they run."""
NEVER: Final = [
    *("add_key", "request_key", "keyctl", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup"),
    *("io_uring_enter", "io_uring_register", "kexec_load", "kexec_file_load", "init_module", "finit_module"),
    *(
        "delete_module",
        "syslog",
        "reboot",
        "acct",
        "settimeofday",
        "stime",
        "clock_settime",
        "clock_settime64",
    ),
    *("swapon", "swapoff", "quotactl", "quotactl_fd", "open_by_handle_at", "mount", "umount", "umount2"),
    *(
        "pivot_root",
        "open_tree",
        "move_mount",
        "fsopen",
        "fsconfig",
        "fsmount",
        "fspick",
        "mount_setattr",
        "setns",
    ),
]
ALWAYS: Final = [
    *(
        "read",
        "write",
        "openat",
        "execve",
        "exit_group",
        "ptrace",
        "process_vm_readv",
        "chroot",
        "chown",
        "setuid",
    ),
    *(
        "seccomp",
        "prctl",
        "personality",
        "mknodat",
        "name_to_handle_at",
        "adjtimex",
        "kill",
        "connect",
        "bind",
    ),
]
NEWUSER, NEWTIME, FILES, SIGCHLD = 0x10000000, 0x80, 0x400, 17
HIGH: Final = 0xABCD << 32


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    try:
        loaded = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        unmet("libseccomp is not installed")
    loaded.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    return loaded


def number(library: ctypes.CDLL, architecture: str, name: str) -> int | None:
    """Of a call, None where the architecture has none of that name."""
    found = int(library.seccomp_syscall_resolve_name_arch(AUDIT_ARCH[architecture], name.encode()))
    return found if found >= 0 else {("i386", "socket"): 359}.get((architecture, name))


def run(program: bytes, architecture: int, call: int, *arguments: int) -> int:
    """The errno that a call gets, 0 where it is allowed. Raises AssertionError for a program that does not end."""
    data = struct.pack("<IIQ6Q", call, architecture, 0, *(*arguments, 0, 0, 0, 0, 0, 0)[:6])
    instructions: list[tuple[int, int, int, int]] = list(struct.iter_unpack("<HBBI", program))
    accumulator = at = 0
    while True:
        code, if_true, if_false, operand = instructions[at]
        at += 1
        match code:
            case 0x20:
                assert operand % 4 == 0
                (accumulator,) = struct.unpack_from("<I", data, operand)
            case 0x05:
                at += operand
            case 0x15:
                at += if_true if accumulator == operand else if_false
            case 0x35:
                at += if_true if accumulator >= operand else if_false
            case 0x45:
                at += if_true if accumulator & operand else if_false
            case 0x06:
                if operand == 0x7FFF0000:
                    return ALLOW
                assert operand >> 16 == 5
                return operand & 0xFFFF
            case _:
                raise AssertionError(f"instruction {code:#x}")


def made(machine: str, *, i386: bool = False) -> bytes:
    program = seccomp.program(machine=machine, i386=i386)
    assert program is not None
    return program


@pytest.mark.parametrize(("machine", "architecture"), TABLES)
def test_calls_by_name(library: ctypes.CDLL, machine: str, architecture: str) -> None:
    program, audit = made(machine), AUDIT_ARCH[architecture]
    numbers = {name: number(library, architecture, name) for name in [*NEVER, *ALWAYS]}
    verdicts = {name: run(program, audit, call) for name, call in numbers.items() if call is not None}
    assert len(verdicts) > len(NEVER) + len(ALWAYS) - 6
    assert verdicts == {name: errno.EPERM if name in NEVER else ALLOW for name in verdicts}


@pytest.mark.parametrize(("machine", "architecture"), TABLES)
def test_no_other_call_is_refused(library: ctypes.CDLL, machine: str, architecture: str) -> None:
    program, audit = made(machine), AUDIT_ARCH[architecture]
    refused = {call: got for call in range(1024) if (got := run(program, audit, call)) != ALLOW}
    named = {number(library, architecture, name): errno.EPERM for name in NEVER} | {467: errno.EPERM}
    named.pop(None, None)
    assert refused == named | {435: errno.ENOSYS}


@pytest.mark.parametrize(("machine", "architecture"), TABLES)
@pytest.mark.parametrize(
    ("call", "arguments", "expected"),
    [
        ("clone", [SIGCHLD], ALLOW),
        ("clone", [0x003D0F00], ALLOW),  # a thread
        ("clone", [NEWUSER | SIGCHLD], errno.EPERM),
        ("clone", [0x00020000 | SIGCHLD], errno.EPERM),
        ("clone3", [0, 88], errno.ENOSYS),
        ("unshare", [FILES], ALLOW),
        ("unshare", [NEWUSER], errno.EPERM),
        ("unshare", [NEWTIME], errno.EPERM),
        ("unshare", [0x02000000], errno.EPERM),
        ("ioctl", [0, 0x5401], ALLOW),
        ("ioctl", [0, 0x5412], errno.EPERM),
        ("ioctl", [0, 0x541C], errno.EPERM),
        ("ioctl", [0, 0x5412 | HIGH], errno.EPERM),  # the kernel drops the high half (CVE-2019-10063)
        ("socket", [1, 1, 0], ALLOW),
        ("socket", [2, 1, 0], ALLOW),
        ("socket", [39, 1, 0], ALLOW),
        ("socket", [38, 5, 0], errno.EPERM),
        ("socket", [40, 1, 0], errno.EPERM),
        ("socket", [40 | HIGH, 1, 0], errno.EPERM),
        ("socket", [16, 3, 0], ALLOW),
        ("socket", [16, 3, 9], errno.EINVAL),
        ("socket", [2, 3, 9], ALLOW),
    ],
)
def test_calls_by_argument(
    library: ctypes.CDLL, machine: str, architecture: str, call: str, arguments: list[int], expected: int
) -> None:
    found = number(library, architecture, call)
    assert found is not None
    assert run(made(machine), AUDIT_ARCH[architecture], found, *arguments) == expected


def test_programs_of_x32_are_refused() -> None:
    program, audit = made("x86_64"), AUDIT_ARCH["x86_64"]
    for call in (0, 1, 165, 250, 546):
        assert run(program, audit, 0x40000000 | call) == errno.EPERM
    assert run(program, audit, 0xFFFFFFFF) == ALLOW  # what a tracer skips


def test_programs_of_no_known_architecture_are_refused() -> None:
    for machine, architecture in itertools.product(["x86_64", "i686", "aarch64", "armv7l"], AUDIT_ARCH):
        known = (machine, architecture) in TABLES
        assert run(made(machine), AUDIT_ARCH[architecture], 20) == (ALLOW if known else errno.EPERM)


def test_socketcall_opens_sockets_only_in_a_root_of_i386() -> None:
    audit = AUDIT_ARCH["i386"]
    assert run(made("x86_64"), audit, 102, 1) == errno.EPERM
    assert run(made("x86_64"), audit, 102, 3) == ALLOW
    assert run(made("x86_64", i386=True), audit, 102, 1) == ALLOW


def test_a_machine_without_a_table_has_no_filter() -> None:
    assert seccomp.program(machine="s390x") is None


def test_the_filter_is_made_once() -> None:
    assert seccomp.program() is seccomp.program()


@pytest.mark.parametrize("machine", ["x86_64", "i686", "aarch64", "armv7l", "riscv64"])
def test_the_kernel_would_take_it(machine: str) -> None:
    """No more than BPF_MAXINSNS, jumps within the program, a return at the end (linux/bpf_common.h, seccomp(2))."""
    instructions = list(struct.iter_unpack("=HBBI", made(machine)))
    assert len(instructions) <= 4096
    for at, (code, if_true, if_false, operand) in enumerate(instructions):
        farthest = operand if code == 0x05 else max(if_true, if_false)
        assert at + 1 + farthest < len(instructions) or code == 0x06
    assert instructions[-1][0] == 0x06
