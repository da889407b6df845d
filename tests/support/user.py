"""Tests that must not run as root, run by root: as which user, and how.

Containers of CI often run as root. There the first user of /etc/subuid that exists, or DIBO_TEST_USER,
stands in for the developer who has no root.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dibo.system import process
from tests.support.host.installed_dibo import installed_dibo
from tests.support.requirements import unmet


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


def need_ordinary_user() -> pwd.struct_passwd:
    """ordinary_user(); where there is none, the test is skipped, or fails in CI."""
    try:
        return ordinary_user()
    except NoOrdinaryUser as error:
        unmet(str(error))


@contextlib.contextmanager
def ordinary_users(number: int) -> Iterator[list[pwd.struct_passwd]]:
    """So many, with subordinate ids of their own: need_ordinary_user(), and new ones which are removed at the end.
    Only root can make users: for anybody else all are the same."""
    first = need_ordinary_user()
    if os.geteuid() != 0:
        yield [first] * number
        return
    names = [f"dibo-test-{secrets.token_hex(4)}" for _ in range(number - 1)]
    with contextlib.ExitStack() as stack:
        for name in names:
            process.run(["useradd", "--no-create-home", "--shell", "/bin/sh", name])
            stack.callback(process.run, ["userdel", "--force", name])
        yield [first, *map(pwd.getpwnam, names)]


def as_user(
    user: pwd.struct_passwd, argv: Sequence[str], *, environment: Mapping[str, str] | None = None
) -> list[str]:
    """The argv that runs `argv` as `user`, at home there, with these variables; an empty one is not set."""
    variables = dict(process.proxies())
    if os.geteuid() == 0 and user.pw_uid != 0:
        variables |= {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}
        variables["PATH"] = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    variables |= environment or {}
    settings = [f"{name}={value}" for name, value in variables.items() if value]
    unset = [
        word
        for name in ("XDG_RUNTIME_DIR", *(n for n, v in variables.items() if not v))
        for word in ("-u", name)
    ]
    change = ["runuser", "-u", user.pw_name, "--"] if os.geteuid() == 0 and user.pw_uid != 0 else []
    return [*change, "env", *unset, *settings, *argv]


def program(command: str) -> str:
    """The path of `dibo` or `disk-image-create`, installed where every user may run it."""
    return str(installed_dibo() / command)


def directory_of(user: pwd.struct_passwd) -> Path:
    """A new directory that belongs to `user`; the caller removes it. Not below pytest's own, which is
    root's.
    """
    directory = Path(tempfile.mkdtemp(prefix="dibo-test-", dir="/var/tmp"))
    shutil.chown(directory, user.pw_uid, user.pw_gid)
    return directory


def run_as(
    user: pwd.struct_passwd,
    command: str,
    arguments: Sequence[str],
    *,
    timeout: float,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a command of dibo as `user`; its standard output. Raises CommandFailed, whose tail is what it said."""
    argv = as_user(user, [program(command), *arguments], environment=environment)
    return process.run(
        argv, capture=True, options=process.ProcessOptions(timeout=timeout, cwd=Path("/"))
    ).stdout


def _users_with_subuids() -> list[str]:
    try:
        lines = Path("/etc/subuid").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [line.partition(":")[0] for line in lines]
