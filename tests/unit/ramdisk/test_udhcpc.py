"""What a DHCP server says becomes an address, name servers and what /init knows: the scripts, with programs that only
note what they were called with. What the real udhcpc and udhcpc6 do is seen when ramdisks are booted.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from dibo.system import resources
from tests.support.init_functions import init_functions
from tests.support.programs import fake
from tests.support.timeouts import TIMEOUT

OWN = resources.shared("converters") / "initramfs"
V6 = "fd00:0001:0000:0000:0000:0000:0000:0194"


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.200\n")
    fake(tmp_path, "ip", f'echo "$@" >> {tmp_path}/log')


def moved(text: str, tmp_path: Path) -> str:
    """A script with its files in a directory of the test's."""
    return (
        text.replace("/run/dibo/", f"{tmp_path}/run/")
        .replace("/etc/resolv.conf", f"{tmp_path}/resolv.conf")
        .replace("/usr/lib/dibo/", f"{tmp_path}/bin/")
    )


def event(tmp_path: Path, name: str, **variables: str) -> list[str]:
    """Run the script as the client does; what it called `ip` with."""
    run(tmp_path, moved((OWN / "udhcpc").read_text(), tmp_path), name, variables)
    log = tmp_path / "log"
    return log.read_text().splitlines() if log.exists() else []


def run(tmp_path: Path, script: str, name: str = "", variables: Mapping[str, str] | None = None) -> str:
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", **(variables or {})}
    argv = ["sh", "-c", script, "sh", name]
    return subprocess.run(argv, capture_output=True, text=True, env=environment, check=True).stdout


def lease(tmp_path: Path) -> dict[str, str]:
    lines = (tmp_path / "run/lease").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_ipv4(tmp_path: Path) -> None:
    called = event(
        tmp_path,
        "bound",
        interface="eth0",
        ip="192.0.2.7",
        mask="25",
        router="192.0.2.1 192.0.2.2",
        dns="192.0.2.3 192.0.2.4",
        domain="example.org",
        siaddr="192.0.2.9",
        serverid="192.0.2.1",
    )
    assert called == [
        "address add 192.0.2.7/25 dev eth0",
        "route add default via 192.0.2.1 dev eth0",
    ]
    assert lease(tmp_path) == {
        "BOOT_IP_ADDRESS": "192.0.2.7",
        "BOOT_NETMASK": "25",
        "BOOT_GATEWAY": "192.0.2.1",
        "BOOT_SERVER": "192.0.2.9",
    }
    resolver = "search example.org\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n"
    assert (tmp_path / "resolv.conf").read_text() == resolver


def test_ipv6(tmp_path: Path) -> None:
    """The variables are those of busybox 1.37's udhcpc6."""
    url = "tftp://[fd00:1::9]/boot.efi"
    called = event(
        tmp_path, "bound", interface="eth0", ipv6=V6, dns="fd00::53", bootfile_url=url, search="x.y"
    )
    assert called == [f"-6 address add {V6}/128 dev eth0"]
    assert lease(tmp_path) == {"BOOT_SERVER": "fd00:1::9"}
    assert (tmp_path / "resolv.conf").read_text() == "search x.y\nnameserver fd00::53\n"


@pytest.mark.parametrize("url", ["", "http://boot.example/x", "tftp://[fd00::1", "$(id)"])
def test_the_rest_alone(tmp_path: Path, url: str) -> None:
    assert event(tmp_path, "bound", interface="eth0", dns="fd00::53", bootfile_url=url) == []
    assert lease(tmp_path) == {"BOOT_SERVER": ""}
    assert (tmp_path / "resolv.conf").read_text() == "nameserver fd00::53\n"


def test_words_of_the_network_are_no_shell(tmp_path: Path) -> None:
    event(tmp_path, "bound", interface="eth0", ip="192.0.2.7", siaddr="$(id)`id`; id")
    assert lease(tmp_path)["BOOT_SERVER"] == "ddd"
    event(tmp_path, "bound", interface="eth0", bootfile_url="tftp://[$(id);id]/")
    assert lease(tmp_path)["BOOT_SERVER"] == "dd"


@pytest.mark.parametrize("name", ["deconfig", "leasefail", "nak"])
def test_other_events_change_nothing(tmp_path: Path, name: str) -> None:
    assert event(tmp_path, name, interface="eth0") == []
    assert not (tmp_path / "run/lease").exists()
    assert (tmp_path / "resolv.conf").read_text() == "nameserver 192.0.2.200\n"


def use_ipv6(tmp_path: Path, *, address: str = "", client: str | None) -> list[str]:
    """What /init's function knows in the end, with an interface that has `address`."""
    said = f"echo '    inet6 {address}/64 scope global '" if address else "cat addresses 2>/dev/null"
    fake(tmp_path, "ip", f'cd {tmp_path}\n[ "$2" != address ] || {{ {said}; exit 0; }}')
    fake(tmp_path, "sleep", "exec /bin/sleep 0.02")
    if client is not None:
        fake(tmp_path, "udhcpc6", f'echo "$@" >> {tmp_path}/log\ncd {tmp_path}\n{client}')
    functions = moved(init_functions(), tmp_path).replace("export PATH", ": PATH", 1)
    return run(
        tmp_path, f'{functions}\nuse_ipv6 eth0 || echo none\necho "$BOOT_IP_ADDRESS,$BOOT_SERVER"'
    ).split()


SERVER = "echo BOOT_SERVER=fd00::9 > run/lease"
ADDRESS = "echo '    inet6 fd00::194/128 scope global' > addresses"


def test_an_address_of_dhcpv6(tmp_path: Path) -> None:
    assert use_ipv6(tmp_path, client=f"{SERVER}\n{ADDRESS}") == ["fd00::194,fd00::9"]
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_an_address_of_the_router_and_the_rest_of_dhcpv6(tmp_path: Path) -> None:
    """A client that asks for an address and gets none goes on asking, until it is ended."""
    client = f'case "$*" in *" -l "*) {SERVER} ;; *) echo $$ > pid.part; mv pid.part pid; exec /bin/sleep 60 ;; esac'
    assert use_ipv6(tmp_path, address="fd00::7", client=client) == ["fd00::7,fd00::9"]
    pid = tmp_path / "pid"
    assert not pid.exists() or ends(int(pid.read_text()))


def ends(pid: int) -> bool:
    """Whether a process that was told to end does so. One that nobody waited for counts as ended: it runs no more."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.05)
    return False


def test_no_dhcpv6_at_all(tmp_path: Path) -> None:
    assert use_ipv6(tmp_path, address="fd00::7", client=None) == ["fd00::7,"]
    assert use_ipv6(tmp_path, address="fd00::7", client="exit 1") == ["fd00::7,"]


def test_no_address(tmp_path: Path) -> None:
    assert use_ipv6(tmp_path, client="exit 1") == ["none", ","]
