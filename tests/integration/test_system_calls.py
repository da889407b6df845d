"""What the kernel answers to a step that makes system calls which no package needs: with every engine, for real.

The hook is a program that makes each call and prints the error. Its arguments are such that another answer would come
without the filter: EPERM has no other reason here, but for a few calls that the kernel refuses by itself.
"""

from __future__ import annotations

import os
import platform
import pwd
import subprocess
from collections.abc import Iterator
from typing import Final

import pytest

from tests.integration.test_sandbox import ROOT, answers, build, builder
from tests.support import user
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.host.docker_build_env import docker_build_env
from tests.support.requirements import need, unmet

pytestmark = pytest.mark.integration
__all__ = ["builder"]

CALLS: Final = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void said(const char *name, long result) {
    printf("%s: %s\n", name, result >= 0 ? "done" : strerrorname_np(errno));
    fflush(stdout);
}

#ifdef __x86_64__
static long int80(long number, long first, long second) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(0), "S"(0)
                     : "memory", "r8", "r9", "r10", "r11");
    if (result >= 0) return result;
    errno = -result;
    return -1;
}
#endif

int main(void) {
    char arguments[88] = "";
    said("keyctl", syscall(SYS_keyctl, 0, -3, 1));
    said("add_key", syscall(SYS_add_key, "user", "dibo", "x", 1, -1));
    said("request_key", syscall(SYS_request_key, "user", "dibo", 0, 0));
    said("bpf", syscall(SYS_bpf, -1, 0, 0));
    said("perf_event_open", syscall(SYS_perf_event_open, 0, 0, -1, -1, 0));
    said("userfaultfd", syscall(SYS_userfaultfd, 1));
    said("io_uring_setup", syscall(SYS_io_uring_setup, 0, 0));
    said("syslog", syscall(SYS_syslog, 10, 0, 0));
    said("open_by_handle_at", syscall(SYS_open_by_handle_at, -100, arguments, 0));
    said("quotactl", syscall(SYS_quotactl, -1, 0, 0, 0));
    said("unshare of users", syscall(SYS_unshare, CLONE_NEWUSER));
    said("clone into new users", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD | CLONE_SIGHAND, 0, 0, 0, 0));
    said("clone3", syscall(SYS_clone3, arguments, 0));
    said("setns", syscall(SYS_setns, -1, 0));
    said("fsopen", syscall(SYS_fsopen, 0, 0));
    said("TIOCSTI", ioctl(-1, TIOCSTI, "x"));
    said("TIOCSTI with more bits", syscall(SYS_ioctl, -1, TIOCSTI | 1L << 40, "x"));
    said("TIOCLINUX", ioctl(-1, TIOCLINUX, "\3"));
    said("AF_VSOCK", socket(AF_VSOCK, SOCK_STREAM, 77));
    said("AF_ALG", socket(AF_ALG, SOCK_SEQPACKET, 77));
    said("NETLINK_AUDIT", socket(AF_NETLINK, SOCK_RAW, 9));
    said("ioctl", ioctl(-1, FIONREAD, 0));
    said("AF_UNIX", socket(AF_UNIX, SOCK_STREAM, 0));
    said("unshare of files", syscall(SYS_unshare, CLONE_FILES));
    long child = fork();
    if (child == 0) { said("ptrace", ptrace(PTRACE_TRACEME, 0, 0, 0)); _exit(0); }
    waitpid(child, 0, 0);
#ifdef __x86_64__
    said("x32 mount", syscall(0x40000000 | SYS_mount, 0, 0, 0, 0, 0));
    said("x32 keyctl", syscall(0x40000000 | SYS_keyctl, 0, -3, 1));
    said("i386 keyctl", int80(288, 0, -3));
    said("i386 mount", int80(21, 0, 0));
    said("i386 socketcall", int80(102, 1, 0));
#endif
    return 0;
}
"""
REFUSED: Final = (
    "keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "syslog",
    "open_by_handle_at", "quotactl", "unshare of users", "clone into new users", "setns", "fsopen", "TIOCSTI",
    "TIOCSTI with more bits", "TIOCLINUX", "AF_VSOCK", "AF_ALG",
)  # fmt: skip
OF_X86: Final = ("x32 mount", "x32 keyctl", "i386 keyctl", "i386 mount", "i386 socketcall")
ALLOWED: Final = {"ioctl": "EBADF", "AF_UNIX": "done", "unshare of files": "done", "ptrace": "done"}
BY_DOCKER: Final = (
    "keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd", "open_by_handle_at", "quotactl",
    "unshare of users", "clone into new users", "setns", "fsopen", "syslog",
)  # fmt: skip
"""What every docker since 20.10 refuses; later ones refuse more."""


def write_calls(place: BuildEnv) -> None:
    flavour = place.flavours / "escape"
    (flavour / "install.d").mkdir(parents=True)
    source = place.directory / "calls.c"
    source.write_text(CALLS)
    subprocess.run(["cc", "-static", "-o", str(flavour / "calls"), str(source)], check=True)
    hook = flavour / "install.d" / "10-calls"
    hook.write_text("#!/bin/sh\n/tmp/in_target.d/calls\n")
    hook.chmod(0o755)


@pytest.fixture(params=["user", "root"])
def place(request: pytest.FixtureRequest, builder: pwd.struct_passwd) -> Iterator[BuildEnv]:
    if request.param == "root" and os.geteuid() != 0:
        unmet("root builds only where root runs the tests")
    with build_env(builder if request.param == "user" else ROOT) as made:
        write_calls(made)
        yield made


def test_calls_that_no_package_needs_are_refused(place: BuildEnv) -> None:
    if platform.machine() not in ("x86_64", "aarch64"):
        unmet("this machine has no table of system calls")
    told = answers(build(place))
    refused = [*REFUSED, *(OF_X86 if platform.machine() == "x86_64" else ())]
    expected = dict.fromkeys(refused, "EPERM") | {"clone3": "ENOSYS", "NETLINK_AUDIT": "EINVAL"} | ALLOWED
    assert {name: told[name] for name in expected} == expected


def test_docker_refuses_them_by_a_profile_of_its_own() -> None:
    if os.geteuid() != 0:
        unmet("dockerd must be started by root")
    need("cc")
    with docker_build_env(user.ordinary_user()) as (place, _):
        write_calls(place)
        told = answers(build(place))
        assert {name: told[name] for name in BY_DOCKER} == dict.fromkeys(BY_DOCKER, "EPERM")
        assert {name: told[name] for name in ALLOWED if name != "unshare of files"} == {
            name: value for name, value in ALLOWED.items() if name != "unshare of files"
        }


def test_without_the_sandbox_the_kernel_answers(place: BuildEnv) -> None:
    """So the tests above can fail."""
    told = answers(build(place, "--isolation", "chroot"))
    others = [name for name in REFUSED if told[name] != "EPERM"]
    assert {"keyctl", "TIOCSTI", "setns"} <= set(others), told
