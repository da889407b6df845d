"""What units listen on, by sockets, commands and configuration."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from dibo.contents.kept_files import is_read
from dibo.reports.known_services import KNOWN
from dibo.reports.ports import exposed_ports, listening_ports, parse_address
from dibo.reports.unit_files import UnitFile
from tests.support.report_samples import record

Found = set[tuple[str, str, int, str, str]]


def ports_of(
    units: Mapping[str, UnitFile],
    texts: Mapping[str, str] | None = None,
    *,
    starts: tuple[str, ...] | None = None,
) -> Found:
    """(unit, address, port, protocol, said by); those that do not start with a `-` in front."""
    texts = texts or {}
    found = listening_ports(
        units,
        tuple(units) if starts is None else starts,
        {path.encode(): record() for path in texts},
        lambda path: texts.get(path.decode(), ""),
    )
    return {
        (("" if port.starts else "-") + port.unit, port.address, port.port, port.protocol, port.said_by)
        for port in found
    }


def service(name: str, texts: Mapping[str, str] | None = None) -> set[tuple[str, int, str]]:
    return {(address, port, said) for _, address, port, _, said in ports_of({name: UnitFile()}, texts)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", ("", 80)),
        ("*:80", ("", 80)),
        ("0.0.0.0:8080", ("", 8080)),
        ("[::]:443;", ("", 443)),
        ("[::1]:25", ("[::1]", 25)),
        ("127.0.0.1:3306", ("127.0.0.1", 3306)),
        ("localhost:631", ("localhost", 631)),
        ("https", ("", 443)),
        ("/run/web.sock", None),
        ("unix:/run/web.sock", None),
        ("@abstract", None),
        ("0", None),
        ("65536", None),
        ("vsock:2:1234", None),
        ("", None),
        ("nonsense", None),
    ],
)
def test_addresses(text: str, expected: tuple[str, int] | None) -> None:
    assert parse_address(text) == expected


def test_sockets() -> None:
    units = {
        "web.socket": UnitFile(listen=(("tcp", "80"), ("udp", "[::1]:53"), ("tcp", "/run/web"))),
        "off.socket": UnitFile(listen=(("tcp", "99"),)),
    }
    assert ports_of(units, starts=("web.socket",)) == {
        ("web.socket", "", 80, "tcp", "the socket unit"),
        ("web.socket", "[::1]", 53, "udp", "the socket unit"),
        ("-off.socket", "", 99, "tcp", "the socket unit"),
    }


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/usr/bin/web --port 8080", 8080),
        ("/usr/bin/web --port=8080 --verbose", 8080),
        ("/usr/bin/web --listen-address=:9100", 9100),
        ("/usr/bin/web --web.listen-address=0.0.0.0:9090", 9090),
        ("/usr/bin/python3 -m http.server 8000", 8000),
        ("/usr/bin/web --bind 127.0.0.1:5000", 5000),
    ],
)
def test_commands(command: str, expected: int) -> None:
    found = ports_of({"web.service": UnitFile(commands=(command,))})
    assert {(port, said) for _, _, port, _, said in found} == {(expected, "the unit's command")}


@pytest.mark.parametrize(
    "command", ["/usr/bin/web --port $PORT", "/usr/bin/web --ports 80", "/bin/report 80"]
)
def test_commands_that_name_no_port(command: str) -> None:
    assert ports_of({"web.service": UnitFile(commands=(command,))}) == set()


def test_ssh() -> None:
    assert service("ssh.service") == {("", 22, "its default")}
    texts = {
        "etc/ssh/sshd_config": "#Port 99\nPort 2222\nport 2223 # two\nListenAddress 10.0.0.1\nListenAddress [::1]:24\n"
    }
    said = "/etc/ssh/sshd_config"
    assert service("sshd.service", texts) == {
        ("10.0.0.1", 2222, said),
        ("10.0.0.1", 2223, said),
        ("[::1]", 24, said),
    }


def test_ssh_by_its_socket_is_not_listed_twice() -> None:
    units = {
        "ssh.service": UnitFile(),
        "ssh.socket": UnitFile(listen=(("tcp", "22"),), service="ssh.service"),
    }
    assert ports_of(units, starts=("ssh.socket", "ssh.service")) == {
        ("ssh.socket", "", 22, "tcp", "the socket unit")
    }
    assert ("ssh.service", "", 22, "tcp", "its default") in ports_of(units, starts=("ssh.service",))


def test_web_servers() -> None:
    nginx = {
        "etc/nginx/sites-enabled/default": "server {\n listen 80 default_server;\n listen [::]:80;\n# listen 99;\n}"
    }
    assert service("nginx.service", nginx) == {("", 80, "/etc/nginx/sites-enabled/default")}
    assert service("nginx.service") == set()
    apache = {
        "etc/apache2/ports.conf": "Listen 80\n<IfModule ssl_module>\n\tListen 443\n</IfModule>\nListen 8080\n"
    }
    found = listening_ports(
        {"apache2.service": UnitFile()},
        (),
        {b"etc/apache2/ports.conf": record()},
        lambda path: apache[path.decode()],
    )
    assert [(port.port, port.condition) for port in found] == [
        (80, ""),
        (443, "if ssl_module is there"),
        (8080, ""),
    ]


def test_databases() -> None:
    maria = {
        "etc/mysql/mariadb.conf.d/50-server.cnf": "[mysqld]\nbind-address = 127.0.0.1\n",
        "etc/mysql/my.cnf": "port = 3307\n",
    }
    assert service("mariadb.service", maria) == {("127.0.0.1", 3307, "/etc/mysql/my.cnf")}
    assert service("mysql.service", {"etc/mysql/my.cnf": "skip-networking\n"}) == set()
    assert service("mysql.service", {"etc/mysql/my.cnf": "skip-networking=0\n"}) == {
        ("", 3306, "its default")
    }
    assert service("postgresql@.service") == {("localhost", 5432, "its default")}
    redis = {"etc/redis/redis.conf": "bind 127.0.0.1 -::1\nport 6380\n"}
    said = "/etc/redis/redis.conf"
    assert service("redis-server.service", redis) == {("127.0.0.1", 6380, said), ("::1", 6380, said)}


def test_what_a_container_exposes() -> None:
    config: dict[str, object] = {
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "0/tcp": {}, "x": {}, "9" * 400: {}}
    }
    found = exposed_ports(config, ("/web", "--now"))
    assert [(port.unit, port.port, port.protocol) for port in found] == [
        ("/web", 53, "udp"),
        ("/web", 80, "tcp"),
    ]
    assert exposed_ports({"ExposedPorts": ["80"]}, ()) == ()


def test_the_files_of_every_known_service_are_read() -> None:
    for known in KNOWN:
        for glob in known.files:
            assert is_read(glob.replace("*", "x").encode()), glob
