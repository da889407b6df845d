"""The reader of FATs, on file systems that dibo writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.errors import DiskImageError
from dibo.formats.fat.reader import Fat, is_fat
from dibo.formats.filesystem import find, names_in
from dibo.units import MIB
from tests.support.disks.boot_disks import Bytes, read, survives
from tests.unit.formats.fat.test_build import FILES, write

SIZES = [MIB, 5 * MIB, 33 * MIB, 64 * MIB]


@pytest.mark.parametrize("size", SIZES)
def test_every_kind_of_fat(tmp_path: Path, size: int) -> None:
    data = write(tmp_path / "fat", FILES, size=size).read_bytes()
    assert is_fat(data[:512])
    system = Fat(Bytes(data))
    assert (system.label, system.uuid) == ("UEFI", "1A2B-3C4D")
    for path, value in FILES.items():
        assert read(system, path) == value
    assert read(system, "/efi/boot/bootx64.efi") == FILES["EFI/BOOT/BOOTX64.EFI"]
    assert names_in(system, "/EFI/ubuntu") == tuple(
        sorted(path.rpartition("/")[2].encode() for path in FILES if path.startswith("EFI/ubuntu/"))
    )
    assert find(system, "/EFI/nothing") is None


def test_what_is_none() -> None:
    for data in (b"", bytes(512), b"\xeb\x3c\x90".ljust(510, b"\0") + b"\x55\xaa"):
        assert not is_fat(data)
        with pytest.raises(DiskImageError):
            Fat(Bytes(data))


def test_a_chain_that_is_too_short_or_goes_in_circles(tmp_path: Path) -> None:
    data = bytearray(write(tmp_path / "fat", {"file": b"x" * 50_000}, size=33 * MIB).read_bytes())
    table = int.from_bytes(data[14:16], "little") * 512
    for value, words in ((0x0FFFFFFF, "clusters for"), (3, None)):
        data[table + 12 : table + 16] = value.to_bytes(4, "little")
        system = Fat(Bytes(data))
        if words is None:
            assert len(read(system, "file")) == 50_000  # as long as it says, whatever is in it
        else:
            with pytest.raises(DiskImageError, match=words):
                read(system, "file")


@pytest.mark.parametrize("size", [MIB, 5 * MIB, 33 * MIB])
def test_whatever_is_broken_is_an_error_or_none(tmp_path: Path, size: int) -> None:
    data = write(tmp_path / "fat", FILES, size=size).read_bytes()
    root = data.index(b"EFI        ")
    table = int.from_bytes(data[14:16], "little") * 512

    def use(broken: bytearray) -> None:
        system = Fat(Bytes(broken))
        for path in ("/EFI/BOOT/BOOTX64.EFI", "/EFI/ubuntu/grub.cfg"):
            entry = find(system, path)
            if entry is not None and entry.size < 1 << 22:
                read(system, path)
        names_in(system, "/")

    places = [range(11, 48), range(table, table + 64), range(root, root + 512)]
    assert survives(data, use, times=10 if size > 5 * MIB else 200, near=places) > 0
