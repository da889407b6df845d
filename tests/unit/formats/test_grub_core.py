"""GRUB's core image, beside the one that grub-mkimage makes of the same files."""

from __future__ import annotations

import lzma
import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from dibo.errors import LayoutError
from dibo.formats import grub_core, grub_images
from dibo.units import SECTOR
from tests.support.requirements import need, unmet

PACKAGE = Path("/usr/lib/grub/i386-pc")
MODULES = ["biosdisk", "part_gpt", "part_msdos", "ext2", "search", "normal", "configfile", "linux", "serial"]
CONFIG = b"set x=1\n"


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    need("grub-mkimage")
    if not (PACKAGE / "kernel.img").is_file():
        unmet(f"no {PACKAGE}: install grub-pc-bin")
    return {path.name: path.read_bytes() for path in PACKAGE.iterdir()}


def unpacked(core: bytes, decompressor: bytes) -> bytes:
    """The payload of a core image."""
    compressed, size = struct.unpack_from("<II", core, SECTOR + 8)
    start = SECTOR + len(decompressor)
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 3, "lp": 0, "pb": 2}]
    reader = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    return reader.decompress(core[start : start + compressed], size)


def parts(payload: bytes, kernel: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    """The header of the objects, and the objects."""
    assert payload.startswith(kernel)
    rest = payload[len(kernel) :]
    objects, at = [], 12
    while at < len(rest):
        kind, size = struct.unpack_from("<II", rest, at)
        objects.append((kind, rest[at + 8 : at + size]))
        at += size
    return rest[:12], objects


def require_same_payload(files: Mapping[str, bytes], mkimage: Sequence[str], scratch: Path) -> None:
    """Compare the core image of GRUB's `files` with the one that the command `mkimage` makes of them."""
    config, target = scratch / "early.cfg", scratch / "core.img"
    config.write_bytes(CONFIG)
    argv = [*mkimage, "-O", "i386-pc", "-p", "/boot/grub", "-c", str(config), "-o", str(target), *MODULES]
    subprocess.run(argv, check=True)
    decompressor, kernel = files[grub_core.DECOMPRESSOR], grub_core.loaded(files[grub_core.KERNEL])
    theirs = parts(unpacked(target.read_bytes(), decompressor), kernel)
    core = grub_core.core_image(files, modules=MODULES, prefix="/boot/grub", config=CONFIG)
    ours = parts(unpacked(core, decompressor), kernel)
    assert ours[0] == theirs[0]
    # grub-mkimage's order of modules is another one that works as well
    assert sorted(ours[1]) == sorted(theirs[1])
    assert [kind for kind, _ in ours[1]] == [kind for kind, _ in theirs[1]]
    assert core[: SECTOR - 4] == files[grub_core.DISK_BOOT][: SECTOR - 4] == target.read_bytes()[: SECTOR - 4]
    assert grub_images.core_image(core, lba=2048, available_sectors=2048).startswith(core[: SECTOR - 16])
    assert len(core) < 1.05 * target.stat().st_size


def test_the_payload_is_the_one_of_grub_mkimage(files: dict[str, bytes], tmp_path: Path) -> None:
    require_same_payload(files, ["grub-mkimage"], tmp_path)


def test_a_module_comes_after_what_it_depends_on() -> None:
    listed = b"a: b c\nb: c\nc:\nd: a\n"
    assert grub_core.in_order(["d", "c"], listed) == ["c", "b", "a", "d"]


@pytest.mark.parametrize(
    ("modules", "listed", "message"),
    [(["x"], b"a:\n", "'x'"), (["a"], b"a: b\nb: a\n", "'a'"), (["a"], b"a: gone\n", "'gone'")],
    ids=["unknown", "circle", "dependency-unknown"],
)
def test_a_list_of_dependencies_that_is_not_whole(modules: list[str], listed: bytes, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        grub_core.in_order(modules, listed)


@pytest.mark.parametrize(
    "name", [grub_core.KERNEL, grub_core.DISK_BOOT, grub_core.DECOMPRESSOR, "normal.mod"]
)
def test_a_missing_file_is_named(files: dict[str, bytes], name: str) -> None:
    fewer = {other: data for other, data in files.items() if other != name}
    with pytest.raises(LayoutError, match=name):
        grub_core.core_image(fewer, modules=MODULES, prefix="/boot/grub")


def test_a_kernel_that_is_damaged_is_refused(files: dict[str, bytes]) -> None:
    kernel = files[grub_core.KERNEL]
    far = bytearray(kernel)
    table, _, _, _, _, width = struct.unpack_from("<IIHHHH", kernel, 32)
    for index in range(1, 6):  # addresses of sections, all over four gigabytes
        struct.pack_into("<I", far, table + index * width + 12, index * 0x3000_0000)
    for damaged in (b"", kernel[:40], b"\x7fELF\x02\x01" + kernel[6:], kernel[:-1000], bytes(far)):
        with pytest.raises(LayoutError, match=r"kernel\.img"):
            grub_core.loaded(damaged)
