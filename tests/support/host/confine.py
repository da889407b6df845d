"""Runs a command with less than everybody has: no capabilities, no system calls of containers, no files but its own.

    python confine.py [--root DIR] [--id NUMBER] [--no-containers] -- COMMAND …

`--root` is a directory to see as /; `--id` a user and group to become, in no other group, with an empty bounding set
and no_new_privs, so that no file with capabilities or a setuid bit gives anything back; `--no-containers` installs a
seccomp filter under which every system call that a container engine needs fails with EPERM, as the default profiles of
Docker and containerd have it for who has no CAP_SYS_ADMIN. clone3 fails with ENOSYS, as there: its flags lie in
memory, where a filter cannot look, and the C library then falls back on clone.

The filter is classic BPF (seccomp(2), filter.h): 8 bytes an instruction, over struct seccomp_data:

     0 u32 number of the call      8 u64 instruction pointer
     4 u32 architecture           16 u64 × 6 arguments

One file with no imports of this project: it runs as users who cannot read a checkout of root's.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import platform
import signal
import struct

PR_SET_NO_NEW_PRIVS = 38  # include/uapi/linux/prctl.h
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
SECCOMP_MODE_FILTER = 2  # include/uapi/linux/seccomp.h
ALLOW = 0x7FFF0000
ERRNO = 0x00050000
KILL_PROCESS = 0x80000000

LOAD, JUMP_EQUAL, JUMP_SET, RETURN = (
    0x20,
    0x15,
    0x45,
    0x06,
)  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, …|JSET|K, BPF_RET|K
NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (sched.h)

# Numbers of x86-64 and of arm64 (asm/unistd_64.h, asm-generic/unistd.h); those above 423 are common.
FORBIDDEN: dict[str, tuple[int, int]] = {
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "bpf": (321, 280),
    "mknodat": (259, 33),
    "ptrace": (101, 117),
    "keyctl": (250, 219),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
}
CLONE, CLONE3 = (56, 220), 435
ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # AUDIT_ARCH_…, audit.h


def program(machine: str) -> bytes:
    """The filter for one architecture; a call of another one kills the process."""
    audit, column = ARCHITECTURES[machine]
    code = [(LOAD, 0, 0, 4), (JUMP_EQUAL, 1, 0, audit), (RETURN, 0, 0, KILL_PROCESS), (LOAD, 0, 0, 0)]
    for numbers in FORBIDDEN.values():
        code += [(JUMP_EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, ERRNO | errno.EPERM)]
    code += [(JUMP_EQUAL, 0, 1, CLONE3), (RETURN, 0, 0, ERRNO | errno.ENOSYS)]
    code += [
        (JUMP_EQUAL, 0, 3, CLONE[column]),
        (LOAD, 0, 0, 16),  # the low half of the flags
        (JUMP_SET, 0, 1, NEW_NAMESPACES),
        (RETURN, 0, 0, ERRNO | errno.EPERM),
        (RETURN, 0, 0, ALLOW),
    ]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def forbid_containers() -> None:
    code = ctypes.create_string_buffer(program(platform.machine()))
    header = struct.pack("<HxxxxxxQ", (len(code) - 1) // 8, ctypes.addressof(code))  # struct sock_fprog
    _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.create_string_buffer(header))


def become(number: int) -> None:
    """That user, that group, and nothing else. Root only."""
    for capability in range(64):
        if not _prctl(PR_CAPBSET_DROP, capability, check=False):
            break
    os.setgroups([])
    os.setresgid(number, number, number)
    os.setresuid(number, number, number)


def _prctl(*arguments: object, check: bool = True) -> bool:
    words = [each if not isinstance(each, int) else ctypes.c_ulong(each) for each in arguments]
    words += [ctypes.c_ulong(0)] * (5 - len(words))
    done = ctypes.CDLL(None, use_errno=True).prctl(*words)
    if check and done != 0:
        raise OSError(ctypes.get_errno(), f"prctl {arguments[0]}")
    return bool(done == 0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root")
    parser.add_argument("--id", type=int)
    parser.add_argument("--no-containers", action="store_true")
    parser.add_argument("command", nargs="+")
    wanted = parser.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    ctypes.CDLL(None)  # before there is another root
    if wanted.root:
        os.chroot(wanted.root)
    os.chdir("/")
    if wanted.id is not None:
        become(wanted.id)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    if wanted.no_containers:
        forbid_containers()
    os.execvp(wanted.command[0], wanted.command)


if __name__ == "__main__":
    main()
