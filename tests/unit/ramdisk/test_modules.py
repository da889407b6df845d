"""Kernel modules: which are meant, what they bring along, and what lies in the ramdisk afterwards."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable

import pytest
import zstandard

from dibo.errors import RamdiskError
from dibo.flavours.ramdisk_requests import RequestedName
from dibo.ramdisk import modules as ramdisk_modules
from dibo.ramdisk.modules import ModuleTree, SelectedModules, decompress, take_modules
from dibo.ramdisk.selection import Selection
from dibo.tree.node import Node
from tests.support.elf_files import module
from tests.support.node_trees import Content, listing, read, tree
from tests.support.readers.kmod_index import read_index

PLACE = "usr/lib/modules/6.1"
CARD = module(firmware=["card/a.bin", "card/gone.bin", "card/v?.bin"], alias=["pci:v1d*"])
ENTRIES: dict[str, Content | Node] = {
    "lib": "usr/lib",
    f"{PLACE}/modules.dep": b"kernel/drivers/net/card/card.ko.xz: kernel/lib/sum-lib.ko\n"
    b"kernel/lib/sum-lib.ko:\nkernel/drivers/net/other.ko:\nkernel/fs/soft.ko:\nupdates/dkms/extra.ko.zst:\n",
    f"{PLACE}/modules.alias": b"alias pci:v1d* card\nalias pci:v2d[0-9]* other\nalias fs-soft soft\n",
    f"{PLACE}/modules.softdep": b"softdep sum-lib pre: soft post: gone\n",
    f"{PLACE}/modules.builtin": b"kernel/drivers/virtio/virtio_pci.ko\n",
    f"{PLACE}/modules.builtin.bin": b"builtin",
    f"{PLACE}/kernel/drivers/net/card/card.ko.xz": lzma.compress(CARD),
    f"{PLACE}/kernel/lib/sum-lib.ko": module(name=["sum_lib"]),
    f"{PLACE}/kernel/drivers/net/other.ko": module(),
    f"{PLACE}/kernel/fs/soft.ko": module(),
    f"{PLACE}/updates/dkms/extra.ko.zst": zstandard.compress(module()),
    "usr/lib/firmware/card/a.bin": "../b.bin",
    "usr/lib/firmware/b.bin": b"b",
    "usr/lib/firmware/card/v1.bin.xz": b"v1",
    "usr/lib/firmware/unused.bin": b"",
}


def word(text: str) -> RequestedName:
    return RequestedName(text=text, flavour="web", file="modules", line=1)


def modules(entries: dict[str, Content | Node] = ENTRIES) -> ModuleTree:
    return ModuleTree(tree(entries), "6.1", read)


@pytest.mark.parametrize("name", ["soft", "fs-soft"])
def test_what_a_module_asks_for_is_named_or_an_alias(name: str) -> None:
    """As in Linux 6.12.118: `softdep ext4 pre: crypto-crc32c`."""
    softdep = f"softdep sum-lib pre: {name} post: gone\n".encode()
    assert modules({**ENTRIES, f"{PLACE}/modules.softdep": softdep}).closure(["sum_lib"]) == (
        "soft",
        "sum_lib",
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("card", ["card"]),
        ("sum-lib", ["sum_lib"]),
        ("sum_lib", ["sum_lib"]),
        ("pci:v1d5", ["card"]),
        ("pci:v2d7x", ["other"]),
        ("fs-soft", ["soft"]),
        ("dir:drivers/net", ["card", "other"]),
        ("dir:drivers/net/card/", ["card"]),
        ("dir:drivers/virtio", []),
        ("virtio-pci", []),
        ("?gone", []),
        ("?dir:gone", []),
        ("?extra", ["extra"]),
    ],
)
def test_what_is_meant(text: str, names: list[str]) -> None:
    assert list(modules().named(word(text))) == names


@pytest.mark.parametrize("text", ["gone", "dir:gone", "dir:drivers/ne", "pci:v2dx"])
def test_what_is_not_there(text: str) -> None:
    with pytest.raises(
        RamdiskError, match=r"modules:1 of the flavour 'web' names the kernel module .* 6.1 does not"
    ):
        modules().named(word(text))


def test_a_misspelt_module() -> None:
    with pytest.raises(RamdiskError, match=r"did you mean 'card'"):
        modules().named(word("crad"))


def take(*names: str) -> tuple[SelectedModules, dict[str, Content]]:
    some = modules()
    selection = Selection(some.root, read)
    selection.take("/lib")
    return take_modules(some, [word(name) for name in names], selection), dict(listing(selection.tree))


def test_all_that_a_module_needs() -> None:
    found, files = take("card")
    assert found.modules == ("card", "soft", "sum_lib")
    assert found.firmware == ("card/a.bin", "card/v1.bin.xz")
    assert found.missing_firmware == ("card/gone.bin",)
    assert {path: files[path] for path in files if "modules." not in path} == {
        "lib": "usr/lib",
        f"{PLACE}/kernel/drivers/net/card/card.ko": CARD,
        f"{PLACE}/kernel/lib/sum-lib.ko": ENTRIES[f"{PLACE}/kernel/lib/sum-lib.ko"],
        f"{PLACE}/kernel/fs/soft.ko": ENTRIES[f"{PLACE}/kernel/fs/soft.ko"],
        "usr/lib/firmware/card/a.bin": "../b.bin",
        "usr/lib/firmware/b.bin": b"b",
        "usr/lib/firmware/card/v1.bin.xz": b"v1",
    }
    assert files[f"{PLACE}/modules.builtin.bin"] == b"builtin"
    index = files[f"{PLACE}/modules.dep.bin"]
    assert isinstance(index, bytes)
    assert [value for _, _, value in read_index(index)] == [
        "kernel/drivers/net/card/card.ko: kernel/lib/sum-lib.ko",
        "kernel/fs/soft.ko:",
        "kernel/lib/sum-lib.ko:",
    ]


def test_no_modules_at_all() -> None:
    found, files = take()
    assert found.modules == ()
    assert files[f"{PLACE}/modules.dep"] == b""


def test_every_compression() -> None:
    data = module(name=["x"])
    assert decompress(data, "x.ko") == data
    assert decompress(gzip.compress(data), "x.ko.gz") == data
    assert decompress(lzma.compress(data), "x.ko.xz") == data
    assert decompress(zstandard.compress(data), "x.ko.zst") == data
    streamed = zstandard.ZstdCompressor().compressobj()  # says no size
    assert decompress(streamed.compress(data) + streamed.flush(), "x.ko.zst") == data


@pytest.mark.parametrize("ending", ["gz", "xz", "zst"])
def test_damaged_modules(ending: str) -> None:
    with pytest.raises(RamdiskError, match=rf"x.ko.{ending} is damaged"):
        decompress(b"nothing of the kind", f"x.ko.{ending}")


def test_a_module_that_is_no_elf_file() -> None:
    entries = {**ENTRIES, f"{PLACE}/kernel/drivers/net/other.ko": b"firmware=x"}
    some = modules(entries)
    with pytest.raises(RamdiskError, match=r"other.ko is damaged"):
        take_modules(some, [word("other")], Selection(some.root, read))


def test_an_index_without_its_module() -> None:
    entries = {path: content for path, content in ENTRIES.items() if not path.endswith("soft.ko")}
    some = modules(entries)
    with pytest.raises(RamdiskError, match=r"kernel/fs/soft.ko is in modules.dep and not in the root"):
        take_modules(some, [word("soft")], Selection(some.root, read))


def test_no_index() -> None:
    with pytest.raises(RamdiskError, match=r"6.2 have no index: /lib/modules/6.2/modules.dep is missing"):
        ModuleTree(tree(ENTRIES), "6.2", read)


@pytest.mark.parametrize("ending", [".xz", ".gz", ".zst"])
def test_a_module_that_unpacks_to_more_than_any(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = bytes(1 << 20)
    packers: dict[str, Callable[[bytes], bytes]] = {
        ".xz": lzma.compress,
        ".gz": gzip.compress,
        ".zst": zstandard.ZstdCompressor().compress,
    }
    packed = packers[ending](plain)
    assert decompress(packed, f"x.ko{ending}") == plain
    monkeypatch.setattr(ramdisk_modules, "LARGEST", (1 << 20) - 1)
    with pytest.raises(RamdiskError, match="has more than"):
        decompress(packed, f"x.ko{ending}")


def test_modules_that_unpack_to_more_than_any_together(monkeypatch: pytest.MonkeyPatch) -> None:
    some = modules(ENTRIES)
    words = [word("card"), word("extra")]
    taken = take_modules(some, words, Selection(some.root, read)).modules
    assert len(taken) > 2
    monkeypatch.setattr(ramdisk_modules, "MOST", len(CARD) + 1)
    with pytest.raises(RamdiskError, match="the kernel modules have more than"):
        take_modules(some, words, Selection(some.root, read))


def test_a_module_that_takes_too_much_memory_to_unpack() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    packed = bytearray(
        lzma.compress(module(), format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=filters)
    )
    header = packed[
        12:24
    ]  # of the block: size, flags, filter, size of its properties, dictionary, padding, CRC-32
    assert header[2:4] == b"\x21\x01"
    packed[16] = 36  # 1 GiB
    packed[20:24] = zlib.crc32(packed[12:20]).to_bytes(4, "little")
    with pytest.raises(RamdiskError, match="is damaged: Memory usage limit exceeded"):
        decompress(bytes(packed), "x.ko.xz")


def test_a_module_that_is_cut_short() -> None:
    with pytest.raises(RamdiskError, match="is damaged"):
        decompress(lzma.compress(module())[:-30], "x.ko.xz")


def test_a_module_whose_gzip_is_damaged_inside() -> None:
    packed = gzip.compress(bytes(100))[:10] + b"\xff" * 20
    with pytest.raises(RamdiskError, match="is damaged"):
        decompress(packed, "x.ko.gz")
