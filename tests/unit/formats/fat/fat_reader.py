"""A reader of FAT file systems that shares nothing with the writer, and trusts nothing.

Every check is an assertion: two FATs alike, no cluster used twice, chains as long as their files, every long
name tied to its alias by the checksum, "." and ".." pointing where they should.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import BinaryIO


@dataclass
class Volume:
    bits: int
    label: str
    serial: int
    clusters: int
    files: dict[str, bytes] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    used: int = 0


class Reader:
    def __init__(self, source: BinaryIO, offset: int) -> None:
        self.source, self.offset = source, offset
        boot = self.read(0, 512)
        assert boot[510:] == b"\x55\xaa"
        size, self.per_cluster, reserved, fats, root_entries, total16 = struct.unpack_from(
            "<HBHBHH", boot, 11
        )
        (per_fat,) = struct.unpack_from("<H", boot, 22)
        (total,) = struct.unpack_from("<I", boot, 32)
        (per_fat32,) = struct.unpack_from("<I", boot, 36)
        assert (size, fats) == (512, 2)
        self.total = total16 or total
        per_fat = per_fat or per_fat32
        self.root_at = reserved + 2 * per_fat
        self.root_sectors = root_entries * 32 // 512
        self.data_at = self.root_at + self.root_sectors
        count = (self.total - self.data_at) // self.per_cluster
        bits = 12 if count < 4085 else 16 if count < 65525 else 32
        at = 66 if bits == 32 else 38
        assert boot[at] == 0x29
        (serial,) = struct.unpack_from("<I", boot, at + 1)
        assert boot[at + 16 : at + 24] == f"FAT{bits}   ".encode()
        assert per_fat * 512 * 8 >= (count + 2) * bits
        self.volume = Volume(
            bits=bits, label=boot[at + 5 : at + 16].decode().rstrip(), serial=serial, clusters=count
        )
        table = self.read(reserved, per_fat * 512)
        assert table == self.read(reserved + per_fat, per_fat * 512)
        self.links = self.decode(table)
        self.seen: set[int] = set()
        self.boot = boot

    def read(self, sector: int, size: int) -> bytes:
        self.source.seek(self.offset + sector * 512)
        data = self.source.read(size)
        assert len(data) == size
        return data

    def decode(self, table: bytes) -> list[int]:
        count = self.volume.clusters + 2
        if self.volume.bits == 12:
            pairs = (int.from_bytes(table[n * 3 // 2 :][:2], "little") for n in range(count))
            return [pair >> 4 if n % 2 else pair & 0xFFF for n, pair in enumerate(pairs)]
        letter, width = {16: ("H", 2), 32: ("I", 4)}[self.volume.bits]
        return [link & 0x0FFFFFFF for link in struct.unpack_from(f"<{count}{letter}", table[: count * width])]

    def chain(self, cluster: int) -> bytes:
        end = (1 << min(self.volume.bits, 28)) - 8
        parts = []
        while cluster < end:
            assert 2 <= cluster < self.volume.clusters + 2
            assert cluster not in self.seen
            self.seen.add(cluster)
            sector = self.data_at + (cluster - 2) * self.per_cluster
            parts.append(self.read(sector, self.per_cluster * 512))
            cluster = self.links[cluster]
        return b"".join(parts)

    def root(self) -> Volume:
        if self.volume.bits == 32:
            (first,) = struct.unpack_from("<I", self.boot, 44)
            data = self.chain(first)
        else:
            data = self.read(self.root_at, self.root_sectors * 512)
        self.directory(data, "", own=0, parent=0)
        self.volume.used = len(self.seen)
        self.check_free()
        return self.volume

    def check_free(self) -> None:
        used = [cluster for cluster, link in enumerate(self.links) if cluster >= 2 and link]
        assert set(used) == self.seen
        if self.volume.bits == 32:
            info = self.read(1, 512)
            assert (info[:4], info[484:488], info[510:]) == (b"RRaA", b"rrAa", b"\x55\xaa")
            assert struct.unpack_from("<I", info, 488)[0] == self.volume.clusters - len(used)
            assert self.read(6, 512) == self.boot

    def directory(self, data: bytes, path: str, *, own: int, parent: int) -> None:
        parts: list[tuple[int, int, bytes]] = []
        aliases = set()
        for at in range(0, len(data), 32):
            entry = data[at : at + 32]
            if entry[0] == 0:
                assert not any(data[at:])
                break
            if entry[11] == 0x0F:
                units = entry[1:11] + entry[14:26] + entry[28:32]
                parts.insert(0, (entry[0], entry[13], units))
                continue
            alias = entry[:11]
            assert alias not in aliases
            aliases.add(alias)
            self.entry(entry, self.name_of(alias, parts), path, own=own, parent=parent)
            parts = []
        assert not parts

    def name_of(self, alias: bytes, parts: list[tuple[int, int, bytes]]) -> str:
        stem, extension = alias[:8].decode().rstrip(), alias[8:].decode().rstrip()
        if not parts:
            return f"{stem}.{extension}" if extension else stem
        total = 0
        for byte in alias:
            total = (((total & 1) << 7) + (total >> 1) + byte) % 256
        assert [number for number, _, _ in parts[:-1]] == list(range(1, len(parts)))
        assert parts[-1][0] == 0x40 | len(parts)
        assert {check for _, check, _ in parts} == {total}
        name, _, padding = b"".join(units for _, _, units in parts).decode("utf-16-le").partition("\0")
        assert set(padding) <= {"\uffff"}
        return name

    def entry(self, entry: bytes, name: str, path: str, *, own: int, parent: int) -> None:
        attributes = entry[11]
        high, _, _, low, size = struct.unpack_from("<HHHHI", entry, 20)
        first = high << 16 | low
        full = f"{path}/{name}".lstrip("/")
        if attributes == 0x08:
            assert path == ""
            assert entry[:11].decode().rstrip() == self.volume.label
        elif name in (".", ".."):
            assert first == (own if name == "." else parent)
        elif attributes == 0x10:
            assert size == 0
            self.volume.directories.append(full)
            self.directory(self.chain(first), full, own=first, parent=own)
        else:
            assert attributes == 0x20
            data = self.chain(first) if first else b""
            assert len(data) // (self.per_cluster * 512) == -(-size // (self.per_cluster * 512))
            assert not any(data[size:])
            self.volume.files[full] = data[:size]
        self.volume.aliases[full] = self.name_of(entry[:11], [])


def read_fat(source: BinaryIO, offset: int = 0) -> Volume:
    return Reader(source, offset).root()
