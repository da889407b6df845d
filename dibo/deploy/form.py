"""What machines post: forms, as docs/reference/deploy-protocol.md has them, read into values.

Whatever comes from the network is checked here. Nothing in a Form can be an option of a program or more than a line.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from dibo.deploy.machines import IQN

PORT: Final = 3260
LUN: Final = 1
_MOST_FIELDS: Final = 32
_LONGEST: Final = 1000
_STATES: Final = ("started", "writing", "done", "failed")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


class BadForm(Exception):
    """The text is the answer, and tells nothing about keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One of three things: an export (`iqn`), a report about a pull (`state`), or an error of an export (`error`)."""

    id: str
    key: str = field(repr=False)
    address: str
    iqn: str = ""
    port: int = PORT
    lun: int = LUN
    sector_size: int = 512
    """Of the disk on offer."""
    error: str = ""
    state: str = ""
    """Of a pull: one of started, writing, done, failed."""
    image: str = ""
    written: int | None = None
    total: int | None = None
    digest: str = ""


def parse_form(body: bytes) -> Form:
    """Raises BadForm."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="replace"
        )
    except ValueError:
        raise BadForm("this is no form") from None
    given: dict[str, str] = {}
    for name, value in pairs:
        given.setdefault(name, value)
    option_names = ["i", "k", "a"] if "s" in given or "e" in given else ["i", "k", "a", "n"]
    for name in option_names:
        if name not in given:
            raise BadForm(f"parameter '{name}' is not defined")
    state = given.get("s", "")
    if state and state not in _STATES:
        raise BadForm(f"parameter 's' must be one of {', '.join(_STATES)}")
    error = _line(given.get("e", ""))
    iqn = given.get("n", "")
    if not state and not error and IQN.fullmatch(iqn) is None:
        raise BadForm("parameter 'n' is no name of a target")
    digest = given.get("d", "")
    return Form(
        id=given["i"],
        key=given["k"],
        address=_address(given["a"]),
        iqn=iqn if IQN.fullmatch(iqn) else "",
        port=_number(given, "p", 1, 65535) or PORT,
        lun=LUN if (lun := _number(given, "l", 0, 16383)) is None else lun,
        sector_size=_number(given, "z", 512, 1 << 16) or 512,
        error=error,
        state=state,
        image=_line(given.get("m", "")),
        written=_number(given, "b", 0, 1 << 63),
        total=_number(given, "t", 0, 1 << 63),
        digest=digest if _DIGEST.fullmatch(digest) else "",
    )


def normal_address(text: str) -> str:
    """An address in its usual form; an IPv4 address in IPv6 clothes as the former. Raises ValueError."""
    address = ipaddress.ip_address(text)
    if (
        re.fullmatch(r"[0-9A-Za-z:.%_-]+", text) is None
    ):  # a zone, after the `%`, may be anything for ipaddress
        raise ValueError("the zone of the address is no name of an interface")
    return str(getattr(address, "ipv4_mapped", None) or address)


def parse_url(text: str) -> SplitResult | None:
    """The URL of a request, None where it is none."""
    try:
        return urlsplit(text)
    except ValueError:
        return None


def _address(text: str) -> str:
    try:
        return normal_address(text)
    except ValueError:
        raise BadForm("parameter 'a' is no address") from None


def _number(given: dict[str, str], name: str, least: int, most: int) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    if re.fullmatch("[0-9]{1,19}", text, re.ASCII) is None or not least <= int(text) <= most:
        raise BadForm(f"parameter '{name}' is no number from {least} to {most}")
    return int(text)


def _line(text: str) -> str:
    """For a terminal: one line of printable characters."""
    return "".join(c if c.isprintable() else " " for c in text[:_LONGEST]).strip()
