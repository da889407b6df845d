"""The tree in a tar, and how two of them differ.

`Aspect` is what differs at a path: it is in one tree alone, or something of it is another. A `Reason` explains some
aspects of the paths that its pattern fits; what none explains is wrong, and so is a reason that explains nothing.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from dibo.images.layers import acl

_KINDS: Final = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.GNUTYPE_SPARSE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.FIFOTYPE: "FIFO",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
}
_XATTR: Final = "SCHILY.xattr."
_ACLS: Final = {
    "SCHILY.acl.access": "system.posix_acl_access",
    "SCHILY.acl.default": "system.posix_acl_default",
}
"""Archives have ACLs as text, or as the kernel keeps them."""
_READ: Final = 1 << 20


class Aspect(StrEnum):
    """What may differ at a path; the first two exclude the others."""

    THEIRS = "only in theirs"
    OURS = "only in ours"
    KIND = "kind"
    MODE = "mode"
    OWNER = "owner"
    TARGET = "target"
    XATTRS = "xattrs"
    LINKS = "links"
    CONTENT = "content"


@dataclass(frozen=True, slots=True, kw_only=True)
class TarEntry:
    """What a name in a tar leads to."""

    kind: str
    mode: int
    owner: tuple[str, str]
    """The names that the tree's own passwd and group have for its ids; else the ids."""
    target: str = ""
    xattrs: tuple[tuple[str, str], ...] = ()
    links: tuple[str, ...] = ()
    """All names of a file that has several, or none."""
    content: str = ""

    def value(self, aspect: Aspect) -> object:
        return oct(self.mode) if aspect is Aspect.MODE else getattr(self, aspect.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class TarDifference:
    path: str
    aspect: Aspect
    theirs: object = None
    ours: object = None

    def __str__(self) -> str:
        if self.aspect in (Aspect.THEIRS, Aspect.OURS):
            return f"{self.path}: {self.aspect}"
        return f"{self.path}: {self.aspect} is {self.theirs} in theirs, {self.ours} in ours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why two trees differ. `paths` is a regular expression for the whole of a path."""

    paths: str
    aspects: tuple[Aspect, ...]
    text: str

    def explains(self, difference: TarDifference) -> bool:
        return difference.aspect in self.aspects and re.fullmatch(self.paths, difference.path) is not None


def read_tar(path: Path) -> dict[str, TarEntry]:
    """The entries of a tar, by path without a slash in front; the root is empty."""
    entries: dict[str, TarEntry] = {}
    names: dict[str, list[str]] = {}
    users, groups = (_names_of(text_of(path, name)) for name in ("etc/passwd", "etc/group"))
    with tarfile.open(path) as archive:
        for member in archive:
            name = _name(member.name)
            owner = (users.get(member.uid, str(member.uid)), groups.get(member.gid, str(member.gid)))
            if member.islnk():
                names.setdefault(_name(member.linkname), [_name(member.linkname)]).append(name)
            else:
                entries[name] = _entry(archive, member, owner)
    for first, linked in names.items():
        entry = replace(entries[first], links=tuple(sorted(linked)))
        entries |= dict.fromkeys(linked, entry)
    return entries


def text_of(path: Path, name: str) -> str:
    """A file in a tar as text."""
    with tarfile.open(path) as archive:
        for member in archive:
            if _name(member.name) == name:
                content = archive.extractfile(member)
                assert content is not None, f"{name} is no file"
                return content.read().decode()
    raise AssertionError(f"{name} is not in {path.name}")


def differences(theirs: Mapping[str, TarEntry], ours: Mapping[str, TarEntry]) -> Iterator[TarDifference]:
    """How the trees differ, by path."""
    for path in sorted({*theirs, *ours}):
        if path not in ours:
            yield TarDifference(path=path, aspect=Aspect.THEIRS)
        elif path not in theirs:
            yield TarDifference(path=path, aspect=Aspect.OURS)
        else:
            for aspect in list(Aspect)[2:]:
                their_value, our_value = theirs[path].value(aspect), ours[path].value(aspect)
                if their_value != our_value:
                    yield TarDifference(path=path, aspect=aspect, theirs=their_value, ours=our_value)


def not_explained(found: Sequence[TarDifference], reasons: Sequence[Reason]) -> list[str]:
    """Differences that no reason explains, and reasons that explain none, a line each."""
    unused = [reason for reason in reasons if not any(map(reason.explains, found))]
    wrong = [str(one) for one in found if not any(reason.explains(one) for reason in reasons)]
    return [*wrong, *(f"explains nothing: {reason.paths} ({', '.join(reason.aspects)})" for reason in unused)]


def _name(name: str) -> str:
    path = posixpath.normpath(name)
    return "" if path == "." else path


def _names_of(text: str) -> dict[int, str]:
    """Names by id, of a passwd or a group."""
    fields = [line.split(":") for line in text.splitlines()]
    return {int(words[2]): words[0] for words in reversed(fields)}


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo, owner: tuple[str, str]) -> TarEntry:
    return TarEntry(
        kind=_KINDS[member.type],
        mode=member.mode & 0o7777,
        owner=owner,
        target=member.linkname if member.issym() else "",
        xattrs=tuple(sorted(_xattrs(member.pax_headers))),
        content=_digest(archive, member) if member.isfile() else "",
    )


def _xattrs(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in headers.items():
        if key in _ACLS:
            yield _ACLS[key], value
        elif key.startswith(_XATTR):
            name, data = key.removeprefix(_XATTR), value.encode(errors="surrogateescape")
            text = acl.to_text(data) if name in _ACLS.values() else None
            yield name, text.decode() if text is not None else repr(data)


def _digest(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    content = archive.extractfile(member)
    assert content is not None
    digest = hashlib.sha256()
    while data := content.read(_READ):
        digest.update(data)
    return digest.hexdigest()[:16]
