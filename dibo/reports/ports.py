"""What units listen on, by what their files say: sockets, commands, and configuration of well-known services.

Each port is that of a unit, with what says so; nothing is run, so a service that listens by itself on a port that no
file names is not seen, and one that is listed may not start. Sockets in the file system are no ports.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from dibo.contents.inventory import FileRecord
from dibo.reports.known_services import KNOWN, KnownService
from dibo.reports.model import ListeningPort
from dibo.reports.unit_files import ReadText, UnitFile

_NAMES: Final = {
    "smtp": 25, "smtps": 465, "submission": 587, "submissions": 465, "http": 80, "https": 443, "ldap": 389,
    "ldaps": 636, "ssh": 22, "domain": 53,
}  # fmt: skip
"""Of /etc/services, those that configuration uses in place of numbers."""
_OPTION: Final = re.compile(
    r"(?:^|\s)--?(?:(?:http|https|listen|server|web|bind|metrics)[-.])*(?:port|listen|listen-address|address|addr|bind)"
    r"[=\s]+[\"']?(\S*\d+)[\"']?(?=\s|$)"
)
_HTTP_SERVER: Final = re.compile(r"-m\s+http\.server\s+(?:--bind\s+\S+\s+)?(\d+)")
_ADDRESS: Final = re.compile(r"(?:(?P<address>\[[^\]]*\]|[^\s:\[\]/]*):)?(?P<port>\d{1,5}|[a-z]+)")
_COMMENT: Final = re.compile(r"(?:^|\s)[#;].*")
_CONDITION: Final = re.compile(r"\s*<(/?)(IfModule|IfDefine)\s*([^>]*)>", re.IGNORECASE)
_EVERYWHERE: Final = ("", "*", "0.0.0.0", "[::]", "::", "_default_", "any", "all")
_MOST_LINES: Final = 20_000


def listening_ports(
    unit_files: Mapping[str, UnitFile],
    starts: Iterable[str],
    files: Mapping[bytes, FileRecord],
    read_text: ReadText,
) -> tuple[ListeningPort, ...]:
    """Of all units: those that start first, then by port. `starts` are the names of units that start at boot, or on
    demand."""
    started = set(starts)
    by_socket = {file.service for file in unit_files.values() if file.listen}
    ports: list[ListeningPort] = []
    for name, unit in unit_files.items():
        ports += _of_socket(name, unit, starts=name in started)
        ports += _of_command(name, unit, starts=name in started)
    configuration = {path: None for path in files if path.startswith((b"etc/", b"var/lib/pgsql/"))}
    for service in KNOWN:
        for name in service.units:
            unit_name = f"{name}.service"
            socket_starts = unit_name in by_socket and f"{name}.socket" in started
            if unit_name in unit_files and not socket_starts:
                known = _of_configuration(service, tuple(configuration), read_text)
                ports += [_port(unit_name, parts, starts=unit_name in started) for parts in known]
    return _sorted(ports)


def exposed_ports(config: Mapping[str, Any], command: Sequence[str]) -> tuple[ListeningPort, ...]:
    """What the config of a container image says (OCI image specification, config.md: ExposedPorts)."""
    exposed = config.get("ExposedPorts")
    ports = []
    for text in exposed if isinstance(exposed, dict) else ():
        number, _, protocol = str(text).partition("/")
        if number.isascii() and number.isdecimal() and 0 < int(number) < 65536:
            parts = ("", int(number), protocol or "tcp", "the config of the image", "")
            ports.append(_port(command[0] if command else "container", parts, starts=True))
    return _sorted(ports)


def parse_address(text: str) -> tuple[str, int] | None:
    """The address, empty for all, and the port, in what configuration has: `80`, `*:80`, `[::]:80`, `localhost:631`.
    None for what is none, such as the path of a socket."""
    match = _ADDRESS.fullmatch(text.strip().strip("\"',;").lower())
    if match is None:
        return None
    number = match["port"]
    port = int(number) if number.isdecimal() else _NAMES.get(number, 0)
    address = match["address"] or ""
    return ("" if address in _EVERYWHERE else address, port) if 0 < port < 65536 else None


_Parts = tuple[str, int, str, str, str]
"""Address, port, protocol, what says so, condition."""


def _port(unit: str, parts: _Parts, *, starts: bool) -> ListeningPort:
    address, port, protocol, said_by, condition = parts
    return ListeningPort(
        unit=unit,
        address=address,
        port=port,
        protocol=protocol,
        said_by=said_by,
        starts=starts,
        condition=condition,
    )


def _sorted(ports: Iterable[ListeningPort]) -> tuple[ListeningPort, ...]:
    """Each once: IPv4 and IPv6 of one port, on all addresses, are one."""
    return tuple(
        sorted(
            dict.fromkeys(ports),
            key=lambda port: (
                not port.starts,
                port.port,
                port.protocol,
                port.unit,
                port.address,
                port.said_by,
            ),
        )
    )


def _of_socket(name: str, unit: UnitFile, *, starts: bool) -> Iterator[ListeningPort]:
    for protocol, text in unit.listen:
        parsed = parse_address(text)
        if parsed is not None:
            yield _port(name, (*parsed, protocol, "the socket unit", ""), starts=starts)


def _of_command(name: str, unit: UnitFile, *, starts: bool) -> Iterator[ListeningPort]:
    for command in unit.commands:
        for pattern in (_OPTION, _HTTP_SERVER):
            for match in pattern.finditer(command[:4096]):
                parsed = parse_address(match[1])
                if parsed is not None:
                    yield _port(name, (*parsed, "tcp", "the unit's command", ""), starts=starts)


def _of_configuration(
    service: KnownService, candidates: Sequence[bytes], read_text: ReadText
) -> Iterator[_Parts]:
    """What its files say; its default, where they name no port."""
    ports: list[tuple[str, int, str, str]] = []
    addresses: list[str] = []
    for path in _matching(service.files, candidates):
        for line, condition in _lines(read_text(path)):
            if service.off is not None and service.off.match(line):
                return
            if service.bind is not None and (match := service.bind.match(line)):
                addresses += re.split(r"[\s,]+", match[1].strip())
            if service.port is not None and (match := service.port.match(line)):
                parsed = parse_address(match[1])
                if parsed is not None:
                    ports.append((*parsed, "/" + path.decode(errors="backslashreplace"), condition))
    if not ports:
        ports = [("", port, "its default", "") for port in service.default]
        addresses = addresses or ([service.address] if service.address else [])
    for own_address, port, said_by, condition in ports:
        for bound in [own_address] if own_address or not addresses else addresses:
            address, number = _bound(bound, port)
            for protocol in service.protocol.split("+"):
                yield address, number, protocol, said_by, condition


def _bound(text: str, port: int) -> tuple[str, int]:
    """An address of a line of its own, which may have a port."""
    plain = text.strip("\"'").lower().lstrip("-")
    if plain.count(":") != 1 and not plain.startswith("["):
        return ("" if plain in _EVERYWHERE else plain), port
    return parse_address(plain) or ("" if plain in _EVERYWHERE else plain, port)


def _matching(globs: Sequence[str], candidates: Sequence[bytes]) -> list[bytes]:
    """Paths by the globs in their order."""
    paths: dict[bytes, None] = {}
    for glob in globs:
        pattern = re.compile(fnmatch.translate(glob).encode())
        paths |= dict.fromkeys(path for path in candidates if pattern.match(path))
    return list(paths)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Lines without comments, each with the conditions of Apache that it stands under."""
    conditions: list[str] = []
    for line in text.splitlines()[:_MOST_LINES]:
        match = _CONDITION.match(line)
        if match is not None:
            if match[1]:
                del conditions[-1:]
            else:
                conditions.append(f"if {match[3].strip()} is there")
        elif plain := _COMMENT.sub("", line):
            yield plain, ", ".join(conditions)
