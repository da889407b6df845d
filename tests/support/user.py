"""Tests that must not run as root, run by root: as which user, and how.

Containers of CI often run as root. There the first user of /etc/subuid that exists, or DIBO_TEST_USER,
stands in for the developer who has no root.
"""

from __future__ import annotations

import os
import pwd
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dibo import process

PROJECT = Path(__file__).resolve().parents[2]


class NoOrdinaryUser(Exception):
    """There is nobody but root here, or nobody who can run what is to be tested."""


def ordinary_user() -> pwd.struct_passwd:
    """Who runs the tests, or, if that is root, who stands in."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in [os.environ.get("DIBO_TEST_USER", ""), *_users_with_subuids()]:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        if found.pw_uid != 0:
            return found
    raise NoOrdinaryUser("root runs the tests, and /etc/subuid names no other user: sudo useradd -m builder")


def dibo_as(user: pwd.struct_passwd, command: str, *arguments: str) -> list[str]:
    """The argv that runs `command` (dibo, disk_image_create) of this checkout as `user`, in that user's
    home.
    """
    program = f"import sys; from dibo.cli import {command}; sys.exit({command}())"
    argv = [sys.executable, "-c", program, *arguments]
    if os.geteuid() == 0 and user.pw_uid != 0:
        home = {
            "HOME": user.pw_dir,
            "USER": user.pw_name,
            "LOGNAME": user.pw_name,
            "PYTHONPATH": str(PROJECT),
        }
        environment = [f"{name}={value}" for name, value in (home | process.proxies()).items()]
        argv = ["runuser", "-u", user.pw_name, "--", "env", "-u", "XDG_RUNTIME_DIR", *environment, *argv]
    else:
        argv = ["env", f"PYTHONPATH={PROJECT}", *argv]
    return argv


def check_python(user: pwd.struct_passwd) -> None:
    """Raises NoOrdinaryUser when `user` cannot run this Python with this dibo (a virtual environment in
    /root).
    """
    done = process.run(dibo_as(user, "dibo", "--version"), check=False)
    if done.returncode != 0:
        said = "\n".join(done.tail)
        raise NoOrdinaryUser(f"{user.pw_name} cannot run dibo with {sys.executable}:\n{said}")


def directory_of(user: pwd.struct_passwd) -> Path:
    """A new directory that belongs to `user`; the caller removes it. Not below pytest's own, which is
    root's.
    """
    directory = Path(tempfile.mkdtemp(prefix="dibo-test-", dir="/var/tmp"))
    shutil.chown(directory, user.pw_uid, user.pw_gid)
    return directory


def run_as(user: pwd.struct_passwd, command: str, arguments: Sequence[str], *, timeout: float) -> str:
    """Run dibo as `user`; its standard output. Raises CommandFailed, whose message ends with what it said."""
    argv = dibo_as(user, command, *arguments)
    return process.run(argv, capture=True, timeout=timeout, cwd=Path(user.pw_dir)).stdout


def _users_with_subuids() -> list[str]:
    try:
        lines = Path("/etc/subuid").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [line.partition(":")[0] for line in lines]
