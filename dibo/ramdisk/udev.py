"""udev rules in a ramdisk, and the programs that they name (udev(7))."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from dibo.errors import RamdiskError
from dibo.flavours.ramdisk_requests import Wishes, Word
from dibo.ramdisk.programs import Programs
from dibo.ramdisk.selection import Harvest, resolve

DIRECTORY: Final = "/usr/lib/udev/rules.d"
_OWN: Final = ("/usr/lib/udev/rules.d", "/lib/udev/rules.d", "/etc/udev/rules.d")
_HELPERS: Final = ("/usr/lib/udev", "/lib/udev")
_PROGRAM: Final = re.compile(r'(?:PROGRAM|IMPORT\{program\}|RUN(?:\{program\})?)\s*[!+:=]?=?\s*"([^"]*)"')


def take_rules(names: Iterable[str], programs: Programs, harvest: Harvest, word: Word) -> None:
    """Pick the root's own rules, as far as they are there, with their programs."""
    for name in names:
        for directory in _OWN:
            found = harvest.take(f"{directory}/{name}")
            if found is not None:
                _programs(harvest.read(found.node), programs, harvest, word)
                break


def put_rules(wishes: Sequence[Wishes], programs: Programs, harvest: Harvest) -> None:
    """Put in the rules of flavours. Raises RamdiskError where two are different and have one name."""
    seen: dict[str, tuple[str, bytes]] = {}
    for each in wishes:
        for name, data in each.rules:
            other, same = seen.setdefault(name, (each.flavour, data))
            if same != data:
                raise RamdiskError(
                    f"the flavours {other!r} and {each.flavour!r} both have udev/{name}, and not the same",
                    hint="give one of them another name",
                )
            harvest.put(f"{DIRECTORY}/{name}", data)
            _programs(
                data, programs, harvest, Word(text=name, flavour=each.flavour, file=f"udev/{name}", line=1)
            )


def _programs(rules: bytes, programs: Programs, harvest: Harvest, word: Word) -> None:
    """Programs that are not there are left out: most rules are for devices that a machine does not have."""
    for line in rules.decode(errors="replace").replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("#"):
            continue
        for command in _PROGRAM.findall(line):
            name = command.split()[0] if command.split() else ""
            paths = [name] if name.startswith("/") else [f"{each}/{name}" for each in _HELPERS]
            path = next((each for each in paths if name and resolve(harvest.root, each)), None)
            if path is not None:
                programs.take_path(path, word)
