"""Reads a cpio archive of format newc, strictly, to compare what was written with what was meant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    name: str
    number: int
    mode: int
    uid: int = 0
    gid: int = 0
    links: int = 1
    mtime: int = 0
    device: tuple[int, int] = (0, 0)
    data: bytes = b""


def read_newc(archive: bytes) -> list[Member]:
    """The members of one archive. Raises AssertionError for what is not as the format says."""
    found: list[Member] = []
    place = 0
    while True:
        assert archive[place : place + 6] == b"070701", f"no header at byte {place}"
        fields = [int(archive[place + 6 + 8 * n : place + 14 + 8 * n], 16) for n in range(13)]
        number, mode, uid, gid, links, mtime, size, major, minor, rmajor, rminor, length, check = fields
        assert (major, minor, check) == (0, 0, 0)
        name = archive[place + 110 : place + 110 + length]
        assert name.endswith(b"\0") and b"\0" not in name[:-1]
        start = _aligned(place + 110 + length)
        assert not any(archive[place + 110 + length : start])
        place = _aligned(start + size)
        assert not any(archive[start + size : place])
        if name == b"TRAILER!!!\0":
            assert not any(archive[place:])
            return found
        found.append(
            Member(
                name=name[:-1].decode(errors="surrogateescape"),
                number=number,
                mode=mode,
                uid=uid,
                gid=gid,
                links=links,
                mtime=mtime,
                device=(rmajor, rminor),
                data=archive[start : start + size],
            )
        )


def _aligned(offset: int) -> int:
    return offset + -offset % 4
