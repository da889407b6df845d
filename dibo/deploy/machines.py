"""The machines that a boot server knows, as a user writes them:

    defaults:
      image: images/web.qcow2
    machines:
      7: {key: open-sesame, mac: 52:54:00:12:34:56}
      8: {key: xyzzy, image: oci://registry.example/images/db:1, method: pull}

Keys of `defaults` hold for every machine that does not say otherwise. An error names the file and the path of the
value: `machines.7.mac`. Keys of deployments never come into a message.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final, NoReturn

from dibo.errors import BootServerError

IQN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,222}")
"""RFC 7143, 4.2.7, of which only what a command line can hold."""
DEFAULT_IQN: Final = "iqn.2026-11.dibo:{}"
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
_MAC: Final = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_DISKS: Final = re.compile(r"[A-Za-z0-9/._!:=+-]+(?:,[A-Za-z0-9/._!:=+-]+)*")
_KEYS: Final = {
    "key": "what the machine proves itself with where no script of this server gave it a key of its own",
    "image": "a disk image; for method pull what `image=` of the ramdisk takes",
    "method": "iscsi or pull",
    "mac": "the network interface that the machine boots by",
    "address": "what the machine may say its address is, where that is not the one it is seen to have",
    "deployment": "a number; if it differs from that of the last deployment, the machine is deployed again",
    "persistent_state": "keep or wipe",
    "disk": "disks by name, serial=, wwn=, path=, id= or size=, divided by commas; the first one there is written to",
    "iqn": "the name of the iSCSI target",
    "cmdline": "more words for the kernel's command line",
    "portal": "HOST:PORT of the iSCSI target, where it is not the address of the machine",
    "word": "HOST:PORT where the machine waits for word, where it is not port 10000 of its address",
}
_PERSONAL: Final = ("key", "mac", "address", "iqn", "portal", "word")


class Method(Enum):
    """How an image gets to a disk: the server writes it, or the machine fetches it."""

    ISCSI = "iscsi"
    PULL = "pull"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePlace:
    """A TCP port of a host."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    id: str
    key: str = field(default="", repr=False)
    image: str
    """A path, absolute; with Method.PULL whatever the ramdisk takes."""
    method: Method = Method.ISCSI
    mac: str = ""
    """In lower case, with colons; or empty."""
    addresses: tuple[str, ...] = ()
    deployment: int = 1
    wipe: bool = False
    disk: str = ""
    iqn: str = ""
    """Empty if not given."""
    cmdline: str = ""
    portal: MachinePlace | None = None
    word: MachinePlace | None = None


def parse_machines(data: object, *, origin: str, directory: Path) -> dict[str, Machine]:
    """Machines by id, of the YAML value of a file of the name `origin`, whose scalars are texts. Paths of images are
    relative to `directory`. Raises BootServerError.
    """
    top = _Where(origin, "").mapping(data, known=("machines", "defaults"))
    defaults = _Where(origin, "defaults")
    common = defaults.mapping(top.get("defaults", {}), known=_KEYS)
    for key in _PERSONAL:
        if key in common:
            defaults.at(key).fail("each machine has its own")
    listed = top.get("machines")
    if not isinstance(listed, dict) or not listed:
        _Where(origin, "machines").fail(
            "expected a mapping from ids to machines", hint="see docs/reference/boot-server.md"
        )
    machines: dict[str, Machine] = {}
    for given, value in listed.items():
        field = _Where(origin, f"machines.{given}")
        identity = str(given)
        if _ID.fullmatch(identity) is None:
            field.fail("expected an id of letters, digits and . _ : @ -")
        own = field.mapping(value, known=_KEYS)
        machines[identity] = _machine(identity, {**common, **own}, field, directory)
    _check_together(machines.values(), origin)
    return machines


class _Where:
    """A place in the user's file, and how to complain about it."""

    def __init__(self, origin: str, path: str) -> None:
        self.origin, self.path = origin, path

    def at(self, key: str) -> _Where:
        return _Where(self.origin, f"{self.path}.{key}" if self.path else key)

    def fail(self, message: str, *, hint: str = "") -> NoReturn:
        position = f"{self.origin}: {self.path}" if self.path else self.origin
        raise BootServerError(f"{position}: {message}", hint=hint)

    def mapping(self, value: object, *, known: Mapping[str, str] | tuple[str, ...]) -> Mapping[str, object]:
        if not isinstance(value, dict):
            self.fail(f"expected a mapping with the keys {', '.join(known)}")
        for key in value:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
                self.at(str(key)).fail("no such key", hint=hint)
        return value

    def text(self, value: object, pattern: re.Pattern[str], expected: str) -> str:
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            self.fail(f"expected {expected}")
        return value


# These stand on the kernel's command line, and before that in a script of iPXE, to which " ' \\ $ # have a meaning.
_WORD: Final = re.compile(r"[!%-&(-\[\]-~]{1,1000}")
_WORDS: Final = re.compile(r"(?:[!%-&(-\[\]-~]+(?: +|$)){0,200}")
_PLAIN: Final = "of printable ASCII without blanks and \" ' \\ $ #"


def _machine(identity: str, given: Mapping[str, object], field: _Where, directory: Path) -> Machine:
    if "image" not in given:
        field.fail("image is missing", hint=_KEYS["image"])
    method = field.at("method").text(given.get("method", "iscsi"), re.compile("iscsi|pull"), "iscsi or pull")
    state = field.at("persistent_state").text(
        given.get("persistent_state", "keep"), re.compile("keep|wipe"), "keep or wipe"
    )
    deployment = field.at("deployment").text(
        given.get("deployment", "1"), re.compile("[1-9][0-9]{0,8}"), "a number from 1 on"
    )
    image = field.at("image")
    if method == "pull":
        source = image.text(given["image"], _WORD, f"a URL or a reference, as `image=` takes it, {_PLAIN}")
    else:
        source = str(
            directory / image.text(given["image"], re.compile(r"[^\0\n]+"), "the path of a disk image")
        )
    mac = str(given.get("mac", "")).lower().replace("-", ":")
    return Machine(
        id=identity,
        key=field.at("key").text(given["key"], _WORD, f"a text {_PLAIN}") if "key" in given else "",
        image=source,
        method=Method(method),
        mac=field.at("mac").text(mac, _MAC, "a MAC address such as 52:54:00:12:34:56")
        if "mac" in given
        else "",
        addresses=_addresses(given.get("address", []), field.at("address")),
        deployment=int(deployment),
        wipe=state == "wipe",
        disk=field.at("disk").text(given["disk"], _DISKS, "sda,vda and the like") if "disk" in given else "",
        iqn=field.at("iqn").text(given["iqn"], IQN, "the name of an iSCSI target") if "iqn" in given else "",
        cmdline=field.at("cmdline").text(
            given.get("cmdline", ""), _WORDS, "words of printable ASCII without \" ' \\ $ #"
        ),
        portal=_place(given["portal"], field.at("portal")) if "portal" in given else None,
        word=_place(given["word"], field.at("word")) if "word" in given else None,
    )


def _addresses(value: object, field: _Where) -> tuple[str, ...]:
    addresses = []
    for item in value if isinstance(value, list) else [value]:
        try:
            addresses.append(str(ipaddress.ip_address(item if isinstance(item, str) else "")))
        except ValueError:
            field.fail("expected an address, or a list of addresses")
    return tuple(addresses)


def _place(value: object, field: _Where) -> MachinePlace:
    match = re.fullmatch(
        r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})", value if isinstance(value, str) else ""
    )
    if match is None or not 0 < int(match[3]) < 1 << 16:
        field.fail("expected HOST:PORT, with [ ] around an IPv6 address")
    return MachinePlace(host=match[1] or match[2], port=int(match[3]))


def _check_together(machines: Iterable[Machine], origin: str) -> None:
    owners: dict[str, str] = {}
    for machine in machines:
        if machine.mac and (owner := owners.setdefault(machine.mac, machine.id)) != machine.id:
            _Where(origin, f"machines.{machine.id}.mac").fail(f"machine {owner} has the same")
