"""Machines without metadata: how base's files configure the network, wait for it, and close SSH to passwords."""

from __future__ import annotations

import configparser
import shlex
import subprocess
from pathlib import Path

from dibo.system import resources

BASE = resources.shared("flavours") / "base"
FILES = BASE / "files"
FALLBACK = "/run/systemd/network/99-dibo-fallback.network"
PROGRAM = "/lib/systemd/systemd-networkd-wait-online"


def unit(name: str) -> configparser.ConfigParser:
    """A file of systemd's. Settings may come more than once: the last one counts."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(FILES / name)
    return parser


def test_every_wired_card_asks_for_an_address() -> None:
    network = unit("fallback.network")
    assert dict(network["Match"]) == {"Type": "ether", "Kind": "!*"}
    assert dict(network["Network"]) == {"DHCP": "yes"}
    assert network.sections() == ["Match", "Network"], "a setting that systemd does not know is ignored"
    service = unit("dibo-fallback-network.service")["Service"]
    assert service["ExecStart"].split()[-2:] == ["/usr/lib/dibo/fallback.network", FALLBACK]


def waits(directory: Path) -> str:
    """What the drop-in starts, with the program and the file that it asks for in a directory of the test's."""
    program = directory / "wait-online"
    program.write_text('#!/bin/sh\necho "waits $*"\n')
    program.chmod(0o755)
    command = unit("wait-online.conf")["Service"]["ExecStart"]
    assert FALLBACK in command and PROGRAM in command
    moved = command.replace(FALLBACK, f"{directory}/fallback").replace(PROGRAM, str(program))
    return subprocess.run(shlex.split(moved), capture_output=True, text=True, check=True).stdout.strip()


def test_one_card_with_an_address_is_enough_where_all_are_asked(tmp_path: Path) -> None:
    assert waits(tmp_path) == "waits"
    (tmp_path / "fallback").touch()
    assert waits(tmp_path) == "waits --any"


def test_the_drop_in_replaces_the_command_and_sorts_before_netplan_s() -> None:
    lines = (FILES / "wait-online.conf").read_text().splitlines()
    assert lines.index("ExecStart=") + 1 == next(
        number for number, line in enumerate(lines) if line.startswith("ExecStart=/")
    )
    # What netplan generates is 10-netplan.conf.
    script = (BASE / "install.d/12-units").read_text()
    assert "/etc/systemd/system/systemd-networkd-wait-online.service.d/05-dibo.conf" in script


def test_ssh_takes_no_passwords_unless_somebody_says_so() -> None:
    """sshd takes the first of several settings: cloud-init's ssh_pwauth, in 50-cloud-init.conf, comes before."""
    lines = (FILES / "60-dibo-sshd.conf").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["PasswordAuthentication no"]
    script = (BASE / "install.d/12-units").read_text()
    (command,) = [line for line in script.splitlines() if "60-dibo-sshd.conf" in line]
    assert command.endswith("/etc/ssh/sshd_config.d/60-dibo.conf")
