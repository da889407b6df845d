"""VLANs and bonds of the command line: /init's functions, on a made /sys, with programs that note what they were
called with."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.init_functions import init_functions
from tests.support.programs import fake


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was said and called, and the interfaces that would be asked for an address."""

    said: Sequence[str]
    called: Sequence[str]
    candidates: Sequence[str]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """Two cards with cables, and the directory of a bond, which the kernel makes."""
    top = tmp_path / "sys/class/net"
    for card in ("ens3", "ens4"):
        (top / card / "device").mkdir(parents=True)
        (top / card / "carrier").write_text("1\n")
    for name in ("bond0", "bond7"):
        (top / name / "bonding").mkdir(parents=True)
        (top / name / "bonding/miimon").write_text("0\n")
    (tmp_path / "run").mkdir()
    fake(tmp_path, "ip", f'echo "$@" >>{tmp_path}/called')
    fake(tmp_path, "modprobe", "exit 0")
    return top


def start(tmp_path: Path, cmdline: str) -> Outcome:
    """Make what the command line says."""
    (tmp_path / "cmdline").write_text(f"console=ttyS0 {cmdline}\n")
    functions = init_functions().replace("/sys/class", f"{tmp_path}/sys/class")
    functions = functions.replace("/proc/cmdline", f"{tmp_path}/cmdline").replace(
        "/run/dibo", f"{tmp_path}/run"
    )
    functions = functions.replace("export PATH", ": PATH", 1)
    script = f'{functions}\nsay() {{ echo "said $*"; }}\nmake_bond\nmake_vlan\ncandidates'
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == ""
    called = tmp_path / "called"
    lines = done.stdout.splitlines()
    return Outcome(
        said=[line.removeprefix("said ") for line in lines if line.startswith("said ")],
        called=called.read_text().splitlines() if called.exists() else [],
        candidates=[line for line in lines if not line.startswith("said ")],
    )


@pytest.mark.usefixtures("net")
@pytest.mark.parametrize(
    ("name", "identity"),
    [("vlan5", "5"), ("vlan0005", "5"), ("ens3.5", "5"), ("ens3.4094", "4094"), ("vlan10", "10")],
)
def test_a_vlan(name: str, identity: str, tmp_path: Path) -> None:
    outcome = start(tmp_path, f"vlan={name}:ens3 ip=dhcp")
    assert outcome.called == [
        "link set ens3 up",
        f"link add link ens3 name {name} type vlan id {identity}",
        f"link set {name} up",
    ]
    assert (outcome.said, outcome.candidates) == ([], [name])


@pytest.mark.usefixtures("net")
@pytest.mark.parametrize("given", ["storage:ens3", "vlan5", "vlan5:", "vlan0:ens3"])
def test_a_vlan_without_a_number_or_an_interface_is_said(given: str, tmp_path: Path) -> None:
    outcome = start(tmp_path, f"vlan={given}")
    assert outcome.said == [
        f"vlan={given}: expected NAME:INTERFACE with the number of the VLAN at the end of NAME"
    ]
    assert outcome.called == []
    assert list(outcome.candidates) == ["ens3", "ens4"]


def test_a_bond(net: Path, tmp_path: Path) -> None:
    outcome = start(tmp_path, "bond=bond7:ens3,ens4:mode=802.3ad,miimon=50")
    assert outcome.called == ["link set ens3 down", "link set ens4 down", "link set bond7 up"]
    assert (net / "bond7/bonding/mode").read_text() == "802.3ad\n"
    assert (net / "bond7/bonding/miimon").read_text() == "50\n"
    assert (net / "bond7/bonding/slaves").read_text() == "+ens4\n"  # the last that was written
    assert (outcome.said, outcome.candidates) == ([], ["bond7"])


@pytest.mark.parametrize("given", ["bond", "bond=bond0"])
def test_a_bond_without_more_has_two_cards_and_looks_at_their_links(
    net: Path, given: str, tmp_path: Path
) -> None:
    outcome = start(tmp_path, given)
    assert outcome.called == ["link set ens3 down", "link set ens4 down", "link set bond0 up"]
    assert (net / "bond0/bonding/mode").read_text() == "balance-rr\n"
    assert (net / "bond0/bonding/miimon").read_text() == "100\n"
    assert outcome.candidates == ["bond0"]


@pytest.mark.usefixtures("net")
def test_a_vlan_on_a_bond_and_an_interface_that_ip_names(tmp_path: Path) -> None:
    words = "bond=bond0:ens3,ens4:mode=802.3ad vlan=vlan5:bond0"
    outcome = start(tmp_path, words)
    assert outcome.called[-4:] == [
        "link set bond0 up",
        "link set bond0 up",
        "link add link bond0 name vlan5 type vlan id 5",
        "link set vlan5 up",
    ]
    assert outcome.candidates == ["vlan5"]
    assert start(tmp_path, f"{words} ip=bond0:dhcp").candidates == ["bond0"]
