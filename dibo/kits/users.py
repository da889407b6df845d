"""Who the process of an image runs as: `User` of its configuration, by the image's own /etc/passwd and /etc/group.

The rules are those of container engines (github.com/moby/sys/user, GetExecUser): a name has to be in the files, a
number need not; without a group, it is that of the user's entry, together with all groups that name the user; an
explicit group is the only one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dibo.errors import ImageError
from dibo.tree.node import Node
from dibo.tree.query import find

USER_FILE: Final = "etc/passwd"
GROUP_FILE: Final = "etc/group"
_LARGEST: Final = 0xFFFFFFFE
"""(uid_t) -1 means no user (chown(2))."""
_NUMBER: Final = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """`groups` are the supplementary ones, sorted."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    uid: int
    gid: int
    home: str


def user_of(root: Node, text: str, *, name: str) -> User:
    """Whom `text` means, such as `app`, `1000:1000` or nothing; `name` is the image's, for messages. Raises
    ImageError."""
    user_name, colon, group_name = text.partition(":")
    user_name = user_name or "0"
    entry = _entry(_passwd(root), user_name)
    groups = tuple(_groups(root))
    if entry is None:
        entry = _Entry("", _number(user_name, "user", "/etc/passwd", name=name), 0, "/")
    if colon and group_name:
        gid = next((gid for group, gid, _ in groups if group == group_name), None)
        if gid is None:
            gid = _number(group_name, "group", "/etc/group", name=name)
        return User(uid=entry.uid, gid=gid, home=entry.home)
    members = {gid for _, gid, members in groups if entry.name and entry.name in members}
    return User(uid=entry.uid, gid=entry.gid, groups=tuple(sorted(members)), home=entry.home)


def _number(text: str, kind: str, file: str, *, name: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise ImageError(
            f"the image {name} runs as the {kind} {_short(text)}, which its {file} does not have",
            hint=f"add the {kind} in the image, or name it by its number: USER 1000:1000",
        )
    if int(text) > _LARGEST:
        raise ImageError(f"the image {name} runs as the {kind} {text}: {_LARGEST} is the largest")
    return int(text)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}…")


def _entry(entries: Sequence[_Entry], user_name: str) -> _Entry | None:
    for entry in entries:
        if entry.name == user_name:
            return entry
    if _NUMBER.fullmatch(user_name):
        for entry in entries:
            if entry.uid == int(user_name):
                return entry
    return None


def _passwd(root: Node) -> tuple[_Entry, ...]:
    entries = []
    for fields in _lines(root, USER_FILE, 7):
        uid, gid, home = fields[2], fields[3], fields[5]
        if _is_id(uid) and _is_id(gid):
            entries.append(_Entry(fields[0], int(uid), int(gid), home if home.startswith("/") else "/"))
    return tuple(entries)


def _groups(root: Node) -> Iterator[tuple[str, int, frozenset[str]]]:
    for fields in _lines(root, GROUP_FILE, 4):
        if _is_id(fields[2]):
            yield fields[0], int(fields[2]), frozenset(fields[3].split(","))


def _is_id(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and int(text) <= _LARGEST


def _lines(root: Node, path: str, count: int) -> Iterator[list[str]]:
    """The fields of each line that has at least `count`; others, such as those of NIS, are left out."""
    node = find(root, path)
    data = node.data if node is not None and node.data is not None else b""
    for line in data.decode(errors="surrogateescape").splitlines():
        fields = line.strip().split(":")
        if len(fields) >= count and fields[0] and not line.startswith("#"):
            yield fields
