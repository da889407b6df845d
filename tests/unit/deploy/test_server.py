"""The boot server over a real socket: what it answers, what it shows, and what it does not put up with. Disks are in
tests/integration/test_boot_server.py.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from dibo.deploy.http_server import ConnectionLimits
from dibo.deploy.machines import Machine, parse_machines
from dibo.deploy.server import MOST_BODY, BootServer, ServerSettings
from dibo.deploy.tls import ServerCertificate
from dibo.errors import BootServerError
from tests.support.programs import fake
from tests.support.requirements import need
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.slow

KEY = "open-sesame"
IQN = "iqn.2026-11.example:m7"
TOKEN = "0123456789abcdef"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
PULLED = "oci://registry.example/web:1"


class Lab:
    def __init__(self, top: Path) -> None:
        self.top = top
        self.lines: list[str] = []
        self.kernel, self.ramdisk = top / "a.kernel", top / "a.ramdisk"
        self.kernel.write_bytes(b"kernel" * 1000)
        self.ramdisk.write_bytes(b"ramdisk" * 100_000)
        self.settings: dict[str, Any] = {"kernel": self.kernel, "ramdisk": self.ramdisk, "token": TOKEN}
        self.machines: dict[str, dict[str, Any]] = {
            "7": {"key": KEY, "image": "nowhere.qcow2", "mac": "52:54:00:12:34:56"},
            "8": {"key": f"{KEY}8", "image": PULLED, "method": "pull", "mac": "52:54:00:12:34:57"},
        }

    def parsed(self) -> dict[str, Machine]:
        return parse_machines({"machines": self.machines}, origin="machines", directory=self.top)

    def server(self) -> BootServer:
        settings = ServerSettings(listen="127.0.0.1", port=0, state_file=self.top / "state", **self.settings)
        return BootServer(settings, self.parsed, self.lines.append)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
def server(lab: Lab) -> Iterator[BootServer]:
    with lab.server() as running:
        yield running


def ask(
    server: BootServer,
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    source: str | None = None,
    **headers: str,
) -> tuple[int, bytes]:
    where = ("127.0.0.1", 0) if source is None else (source, 0)
    with closing(
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT, source_address=where)
    ) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def post(server: BootServer, source: str | None = None, **fields: str) -> tuple[int, str]:
    status, body = ask(server, "POST", "/", urlencode(fields).encode(), source=source)
    return status, body.decode()


def shown(server: BootServer, identity: str) -> dict[str, Any]:
    status, body = ask(server, "GET", "/machines", None, **AUTHORIZED)
    assert status == 200 and KEY.encode() not in body
    return dict(next(each for each in json.loads(body)["machines"] if each["id"] == identity))


def wait(server: BootServer, identity: str, state: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while (found := shown(server, identity))["state"] != state:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def test_answers_of_old(server: BootServer, lab: Lab) -> None:
    assert ask(server, "PUT", "/", b"")[0] == 501 and ask(server, "GET", "/")[0] == 501
    assert post(server, i="7", k=KEY, a="127.0.0.1") == (400, "parameter 'n' is not defined\n")
    assert post(server, i="9", k=KEY, a="127.0.0.1", n=IQN) == (400, "key is not match\n")
    assert post(server, i="7", k="guess", a="127.0.0.1", n=IQN) == (400, "key is not match\n")
    assert (
        post(server, i="7", k="gu\u00e9ss\udcff".encode("utf-8", "replace").decode(), a="127.0.0.1", n=IQN)[0]
        == 400
    )
    assert post(server, i="7", k="no machine", a="127.0.0.1", n=IQN)[0] == 400
    assert post(server, i="9", k="no machine", a="127.0.0.1", n=IQN)[0] == 400, (
        "of a machine that is not there"
    )
    assert shown(server, "7")["state"] == "waiting"
    assert post(server, i="7", k=KEY, a="127.0.0.1", n=IQN) == (200, "")
    assert "cannot read" in wait(server, "7", "failed")["error"]
    assert KEY not in "\n".join(lab.lines) and "guess" not in "\n".join(lab.lines)


def test_what_a_machine_says_went_wrong(server: BootServer, lab: Lab) -> None:
    assert post(server, i="7", k=KEY, a="127.0.0.1", n="", e="none of these disks is there: sdz") == (200, "")
    found = shown(server, "7")
    assert (found["state"], found["error"]) == ("failed", "none of these disks is there: sdz")
    assert lab.lines[-1] == "7: failed: none of these disks is there: sdz"


def test_an_address_that_is_not_the_one_that_posted(server: BootServer) -> None:
    assert post(server, i="7", k=KEY, a="192.0.2.7", n=IQN)[0] == 403
    assert shown(server, "7")["state"] == "waiting"


def test_a_pull_as_it_is_reported(server: BootServer, lab: Lab) -> None:
    common = {"i": "8", "k": f"{KEY}8", "a": "127.0.0.1", "m": PULLED}
    assert post(server, **common, s="started")[0] == 200
    for written in range(0, 101, 5):
        assert post(server, **common, s="writing", b=str(written), t="100")[0] == 200
    assert shown(server, "8")["written"] == 100
    assert post(server, **common, s="done", b="100", t="100", d=f"sha256:{'0a' * 32}")[0] == 200
    found = shown(server, "8")
    assert (found["state"], found["deployed"], found["digest"]) == ("done", 1, f"sha256:{'0a' * 32}")
    assert [line for line in lab.lines if line.startswith("8: writing")] == [
        f"8: writing, {number} %" for number in range(0, 101, 10)
    ]
    assert post(server, **common, s="started")[0] == 409
    assert post(server, i="7", k=KEY, a="127.0.0.1", s="started", m=PULLED)[0] == 409, "that is an export"


def test_scripts_for_machines(server: BootServer, lab: Lab) -> None:
    status, body = ask(server, "GET", "/boot.ipxe")
    assert status == 200 and b"chain --replace boot.ipxe?mac=${netX/mac:hexhyp}" in body
    status, body = ask(server, "GET", "/boot.ipxe?mac=52-54-00-12-34-56", Host="192.0.2.1:10000")
    assert (
        status == 200
        and b"boot_server=192.0.2.1 iscsi_target_iqn=iqn.2026-11.dibo:7 deployment_id=7 deployment_key="
        in body
        and KEY.encode() not in body
    )
    assert shown(server, "7")["state"] == "booting"
    assert b"boot_server=127.0.0.1 " in ask(server, "GET", "/boot.ipxe?mac=52:54:00:12:34:56", Host="a b")[1]
    assert (
        b"no machine has the MAC address 52:54:00:00:00:00"
        in ask(server, "GET", "/boot.ipxe?mac=52:54:00:00:00:00")[1]
    )
    assert ask(server, "GET", "/boot.ipxe?mac=52:54:00:00:00:00%0Ashell")[0] == 400
    assert ask(server, "GET", "HTTP://[")[0] == 400
    common = {"i": "8", "k": f"{KEY}8", "a": "127.0.0.1"}
    assert post(server, **common, s="done")[0] == 200
    body = ask(server, "GET", "/boot.ipxe?mac=52-54-00-12-34-57")[1]
    assert b"machine 8: deployment 1 is done: booting from the disk" in body and KEY.encode() not in body
    lab.machines["8"]["deployment"] = "2"
    assert b"deployment_key=" in ask(server, "GET", "/boot.ipxe?mac=52-54-00-12-34-57")[1]


SCRIPT_8 = "/boot.ipxe?mac=52-54-00-12-34-57"
STRANGER = "127.0.0.2"


def key_of(server: BootServer, path: str = SCRIPT_8, source: str | None = None) -> str:
    status, body = ask(server, "GET", path, source=source)
    assert status == 200
    return body.decode().partition("deployment_key=")[2].split()[0]


def test_the_key_in_a_script_is_for_one_deployment_and_one_address(server: BootServer, lab: Lab) -> None:
    key = key_of(server)
    common = {"i": "8", "k": key, "s": "started"}
    assert post(server, STRANGER, a=STRANGER, **common)[0] == 403
    assert ask(server, "GET", SCRIPT_8, source=STRANGER)[0] == 403, "and nobody else gets one meanwhile"
    assert post(server, a="127.0.0.1", **common)[0] == 200
    assert key_of(server) == key, "who asks again is not locked out"
    assert post(server, i="8", k=key, a="127.0.0.1", s="done")[0] == 200
    assert post(server, a="127.0.0.1", **common)[0] == 400, "it is of no use any more"
    lab.machines["8"]["deployment"] = "2"
    assert key_of(server) != key
    assert key not in "\n".join(lab.lines)


def test_a_machine_that_failed_may_boot_at_another_address(server: BootServer) -> None:
    key = key_of(server)
    assert post(server, i="8", k=key, a="127.0.0.1", e="the disk is gone")[0] == 200
    assert key_of(server, source=STRANGER) != key


def test_a_report_of_another_address_than_the_one_that_began(server: BootServer) -> None:
    common = {"i": "8", "k": f"{KEY}8"}
    assert post(server, a="127.0.0.1", s="started", **common)[0] == 200
    assert post(server, STRANGER, a=STRANGER, s="done", **common)[0] == 403
    assert post(server, STRANGER, a=STRANGER, e="broken", **common)[0] == 403
    assert shown(server, "8")["state"] == "started"
    assert post(server, a="127.0.0.1", s="done", **common)[0] == 200


def test_a_machine_without_a_key_of_its_own(server: BootServer, lab: Lab) -> None:
    del lab.machines["8"]["key"]
    assert post(server, i="8", k="", a="127.0.0.1", s="started")[0] == 400
    assert post(server, i="8", k=key_of(server), a="127.0.0.1", s="started")[0] == 200


def test_a_key_that_was_given_out_counts_after_a_restart_and_is_nobody_elses_to_read(lab: Lab) -> None:
    with lab.server() as server:
        key = key_of(server)
    state = lab.top / "state"
    assert key in state.read_text() and state.stat().st_mode & 0o777 == 0o600
    with lab.server() as server:
        assert post(server, i="8", k=key, a="127.0.0.1", s="started")[0] == 200


@pytest.mark.parametrize("given", [{}, {"Authorization": "Bearer x"}, {"Authorization": "Bearer "}])
def test_the_listing_is_for_who_has_the_token(server: BootServer, given: dict[str, str]) -> None:
    assert ask(server, "GET", "/machines", None, **given)[0] == 401
    assert ask(server, "GET", "/machines", None, **AUTHORIZED)[0] == 200


def test_without_a_token_the_listing_is_for_nobody(lab: Lab) -> None:
    lab.settings = {}
    with lab.server() as server:
        assert ask(server, "GET", "/machines", Authorization="Bearer ")[0] == 401


def test_a_login_in_the_image_is_shown_to_nobody(server: BootServer, lab: Lab) -> None:
    lab.machines["8"]["image"] = "https://user:secret@files.example/web.qcow2?token=secret"
    assert post(server, i="8", k=f"{KEY}8", a="127.0.0.1", s="started")[0] == 200
    assert shown(server, "8")["image"] == "https://files.example/web.qcow2"
    assert "secret" not in (lab.top / "state").read_text()


def test_a_disk_with_large_sectors_is_refused_with_the_reason(server: BootServer) -> None:
    status, answer = post(server, i="7", k=KEY, a="127.0.0.1", n=IQN, z="4096")
    assert status == 409 and "sectors of 4096 bytes" in answer
    assert "sectors of 4096 bytes" in shown(server, "7")["error"]


def test_a_server_that_has_no_driver_for_iscsi_says_so_before_the_machine_waits(
    server: BootServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake(tmp_path, "qemu-img", "echo \"qemu-img: Could not open: Unknown driver 'iscsi'\" >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    status, answer = post(server, i="7", k=KEY, a="127.0.0.1", n=IQN)
    assert status == 503 and "qemu-block-extra" in answer
    assert shown(server, "7")["state"] == "failed"


def test_who_asks_for_a_script_stops_nothing(server: BootServer) -> None:
    assert post(server, i="8", k=f"{KEY}8", a="127.0.0.1", s="started")[0] == 200
    assert ask(server, "GET", "/boot.ipxe?mac=52-54-00-12-34-57")[0] == 200
    assert shown(server, "8")["state"] == "started"


def test_kernel_and_ramdisk(server: BootServer, lab: Lab) -> None:
    assert ask(server, "GET", "/kernel") == (200, lab.kernel.read_bytes())
    assert ask(server, "GET", "/ramdisk") == (200, lab.ramdisk.read_bytes())
    assert ask(server, "HEAD", "/ramdisk") == (200, b"")
    for path in ("/state", "/../state", "//kernel/..", "/a.kernel", "/kernel/"):
        assert ask(server, "GET", path)[0] == 404, path


def test_without_a_ramdisk_machines_boot_from_their_disks(lab: Lab) -> None:
    lab.settings = {"token": TOKEN}
    with lab.server() as server:
        assert b"there is no ramdisk to boot" in ask(server, "GET", "/boot.ipxe?mac=52-54-00-12-34-56")[1]
        assert ask(server, "GET", "/kernel")[0] == 404


def test_machines_that_are_not_heard_of(lab: Lab) -> None:
    lab.settings |= {"boot_seconds": 0.5, "pull_seconds": 0.5}
    with lab.server() as server:
        assert ask(server, "GET", "/boot.ipxe?mac=52-54-00-12-34-56")[0] == 200
        assert post(server, i="8", k=f"{KEY}8", a="127.0.0.1", s="started")[0] == 200
        assert "no report for" in wait(server, "7", "failed")["error"]
        assert "the disk may be half written" in wait(server, "8", "failed")["error"]
        assert post(server, i="8", k=f"{KEY}8", a="127.0.0.1", s="done")[0] == 200, "it was only slow"
        assert shown(server, "8")["deployed"] == 1


def test_what_is_deployed_is_remembered(lab: Lab) -> None:
    with lab.server() as server:
        assert post(server, i="8", k=f"{KEY}8", a="127.0.0.1", s="done")[0] == 200
    assert KEY not in (lab.top / "state").read_text()
    with lab.server() as server:
        assert shown(server, "8")["deployed"] == 1
    (lab.top / "state").write_text("{")
    with pytest.raises(BootServerError, match=r"cannot read .*state"):
        lab.server()


def test_a_state_file_that_cannot_be_written(lab: Lab) -> None:
    (lab.top / ".state.part").mkdir()
    with pytest.raises(BootServerError, match=r"cannot write to .*state"), lab.server():
        pass


def test_a_port_that_is_taken(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = ServerSettings(
            listen="127.0.0.1", port=other.getsockname()[1], state_file=lab.top / "state"
        )
        with (
            pytest.raises(BootServerError, match=r"cannot listen on 127.0.0.1:"),
            BootServer(settings, lab.parsed, print),
        ):
            pass


def test_a_body_that_is_too_long_is_not_read(server: BootServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as client:
        client.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {MOST_BODY + 1}\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.0 413 ")
    for wrong in ("-1", "1e3", "9" * 30, ""):
        with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as client:
            client.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {wrong}\r\n\r\n".encode())
            assert client.recv(100).startswith(b"HTTP/1.0 411 "), wrong


def test_slow_clients_are_left_and_are_in_nobodys_way(lab: Lab) -> None:
    """One says nothing, one a byte at a time, one stops in the middle of its form."""
    lab.settings["limits"] = ConnectionLimits(
        connections=128, connections_per_address=16, request_seconds=1.0
    )
    with lab.server() as server:
        clients = [socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) for _ in range(3)]
        clients[2].sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\ni=7&k=")
        closed = False
        for _ in range(600):
            assert ask(server, "GET", "/boot.ipxe")[0] == 200
            try:
                clients[1].sendall(b"G")
            except OSError:
                closed = True
                break
            time.sleep(0.05)
        assert closed
        for client in (clients[0], clients[2]):
            assert client.recv(100) == b""
        for client in clients:
            client.close()
        assert shown(server, "7")["state"] == "waiting"


def test_no_more_connections_than_there_is_room_for(lab: Lab) -> None:
    lab.settings["limits"] = ConnectionLimits(connections=2, connections_per_address=2, request_seconds=20.0)
    with lab.server() as server:
        clients = [socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) for _ in range(2)]
        for client in clients:
            client.sendall(b"GET")
        with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as third:
            assert third.recv(100) == b""
        for client in clients:
            client.sendall(b" /boot.ipxe HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.0 200 ")
            client.close()


def test_no_address_takes_all_connections(lab: Lab) -> None:
    lab.settings["limits"] = ConnectionLimits(connections=8, connections_per_address=3, request_seconds=20.0)
    with lab.server() as server:
        idle = [socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) for _ in range(20)]
        closed = [client for client in idle if _is_closed(client)]
        assert len(closed) == 17
        assert ask(server, "GET", "/boot.ipxe", source=STRANGER)[0] == 200
        for client in idle:
            client.close()


def _is_closed(client: socket.socket) -> bool:
    client.settimeout(0.2)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_over_tls(lab: Lab, tmp_path: Path) -> None:
    need("openssl")
    names = ["-subj", "/CN=boot", "-addext", "subjectAltName=IP:127.0.0.1"]
    pair = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *pair]
    subprocess.run(argv, check=True, capture_output=True)
    lab.settings |= {
        "tls": ServerCertificate(tmp_path / "cert", tmp_path / "key"),
        "limits": ConnectionLimits(connections=8, connections_per_address=8, request_seconds=1.0),
    }
    trust = ssl.create_default_context(cafile=str(tmp_path / "cert"))
    with lab.server() as server:
        silent = socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT)
        with closing(http.client.HTTPSConnection("127.0.0.1", server.port, context=trust)) as connection:
            connection.request("GET", SCRIPT_8)
            text = connection.getresponse().read()
        assert b" boot_server_tls " in text
        with pytest.raises((http.client.BadStatusLine, ConnectionError)):
            ask(server, "GET", SCRIPT_8)
        assert silent.recv(1) == b"", "who never begins the handshake is left"
        silent.close()
    assert not [line for line in lab.lines if "failed" in line]


def test_over_ipv6(lab: Lab) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    settings = ServerSettings(listen="::", port=0, state_file=lab.top / "state")
    with BootServer(settings, lab.parsed, print) as server:
        assert post(server, i="8", k=f"{KEY}8", a="127.0.0.1", s="started")[0] == 200, (
            "an IPv4 address, as one"
        )
