"""Users and groups of a tree: passwd(5), group(5), shadow(5). Hashes of passwords are looked at, and not kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dibo.contents.inventory import GroupRecord, UserRecord
from dibo.tree.node import Node
from dibo.tree.query import find

_ID: Final = 10
"""Digits of the largest id."""


def users(root: Node) -> tuple[UserRecord, ...]:
    """In the order of their ids."""
    passwords = {fields[0]: fields[1] for fields in _lines(root, "/etc/shadow", 2)}
    listed = [
        UserRecord(
            name=name,
            uid=_number(uid),
            gid=_number(gid),
            comment=comment,
            home=home,
            shell=shell,
            password=_state(passwords.get(name) if password == "x" else password),  # noqa: S105 (shadow)
        )
        for name, password, uid, gid, comment, home, shell in _lines(root, "/etc/passwd", 7)
        if _number(uid) >= 0
    ]
    return tuple(sorted(listed, key=lambda user: (user.uid, user.name)))


def groups(root: Node) -> tuple[GroupRecord, ...]:
    """In the order of their ids."""
    listed = [
        GroupRecord(name=name, gid=_number(gid), members=tuple(sorted(filter(None, members.split(",")))))
        for name, _, gid, members in _lines(root, "/etc/group", 4)
        if _number(gid) >= 0
    ]
    return tuple(sorted(listed, key=lambda group: (group.gid, group.name)))


def _lines(root: Node, path: str, fields: int) -> Iterator[list[str]]:
    """Lines with so many fields at least, cut to them."""
    node = find(root, path)
    data = node.data if node is not None and node.data is not None else b""
    for line in data.decode(errors="surrogateescape").splitlines():
        parts = line.split(":")
        if len(parts) >= fields and parts[0] and not line.startswith("#"):
            yield parts[:fields]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _ID else -1


def _state(password: str | None) -> str:
    if password is None:
        return "unknown"
    if not password:
        return "empty"
    return "none" if password.startswith(("!", "*")) else "set"
