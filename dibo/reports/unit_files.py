"""What the files of units say beside what an inventory has of them: what they start, on what they listen, and when.

Drop-ins count, `NAME.d/*.conf` in the directories of units, sorted by their names (systemd.unit(5)). Nothing is run:
generators, and what a machine writes to /run, are not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from dibo.contents.inventory import FileRecord, Unit

ReadText = Callable[[bytes], str]
"""The text of a file by its path, links followed; empty where there is none in memory."""
DIRECTORIES: Final = (b"usr/lib/systemd/system/", b"lib/systemd/system/", b"etc/systemd/system/")
_WANTS: Final = ("Wants", "Requires", "BindsTo", "Upholds")
_LISTENS: Final = {"ListenStream": "tcp", "ListenDatagram": "udp", "ListenSequentialPacket": "sctp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFile:
    """`starts`: units that it pulls in. `listen`: (protocol, address) of sockets. `commands`: what it runs.
    `first_boot`: it runs at the first boot alone."""

    starts: tuple[str, ...] = ()
    listen: tuple[tuple[str, str], ...] = ()
    service: str = ""
    """Of sockets, timers and paths: what they start."""
    commands: tuple[str, ...] = ()
    first_boot: bool = False


def unit_files(
    units: Iterable[Unit], files: Mapping[bytes, FileRecord], read_text: ReadText
) -> dict[str, UnitFile]:
    """By the names of the units."""
    drop_ins = _drop_ins(files)
    contents = {}
    for unit in units:
        paths = (unit.path, *drop_ins.get(unit.name, ()))
        contents[unit.name] = _unit_file(unit.name, "\n".join(map(read_text, paths)))
    return contents


def _drop_ins(files: Mapping[bytes, FileRecord]) -> dict[str, list[bytes]]:
    """Paths by the name of the unit, in the order in which they count; one of /etc hides another of its name."""
    named: dict[str, dict[bytes, bytes]] = {}
    for directory in DIRECTORIES:
        for path in files:
            if not path.startswith(directory) or not path.endswith(b".conf"):
                continue
            unit, slash, name = path[len(directory) :].partition(b".d/")
            if slash and b"/" not in unit and b"/" not in name:
                named.setdefault(unit.decode(errors="replace"), {})[name] = path
    return {unit: [paths[name] for name in sorted(paths)] for unit, paths in named.items()}


def _unit_file(name: str, text: str) -> UnitFile:
    values: dict[str, list[str]] = {}
    listen: list[tuple[str, str]] = []
    for key, value in assignments(text):
        if key in _LISTENS:
            listen = [*listen, (_LISTENS[key], value)] if value else []
        elif value:
            values.setdefault(key, []).append(value)
        else:
            values.pop(key, None)
    service = next(iter(values.get("Service", values.get("Unit", ()))), "")
    if not service and name.endswith((".socket", ".timer", ".path")):
        accepts = values.get("Accept", [""])[-1].lower() in ("yes", "true", "on", "1")
        service = f"{name.rpartition('.')[0]}{'@' if accepts else ''}.service"
    return UnitFile(
        starts=tuple(word for key in _WANTS for value in values.get(key, ()) for word in value.split()),
        listen=tuple(listen),
        service=service,
        commands=tuple(values.get("ExecStart", ())),
        first_boot=values.get("ConditionFirstBoot", [""])[-1].lower() in ("yes", "true", "on", "1"),
    )


def assignments(text: str) -> Iterable[tuple[str, str]]:
    """Keys and values of the lines `Key=Value`, in their order (systemd.syntax(7))."""
    for line in text.replace("\\\n", " ").splitlines():
        key, sign, value = line.strip().partition("=")
        if sign and key[:1] not in ("#", ";", ""):
            yield key.strip(), value.strip()
