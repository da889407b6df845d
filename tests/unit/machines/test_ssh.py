"""Commands over SSH, to a real server on loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dibo.machines.channels import speaks_ssh
from dibo.machines.seed import make_key
from dibo.machines.ssh import NO_CONNECTION, SshAccess
from dibo.system import process
from tests.support.machines.direct_boot import free_port
from tests.support.servers.sshd import sshd


@pytest.fixture
def access(tmp_path: Path) -> Iterator[SshAccess]:
    """A server that takes the key of the access alone."""
    with sshd(tmp_path, owner=os.geteuid()) as (port, _):
        yield SshAccess(
            port=port, user="root", key=tmp_path / "user", known_hosts=tmp_path / "hosts_of_machine"
        )


def test_a_command_and_its_exit_code(access: SshAccess) -> None:
    """One that a shell reads; the user's configuration does not count."""
    assert speaks_ssh("127.0.0.1", access.port, seconds=5.0)
    done = process.run(access.argv(["echo $((40 + 2)); exit 7"]), capture=True, check=False)
    assert (done.stdout, done.returncode) == ("42\n", 7)
    assert access.known_hosts.is_file()


def test_another_key(access: SshAccess, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    refused = SshAccess(
        port=access.port, user=access.user, key=make_key(other), known_hosts=access.known_hosts
    )
    assert process.run(refused.argv(["true"]), check=False).returncode == NO_CONNECTION


def test_what_answers_and_is_no_ssh_server() -> None:
    assert not speaks_ssh("127.0.0.1", free_port(), seconds=1.0)


def test_a_shell_may_ask(access: SshAccess) -> None:
    """A command of steps may not; without a command there is none at the end."""
    assert "BatchMode=yes" in access.argv(["true"])
    assert access.argv(interactive=True)[-1] == f"{access.user}@127.0.0.1"
    assert "BatchMode=yes" not in access.argv(interactive=True)
