"""udev rules in a ramdisk, and the programs that they name (udev(7))."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from dibo.errors import RamdiskError
from dibo.flavours.ramdisk_requests import RamdiskRequests, RequestedName
from dibo.ramdisk.programs import ProgramSelector
from dibo.ramdisk.selection import Selection, resolve

DIRECTORY: Final = "/usr/lib/udev/rules.d"
_OWN: Final = ("/usr/lib/udev/rules.d", "/lib/udev/rules.d", "/etc/udev/rules.d")
_HELPERS: Final = ("/usr/lib/udev", "/lib/udev")
_PROGRAM: Final = re.compile(r'(?:PROGRAM|IMPORT\{program\}|RUN(?:\{program\})?)\s*[!+:=]?=?\s*"([^"]*)"')


def take_rules(
    names: Iterable[str], programs: ProgramSelector, selection: Selection, word: RequestedName
) -> None:
    """Pick the root's own rules, as far as they are there, with their programs."""
    for name in names:
        for directory in _OWN:
            resolved = selection.take(f"{directory}/{name}")
            if resolved is not None:
                _programs(selection.read(resolved.node), programs, selection, word)
                break


def put_rules(requests: Sequence[RamdiskRequests], programs: ProgramSelector, selection: Selection) -> None:
    """Put in the rules of flavours. Raises RamdiskError where two are different and have one name."""
    seen: dict[str, tuple[str, bytes]] = {}
    for request in requests:
        for name, data in request.rules:
            first_flavour, first_data = seen.setdefault(name, (request.flavour, data))
            if first_data != data:
                raise RamdiskError(
                    f"the flavours {first_flavour!r} and {request.flavour!r} both have udev/{name},"
                    " with different content",
                    hint="rename one of the two files",
                )
            selection.put(f"{DIRECTORY}/{name}", data)
            _programs(
                data,
                programs,
                selection,
                RequestedName(text=name, flavour=request.flavour, file=f"udev/{name}", line=1),
            )


def _programs(rules: bytes, programs: ProgramSelector, selection: Selection, word: RequestedName) -> None:
    """Programs that are not there are left out: most rules are for devices that a machine does not have."""
    for line in rules.decode(errors="replace").replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("#"):
            continue
        for command in _PROGRAM.findall(line):
            name = command.split()[0] if command.split() else ""
            paths = [name] if name.startswith("/") else [f"{directory}/{name}" for directory in _HELPERS]
            path = next((path for path in paths if name and resolve(selection.root, path)), None)
            if path is not None:
                programs.take_path(path, word)
