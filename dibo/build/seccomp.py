"""The system calls that a step in the sandbox is refused: a seccomp filter, for `bwrap --seccomp`.

It refuses what the default profiles of Docker and Podman refuse and what would lead out of the sandbox, or to parts of
the kernel that no package needs (github.com/moby/profiles, seccomp/default.json; github.com/containers/common,
pkg/seccomp). All else is allowed: a container of Docker runs the same packages. ptrace(2) and its kin stay allowed, as
there since Linux 4.8.

The filter is a program of classic BPF: instructions of 8 bytes (linux/filter.h) that read a `struct seccomp_data`
(linux/seccomp.h, seccomp(2)). The architecture is compared first, since one number means different calls in different
tables. It stands in this folder because nothing else uses it, and what it refuses is a decision about steps.
"""

from __future__ import annotations

import errno
import functools
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand."""

_X86_64, _I386, _ARM, _GENERIC = range(4)
_AUDIT_ARCH: Final = {
    "x86_64": (0xC000003E, _X86_64),
    "i386": (0x40000003, _I386),
    "aarch64": (0xC00000B7, _GENERIC),
    "arm": (0x40000028, _ARM),
    "riscv64": (0xC00000F3, _GENERIC),
}
"""AUDIT_ARCH_* (linux/audit.h), and the column of its numbers in _REFUSED."""

_MACHINES: Final = {
    "x86_64": ("x86_64", "i386"),
    "i686": ("i386",),
    "aarch64": ("aarch64", "arm"),
    "armv7l": ("arm",),
    "riscv64": ("riscv64",),
}
"""uname(2) → the architectures whose programs such a kernel runs. On other machines steps have no filter."""

_REFUSED: Final[dict[str, tuple[int, int, int, int]]] = {
    # Keys of the user who builds: keyrings belong to no namespace (keyrings(7)).
    "add_key": (248, 286, 309, 217),
    "request_key": (249, 287, 310, 218),
    "keyctl": (250, 288, 311, 219),
    # Parts of the kernel that errors were found in again and again, and that packages do without.
    "bpf": (321, 357, 386, 280),
    "perf_event_open": (298, 336, 364, 241),
    "userfaultfd": (323, 374, 388, 282),
    "io_uring_setup": (425, 425, 425, 425),
    "io_uring_enter": (426, 426, 426, 426),
    "io_uring_register": (427, 427, 427, 427),
    # Another kernel, its modules, its log, its clock, its swap, its quotas: the machine's, not the step's.
    "kexec_load": (246, 283, 347, 104),
    "kexec_file_load": (320, -1, 401, 294),
    "init_module": (175, 128, 128, 105),
    "finit_module": (313, 350, 379, 273),
    "delete_module": (176, 129, 129, 106),
    "syslog": (103, 103, 103, 116),
    "reboot": (169, 88, 88, 142),
    "acct": (163, 51, 51, 89),
    "settimeofday": (164, 79, 79, 170),
    "stime": (-1, 25, -1, -1),
    "clock_settime": (227, 264, 262, 112),
    "clock_settime64": (-1, 404, 404, -1),
    "swapon": (167, 87, 87, 224),
    "swapoff": (168, 115, 115, 225),
    "quotactl": (179, 131, 131, 60),
    "quotactl_fd": (443, 443, 443, 443),
    # A file of the same file system by number, without a path (CVE-2014-9357's class, "shocker").
    "open_by_handle_at": (304, 342, 371, 265),
    # Mounts and namespaces: as root of a namespace of its own a step would have capabilities again that dibo dropped.
    "mount": (165, 21, 21, 40),
    "umount": (-1, 22, -1, -1),
    "umount2": (166, 52, 52, 39),
    "pivot_root": (155, 217, 218, 41),
    "open_tree": (428, 428, 428, 428),
    "move_mount": (429, 429, 429, 429),
    "fsopen": (430, 430, 430, 430),
    "fsconfig": (431, 431, 431, 431),
    "fsmount": (432, 432, 432, 432),
    "fspick": (433, 433, 433, 433),
    "mount_setattr": (442, 442, 442, 442),
    "open_tree_attr": (467, 467, 467, 467),
    "setns": (308, 346, 375, 268),
}
"""Calls that are refused whatever their arguments are, by arch/x86/entry/syscalls/syscall_{64,32}.tbl,
arch/arm/tools/syscall.tbl and scripts/syscall.tbl of Linux (-1: not there)."""

_CLONE: Final = (56, 120, 120, 220)
_CLONE3: Final = (435, 435, 435, 435)
_UNSHARE: Final = (272, 310, 337, 97)
_SOCKET: Final = (41, 359, 281, 198)
_SOCKETCALL: Final = (-1, 102, -1, -1)
_IOCTL: Final = (16, 54, 54, 29)
_SYS_SOCKET: Final = 1  # linux/net.h

# linux/sched.h: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. NEWTIME is a flag of unshare alone: in
# those of clone its bit belongs to the signal.
_NEW_NAMESPACES: Final = 0x7E020000
_NEW_TIME: Final = 0x80
_AF_NETLINK, _AF_ALG, _AF_VSOCK, _NETLINK_AUDIT = 16, 38, 40, 9  # linux/socket.h, linux/netlink.h
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C  # asm-generic/ioctls.h

_LOAD, _JUMP, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW: Final[Instruction] = (_RETURN, 0, 0, 0x7FFF0000)
_X32: Final = 0x40000000  # __X32_SYSCALL_BIT
_SKIPPED: Final = 0xFFFFFFFF  # what a tracer sets to skip a call


def program(*, machine: str | None = None, i386: bool = False) -> bytes | None:
    """The filter for a kernel of `machine` (default: this one), None where there is none.

    `i386`: the step's root is of that architecture. Its C library opens sockets by socketcall(2), whose arguments no
    filter can see; for other roots that call opens none.
    """
    return _program(machine=machine or os.uname().machine, i386=i386)


@functools.cache
def _program(*, machine: str, i386: bool) -> bytes | None:
    architectures = _MACHINES.get(machine)
    if architectures is None:
        return None
    instructions: list[Instruction] = [(_LOAD, 0, 0, _ARCHITECTURE)]
    for name in architectures:
        audit, column = _AUDIT_ARCH[name]
        block = list(_block(column, socketcall=i386))
        instructions += [(_IF_EQUAL, 1, 0, audit), (_JUMP, 0, 0, len(block)), *block]
    instructions.append(_refuse(errno.EPERM))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)


def _block(column: int, *, socketcall: bool) -> Iterator[Instruction]:
    """What is refused of one architecture; ends with a return whatever the call is."""
    yield (_LOAD, 0, 0, _NUMBER)
    if column == _X86_64:
        yield from ((_IF_AT_LEAST, 0, 2, _X32), (_IF_EQUAL, 1, 0, _SKIPPED), _refuse(errno.EPERM))
    for numbers in _REFUSED.values():
        if numbers[column] >= 0:
            yield from ((_IF_EQUAL, 0, 1, numbers[column]), _refuse(errno.EPERM))
    # clone3's flags are in memory; with ENOSYS the C library goes on with clone.
    yield from ((_IF_EQUAL, 0, 1, _CLONE3[column]), _refuse(errno.ENOSYS))
    yield from _on(_CLONE[column], _Condition(code=_IF_ANY_BIT, argument=0, value=_NEW_NAMESPACES))
    unshare = _Condition(code=_IF_ANY_BIT, argument=0, value=_NEW_NAMESPACES | _NEW_TIME)
    yield from _on(_UNSHARE[column], unshare)
    # A terminal takes what TIOCSTI or TIOCLINUX put in for what its user types (CVE-2017-5226, CVE-2023-1523).
    stuffing = (_Condition(code=_IF_EQUAL, argument=1, value=value) for value in (_TIOCSTI, _TIOCLINUX))
    yield from _on(_IOCTL[column], *stuffing)
    # AF_VSOCK reaches hypervisors and machines whatever the network namespace, AF_ALG the kernel's ciphers
    # (CVE-2026-31431).
    families = (_Condition(code=_IF_EQUAL, argument=0, value=value) for value in (_AF_VSOCK, _AF_ALG))
    yield from _on(_SOCKET[column], *families, last=_no_audit())
    if not socketcall and _SOCKETCALL[column] >= 0:
        yield from _on(_SOCKETCALL[column], _Condition(code=_IF_EQUAL, argument=0, value=_SYS_SOCKET))
    yield _ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class _Condition:
    """A comparison of the low half of an argument. The kernel uses no more of it: these arguments are of 32 bits, or
    have no known flag above."""

    code: int
    argument: int
    value: int


def _on(number: int, *conditions: _Condition, last: tuple[Instruction, ...] = ()) -> Iterator[Instruction]:
    """Refuse a call where one of the conditions holds."""
    body: list[Instruction] = []
    for condition in conditions:
        body += [_load_argument(condition.argument), (condition.code, 0, 1, condition.value)]
        body.append(_refuse(errno.EPERM))
    body += [*last, _ALLOW]
    yield (_IF_EQUAL, 0, len(body), number)
    yield from body


def _no_audit() -> tuple[Instruction, ...]:
    """Report to a step that the kernel has no log of logins. PAM and shadow go on then; the kernel's own EPERM, for
    lack of CAP_AUDIT_WRITE, they would take for a fault (github.com/containers/common)."""
    return (
        _load_argument(0),
        (_IF_EQUAL, 0, 3, _AF_NETLINK),
        _load_argument(2),
        (_IF_EQUAL, 0, 1, _NETLINK_AUDIT),
        _refuse(errno.EINVAL),
    )


def _load_argument(index: int) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)  # the low half: all of these machines are little-endian


def _refuse(error: int) -> Instruction:
    return (_RETURN, 0, 0, 0x00050000 | error)
