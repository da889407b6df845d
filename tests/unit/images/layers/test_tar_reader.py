"""Headers of every dialect of tar, and every way in which they can be wrong."""

from __future__ import annotations

import io
import stat
import struct

import pytest

from dibo.errors import LayerError
from dibo.images.layers.limits import KIB, MIB, Limits
from dibo.images.layers.load import load_tar
from dibo.images.layers.tar_reader import Archive
from dibo.images.layers.tar_writer import decimal_seconds
from dibo.tree.node import Node
from tests.support.images.tar_layers import (
    END,
    GNU,
    V7,
    MemorySink,
    directory,
    file,
    find,
    hardlink,
    header,
    listing,
    load_parts,
    long,
    padded,
    pax,
    record,
    symlink,
)


def one(*parts: bytes, name: str = "a") -> tuple[Node, bytes]:
    tree, memory = load_parts(parts)
    node = find(tree, name)
    return node, memory.of(node)


def names(*parts: bytes, limits: Limits | None = None) -> dict[str, str]:
    return listing(*load_parts(parts, limits=limits))


class Whole:
    """An archive in one chunk."""

    def __init__(self, data: bytes) -> None:
        self._chunks = [memoryview(data)]

    def next(self) -> memoryview | None:
        return self._chunks.pop() if self._chunks else None


def refused(words: str, *parts: bytes, limits: Limits | None = None) -> None:
    with pytest.raises(LayerError, match=words) as caught:
        load_parts(parts, limits=limits)
    assert "sha256:" in caught.value.message
    assert caught.value.hint


# Names

LONG = b"d/" * 60 + b"x" * 30
STAR = (b"d/" * 60)[:-1].ljust(131, b"\0") + b"00000000000 " * 2 + b"\0" * 8 + b"tar\0"


@pytest.mark.parametrize(
    "parts",
    [
        (file(b"x" * 30, b"1", prefix=(b"d/" * 60)[:-1]),),
        (long(b"L", LONG), file(b"short", b"1", magic=GNU)),
        (pax((b"path", LONG)), file(b"short", b"1")),
        (pax((b"path", LONG)), long(b"L", b"other"), file(b"short", b"1")),
        (long(b"L", b"other"), pax((b"path", LONG)), file(b"short", b"1")),
        (pax((b"path", LONG)), file(b"other", b"1", prefix=b"prefix")),
        (pax((b"path", b"other"), (b"path", LONG)), file(b"short", b"1")),
        (pax((b"hdrcharset", b"BINARY"), (b"path", LONG)), file(b"short", b"1")),
        (pax((b"path", LONG), kind=b"X"), file(b"short", b"1")),
        (pax((b"path", LONG), kind=b"g"), file(b"short", b"1")),
        (pax((b"path", b"other"), kind=b"g"), pax((b"path", LONG)), file(b"short", b"1")),
        (file(b"x" * 30, b"1", tail=STAR),),
    ],
    ids=[
        "ustar",
        "GNU",
        "PAX",
        "PAX, GNU",
        "GNU, PAX",
        "PAX, prefix",
        "twice",
        "binary",
        "Solaris",
        "global",
        "both",
        "star",
    ],
)
def test_long_names(parts: tuple[bytes, ...]) -> None:
    path = LONG.decode()
    found = names(*parts)
    assert found[path] == "1"
    assert len(found) == 61


def test_gnu_has_times_where_ustar_has_a_prefix() -> None:
    assert names(header(b"a", magic=GNU, prefix=b"14371572310\0")) == {"a": ""}


def test_v7_has_nothing_after_the_link() -> None:
    block = header(b"a", b"\0", magic=V7, prefix=b"garbage")
    assert names(block) == {"a": ""}


def test_a_name_may_fill_its_field() -> None:
    assert names(file(b"n" * 100, b"1"), symlink(b"l", b"t" * 100)) == {
        "n" * 100: "1",
        "l": "-> " + "t" * 100,
    }


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a b", b"a\nb", b"\\", "é".encode(), b"...", b".wh", b" "])
def test_odd_names(name: bytes) -> None:
    tree, _ = load_parts((file(name, b"1"), pax((b"path", b"d/" + name)), file(b"x", b"2")))
    assert tree.root.children is not None
    assert set(tree.root.children) == {name, b"d"}
    assert set(tree.root.children[b"d"].children or ()) == {name}


def test_names_as_long_as_can_be() -> None:
    path = (b"n" * 255 + b"/") * 15 + b"m" * 255
    assert len(names(pax((b"path", path)), file(b"x"))) == 16
    refused("the limit is 255", pax((b"path", b"n" * 256)), file(b"x"))
    refused("the limit is 255", pax((b"path", b"n" * 256 + b"/a")), file(b"x"))
    refused("longer than 4096", pax((b"path", path + b"/aaaaaaa")), file(b"x"))


def test_depth() -> None:
    assert len(names(pax((b"path", b"d/" * 255 + b"a")), file(b"x"))) == 256
    refused("deeper than 256", pax((b"path", b"d/" * 300 + b"a")), file(b"x"))
    refused("deeper than 3", directory(b"a/a/a/a"), limits=Limits(depth=3))


def test_depth_by_symlinks() -> None:
    deep = b"d/" * 200
    linked = (pax((b"linkpath", deep)), symlink(b"s", b""), pax((b"path", b"s/" + deep)), file(b"x"))
    refused("deeper than 256", pax((b"path", deep)), directory(b"d"), *linked)
    with pytest.raises(LayerError, match="256 directories in each other"):
        load_parts(
            (pax((b"path", deep)), directory(b"d"), pax((b"linkpath", deep)), symlink(b"s", b"")),
            (pax((b"path", b"s/" + deep + b"a")), file(b"x")),
        )


def test_a_path_that_symlinks_make_too_long() -> None:
    part = (b"n" * 250 + b"/") * 9
    with pytest.raises(LayerError, match="longer than 4096"):
        load_parts(
            (pax((b"path", part)), directory(b"d"), pax((b"linkpath", part)), symlink(b"s", b"")),
            (pax((b"path", b"s/" + part + b"a")), file(b"x")),
        )


@pytest.mark.parametrize("keyword", [b"path", b"linkpath", b"GNU.sparse.name"])
def test_nul_in_a_name(keyword: bytes) -> None:
    refused("NUL", pax((keyword, b"a\0b"), (b"GNU.sparse.size", b"0"), (b"GNU.sparse.map", b"")), file(b"x"))


# Numbers


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        (b"0000755\0", 0o755),
        (b"000755 \0", 0o755),
        (b"   755 \0", 0o755),
        (b"755", 0o755),
        (b"00000755", 0o755),
        (b"755\0junk", 0o755),
        (b"", 0),
        (b" ", 0),
        (b"\x80\0\0\0\0\x12\xd6\x87", 1234567),
        (b"\x80\0\0\0\xff\xff\xff\xfe", 0xFFFFFFFE),
    ],
)
def test_user_ids(field: bytes, wanted: int) -> None:
    node, _ = one(file(b"a", uid=field))
    assert node.uid == wanted


@pytest.mark.parametrize(
    "field",
    [
        b"0000789\0",
        b"0_1",
        b"+1",
        b"-1",
        b"0x1",
        b"abc",
        b"1 1",
        b"\xff" * 8,
        b"\x80" + b"\xff" * 7,
        b"\xb2\xb9",
    ],
)
def test_user_ids_that_are_none(field: bytes) -> None:
    refused("user id|owner", file(b"a", uid=field))


@pytest.mark.parametrize("value", [b"-1", b"4294967296", b"1e3", b"1_0", b"0x1", b"9" * 40, b" 1", b"1\xb2"])
def test_user_ids_of_pax_that_are_none(value: bytes) -> None:
    refused("user id|owner", pax((b"uid", value)), file(b"a"))
    refused("group id|owner", pax((b"gid", value)), file(b"a"))


def test_ids_and_modes_of_pax() -> None:
    node, _ = one(pax((b"uid", b"4294967294"), (b"gid", b"70000")), file(b"a", uid=1, gid=2, mode=0o104755))
    assert (node.uid, node.gid, node.mode) == (4294967294, 70000, stat.S_IFREG | 0o4755)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (b"1.5", 1_500_000_000),
        (b"0.000000001", 1),
        (b"1.1234567899", 1_123_456_789),
        (b"-1.5", -1_500_000_000),
        (b"-0.25", -250_000_000),
        (b"1.", 1_000_000_000),
        (b"12", 12_000_000_000),
        (b"99999999999999999999", (2**62 - 1) * 10**9),
    ],
)
def test_times_of_pax(value: bytes, wanted: int) -> None:
    node, _ = one(pax((b"mtime", value)), file(b"a"))
    assert node.mtime == wanted
    if len(value) < 12 and not value.endswith(b"."):
        assert decimal_seconds(wanted) == value


@pytest.mark.parametrize("value", [b"nan", b"inf", b"1e9", b"1.2.3", b"--1", b"1.-1", b"-", b"9" * 31])
def test_times_that_are_none(value: bytes) -> None:
    refused("time", pax((b"mtime", value)), file(b"a"))


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        (b"\xff" * 12, -1),
        (b"\x80" + bytes(3) + struct.pack(">q", 2**33), 2**33),
        (struct.pack(">iq", -1, -62135596800), -62135596800),
        (b"77777777777\0", 8**11 - 1),
    ],
)
def test_times_of_the_block(field: bytes, wanted: int) -> None:
    node, _ = one(file(b"a", mtime=field))
    assert abs(node.mtime - wanted * 10**9) < 2 * 10**9


@pytest.mark.parametrize(
    "seconds", [2**33, -(2**33), 10**10, 253402300800, -62135596800, 2**61, 2**34 - 2**31 + 1]
)
def test_times_far_off_are_kept(seconds: int) -> None:
    """After 2262 and before 1677 nanoseconds since 1970 do not fit 64 bits."""
    assert one(pax((b"mtime", b"%d.5" % seconds)), file(b"a"))[0].mtime // 10**8 in (
        seconds * 10 + 5,
        seconds * 10 - 5,
    )


def test_times_are_clamped() -> None:
    tree, _ = load_parts(
        (file(b"a", mtime=100), file(b"b", mtime=10), directory(b"d", mtime=100), symlink(b"l", b"x")),
        clamp=50,
    )
    assert [find(tree, name).mtime // 10**9 for name in "abdl"] == [50, 10, 50, 0]


# Sizes


@pytest.mark.parametrize(
    "field", [b"\xff" * 12, b"-0000000001\0", b"\x80" + b"\xff" * 11, b"77777777777\0", b"junk", b"9"]
)
def test_sizes_that_are_none(field: bytes) -> None:
    refused("size|limit|ends", header(b"a", size=field) + bytes(1024))


def test_the_size_of_pax_counts() -> None:
    parts = (pax((b"size", b"3")), header(b"a", size=0) + padded(b"123"), file(b"b", b"2"))
    assert names(*parts) == {
        "a": "123",
        "b": "2",
    }
    refused("size", pax((b"size", b"-3")), file(b"a", b"123"))
    refused("size", pax((b"size", b"3.5")), file(b"a", b"123"))
    refused("ends", pax((b"size", b"99999999999")), file(b"a", b"123"))
    refused("limit", pax((b"size", b"9" * 25)), file(b"a", b"123"))


def test_an_empty_record_says_nothing() -> None:
    assert names(pax((b"path", b""), (b"size", b""), (b"uid", b""), (b"mtime", b"")), file(b"a", b"1")) == {
        "a": "1"
    }


def test_a_global_record_ends() -> None:
    tree, _ = load_parts(
        (
            pax((b"uid", b"7"), kind=b"g"),
            file(b"a"),
            pax((b"uid", b"8")),
            file(b"b"),
            file(b"c"),
            pax((b"uid", b""), kind=b"g"),
            file(b"d"),
        )
    )
    assert [find(tree, name).uid for name in "abcd"] == [7, 8, 7, 0]


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"5", b"6"])
def test_entries_other_than_files_have_no_data(kind: bytes) -> None:
    tree, memory = load_parts(
        (file(b"t", b"1"), header(b"a", kind, link=b"t", size=5, device=(1, 2)), file(b"b", b"2"))
    )
    assert memory.files == [b"1", b"2"]
    assert len(listing(tree, memory)) == 3


@pytest.mark.parametrize(
    "size", [1, 511, 512, 513, MIB - 512, MIB - 1, MIB, MIB + 1, 2 * MIB - 1024, 3 * MIB + 5], ids=str
)
def test_sizes_around_blocks_and_chunks(size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    parts = (file(b"a", data[:size]), file(b"b", b"2"), file(b"c", data[:size]), file(b"d"))
    tree, memory = load_parts(parts)
    assert memory.files == [data[:size], b"2", data[:size]]
    assert tree.bytes == 2 * size + 1


# Types


def test_types() -> None:
    found = names(
        header(b"old", b"\0", magic=V7),
        header(b"old-directory/", b"\0", magic=V7),
        header(b"contiguous", b"7", size=1) + padded(b"7"),
        header(b"char", b"3", device=(5, 1)),
        header(b"block", b"4", device=(8, 0x12345)),
        header(b"fifo", b"6"),
        header(b"label", b"V"),
        header(b"acl", b"A", size=1) + padded(b"x"),
    )
    assert found == {
        "old": "",
        "old-directory": "dir",
        "contiguous": "7",
        "char": "device 5:1",
        "block": "device 8:74565",
        "fifo": "fifo",
    }


def test_an_unknown_type_is_a_file() -> None:
    tree, memory = load_parts((header(b"a", b"q", size=3) + padded(b"123"), file(b"b", b"2")))
    assert listing(tree, memory) == {"a": "123", "b": "2"}
    assert "unknown type" in tree.warnings[0]


@pytest.mark.parametrize(("kind", "words"), [(b"D", "incremental"), (b"M", "volume")])
def test_types_that_no_layer_has(kind: bytes, words: str) -> None:
    refused(words, header(b"a", kind, size=3) + padded(b"123"))


@pytest.mark.parametrize("device", [(4096, 0), (0, 1 << 20)])
def test_devices_that_linux_does_not_have(device: tuple[int, int]) -> None:
    refused("device", header(b"a", b"3", device=device))


# Sparse files


def old_map(*pieces: tuple[int, int], real: int, more: int = 0) -> bytes:
    """From the prefix on."""
    fields = b"".join(b"%011o\0%011o\0" % piece for piece in pieces)
    return bytes(41) + fields.ljust(96, b"\0") + bytes((more,)) + b"%011o\0" % real


SPARSE = b"AB" + bytes(510) + b"C" + bytes(487)


@pytest.mark.parametrize(
    "parts",
    [
        (
            header(b"a", b"S", size=3, magic=GNU, tail=old_map((0, 2), (512, 1), (1000, 0), real=1000))
            + padded(b"ABC"),
        ),
        (
            header(
                b"a", b"S", size=3, magic=GNU, tail=old_map((0, 1), (1, 1), (2, 0), (3, 0), real=1000, more=1)
            )
            + (b"%011o\0%011o\0" % (512, 1)).ljust(504, b"\0").ljust(512, b"\0")
            + padded(b"ABC"),
        ),
        (
            pax(
                (b"GNU.sparse.size", b"1000"),
                (b"GNU.sparse.numblocks", b"2"),
                (b"GNU.sparse.offset", b"0"),
                (b"GNU.sparse.numbytes", b"2"),
                (b"GNU.sparse.offset", b"512"),
                (b"GNU.sparse.numbytes", b"1"),
            ),
            file(b"a", b"ABC"),
        ),
        (
            pax((b"GNU.sparse.size", b"1000"), (b"GNU.sparse.name", b"a"), (b"GNU.sparse.map", b"0,2,512,1")),
            file(b"GNUSparseFile.1/a", b"ABC"),
        ),
        (
            pax(
                (b"GNU.sparse.major", b"1"),
                (b"GNU.sparse.minor", b"0"),
                (b"GNU.sparse.realsize", b"1000"),
                (b"GNU.sparse.name", b"a"),
            ),
            file(b"GNUSparseFile.1/a", padded(b"3\n0\n2\n512\n1\n1000\n0\n") + b"ABC"),
        ),
    ],
    ids=["old GNU", "old GNU, extended", "PAX 0.0", "PAX 0.1", "PAX 1.0"],
)
def test_sparse_files(parts: tuple[bytes, ...]) -> None:
    tree, memory = load_parts((*parts, file(b"z", b"1")))
    assert listing(tree, memory) == {"a": SPARSE.decode(), "z": "1"}
    assert find(tree, "a").size == 1000
    assert memory.holes == 1000 - 3


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        (b"5,2,0,1", "order"),
        (b"0,2,1,1", "overlaps"),
        (b"0,2,999,2", "beyond|bytes of data"),
        (b"0,2", "archive has 3"),
        (b"0,9", "archive has 3"),
        (b"-1,3", "order"),
        (b"3,-1", "order"),
        (b"0,2,512", "without a size"),
        (b"a,b", "no number"),
        (b"0,3,2000,0", "beyond"),
    ],
)
def test_sparse_maps_that_lie(pieces: bytes, words: str) -> None:
    refused(words, pax((b"GNU.sparse.size", b"1000"), (b"GNU.sparse.map", pieces)), file(b"a", b"ABC"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (padded(b"junk"), "count"),
        (padded(b"x\n"), "no number"),
        (padded(b"-1\n"), "negative"),
        (padded(b"9999999999\n0\n"), "does not end"),
        (b"1\n0\n3\n", "does not end"),
        (padded(b"1\n0\nx\n"), "no number"),
    ],
)
def test_sparse_maps_in_the_data_that_lie(data: bytes, words: str) -> None:
    said = ((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"1000"))
    refused(words, pax(*said), file(b"a", data))


def test_sparse_files_of_other_kinds() -> None:
    refused("newer", pax((b"GNU.sparse.major", b"2"), (b"GNU.sparse.realsize", b"1")), file(b"a", b"ABC"))
    refused("real size is missing", pax((b"GNU.sparse.map", b"0,3")), file(b"a", b"ABC"))
    refused(
        "limit", pax((b"GNU.sparse.map", b"0,3"), (b"GNU.sparse.size", b"%d" % 2**60)), file(b"a", b"ABC")
    )


def test_all_is_a_hole() -> None:
    node, data = one(pax((b"GNU.sparse.map", b""), (b"GNU.sparse.size", b"5000")), file(b"a"))
    assert (node.size, data) == (5000, bytes(5000))


# Records


@pytest.mark.parametrize(
    "data",
    [
        b"junk",
        b"5 a=b\n",
        b"7 a=b\n",
        b"99 a=b\n",
        b"0 a=b\n",
        b"3 \n\n",
        b"-6 a=b\n",
        b"6 a=bc\n",
        b"6 =bc\n",
        b"6 abc\n",
        b"6",
        b" 6 a=b\n",
        b"999999999999999999999999 a=b\n",
        record(b"a", b"b")[:-1],
    ],
)
def test_records_that_are_none(data: bytes) -> None:
    refused("PAX header", header(b"x", b"x", size=len(data)) + padded(data), file(b"a"))


def test_of_several_long_names_the_last_counts() -> None:
    assert names(long(b"L", b"first"), long(b"L", b"second"), file(b"x", b"1", magic=GNU)) == {"second": "1"}
    links = (long(b"K", b"first"), long(b"K", b"second"), symlink(b"l", b"x"))
    assert names(*links) == {"l": "-> second"}
    assert names(long(b"L", b"long"), pax((b"path", b"pax")), file(b"x", b"1")) == {"pax": "1"}


def test_all_headers_of_an_entry_have_a_limit_together() -> None:
    half = pax((b"comment", b"x" * (MIB // 2)))
    refused("its headers have [0-9]+ bytes; the limit is", half, half, file(b"a"))
    refused("its headers have", long(b"L", b"x" * (MIB // 2)), long(b"L", b"x" * (MIB // 2 + 1)), file(b"a"))
    assert names(half, file(b"a", b"1"), half, file(b"b", b"2")) == {"a": "1", "b": "2"}


def test_global_headers_take_no_memory_for_what_nobody_reads() -> None:
    big = pax((b"comment", b"x" * (MIB - 100)), kind=b"g")
    assert names(*[big] * 20, file(b"a", b"1")) == {"a": "1"}
    wide = [pax((b"SCHILY.xattr.user.%d" % n, b"x" * (MIB // 8)), kind=b"g") for n in range(9)]
    refused("global headers have more than 1048576 bytes", *wide, file(b"a"))
    refused("more than 4 entries", *[big] * 4, file(b"a"), limits=Limits(entries=4))


def test_what_entries_hold_in_memory_together_is_bounded() -> None:
    limits = Limits(held_bytes=64 * KIB)
    attribute = (b"SCHILY.xattr.user.a", b"x" * KIB)
    files = [file(b"%d" % number) for number in range(64)]
    words = "more than 65536 bytes of extended attributes and targets of symlinks"
    many = pax(*((b"SCHILY.xattr.user.%d" % number, b"v") for number in range(100)), kind=b"g")
    links = [symlink(b"%d" % number, b"t" * 100) for number in range(660)]
    for parts in (
        [pax(attribute, kind=b"g"), *files],
        [pax(attribute) + part for part in files],
        [many, *files],
        links,
    ):
        load_parts(parts)
        with pytest.raises(LayerError, match=words):
            load_parts(parts, limits=limits)
    load_parts(files, links[:64], limits=limits)


def test_a_global_header_costs_nothing_at_each_entry() -> None:
    """90,000 keywords that mean nothing are forgotten; those that do are few."""
    useless = pax(*((b"k%d" % n, b"v") for n in range(90_000)), kind=b"g")
    archive = Archive(Whole(useless + file(b"a")), Limits(header_bytes=4 * MIB))
    entry = archive.next()
    assert entry is not None
    assert not entry.records
    many = pax(*((b"SCHILY.xattr.user.%d" % n, b"v") for n in range(129)), kind=b"g")
    refused("global headers have more than 128 records", many, file(b"a"))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [(b"./a/../b", "b"), (b"a/b/../../c", "c"), (b"a/./../b/", "b"), (b"/a/..//b", "b")],
)
def test_names_that_go_up_and_stay_inside(name: bytes, wanted: str) -> None:
    tree, memory = load_parts((file(name.rstrip(b"/"), b"1"), hardlink(b"h", b"x/../" + wanted.encode())))
    assert listing(tree, memory)[wanted] == "1"
    assert [warning for warning in tree.warnings if "`..`" in warning]


@pytest.mark.parametrize("fields", [{"uid": 0xFFFFFFFF}, {"gid": 0xFFFFFFFF}, {"uid": 0xFFFFFFFF, "gid": 5}])
def test_nobody_s_files_are_root_s(fields: dict[str, int]) -> None:
    """As chown(2) leaves them for whoever unpacks an archive."""
    records = [(keyword.encode(), b"%d" % value) for keyword, value in fields.items()]
    tree, _ = load_parts((pax(*records), file(b"a")))
    node = (tree.root.children or {})[b"a"]
    assert (node.uid, node.gid) == (0, 5 if fields.get("gid") == 5 else 0)
    assert [warning for warning in tree.warnings if "owner 4294967295" in warning]


def test_headers_have_a_limit() -> None:
    big = pax((b"comment", b"x" * MIB))
    refused("limit", big, file(b"a"))
    refused("limit", long(b"L", b"x" * MIB), file(b"a"))
    refused("limit", header(b"x", b"x", size=b"\x80" + b"\xff" * 11), file(b"a"))
    refused("negative", header(b"x", b"x", size=b"\xff" * 12), file(b"a"))
    assert names(pax((b"comment", b"x" * (MIB - 100))), file(b"a", b"1")) == {"a": "1"}


@pytest.mark.parametrize("meta", [pax((b"path", b"b")), long(b"L", b"b"), long(b"K", b"b")])
def test_a_header_without_an_entry(meta: bytes) -> None:
    refused("belongs to an entry", file(b"a"), meta)


# Extended attributes

V3 = struct.pack("<IIIIII", 0x03000001, 0x2000, 0, 0, 0, 1000)
V2 = struct.pack("<IIIII", 0x02000001, 0x2000, 0, 0, 0)


@pytest.mark.parametrize(
    ("records", "wanted"),
    [
        ([(b"SCHILY.xattr.security.capability", V2)], {b"security.capability": V2}),
        ([(b"SCHILY.xattr.security.capability", V3)], {b"security.capability": V2}),
        ([(b"SCHILY.xattr.security.capability", b"junk")], None),
        ([(b"SCHILY.xattr.user.a", b"1\n2=\0")], {b"user.a": b"1\n2=\0"}),
        ([(b"SCHILY.xattr.user.a%3Db%25", b"1")], {b"user.a=b%": b"1"}),
        ([(b"LIBARCHIVE.xattr.user.a%20b", b"YWI")], {b"user.a b": b"ab"}),
        ([(b"LIBARCHIVE.xattr.user.a", b"YWI="), (b"SCHILY.xattr.user.a", b"x")], {b"user.a": b"x"}),
        ([(b"SCHILY.xattr.user.empty", b"")], {b"user.empty": b""}),
        ([(b"SCHILY.xattr.trusted.overlay.opaque", b"y")], None),
        ([(b"SCHILY.xattr.security.selinux", b"x"), (b"SCHILY.xattr.security.ima", b"x")], None),
        ([(b"SCHILY.xattr.user.overlay.opaque", b"y")], None),
        ([(b"SCHILY.xattr.user.containers.override_stat", b"0:0:0755")], None),
        ([(b"SCHILY.xattr.user.rootlesscontainers", b"x")], None),
        (
            [(b"SCHILY.acl.access", b"user::rwx,user:1000:r-x,group::r--,mask::r-x,other::---")],
            {
                b"system.posix_acl_access": bytes.fromhex(
                    "02000000 01000700ffffffff 02000500e8030000 04000400ffffffff 10000500ffffffff 20000000ffffffff"
                )
            },
        ),
        (
            [(b"SCHILY.acl.default", b"user:joe:rwx:7\nuser::rwx\ngroup::---\nother:---")],
            {
                b"system.posix_acl_default": bytes.fromhex(
                    "02000000 01000700ffffffff 0200070007000000 04000000ffffffff 20000000ffffffff"
                )
            },
        ),
        ([(b"SCHILY.acl.access", b"user:joe:rwx")], None),
    ],
)
def test_extended_attributes(records: list[tuple[bytes, bytes]], wanted: dict[bytes, bytes] | None) -> None:
    tree, _ = load_parts((pax(*records), file(b"a"), pax(*records), directory(b"d"), file(b"b")))
    assert find(tree, "a").xattrs == find(tree, "d").xattrs == wanted
    assert find(tree, "b").xattrs is None
    told = wanted is None and not any(b"overlay" in name for name, _ in records)
    assert len(tree.warnings) == told


def test_extended_attributes_that_are_none() -> None:
    refused("base64", pax((b"LIBARCHIVE.xattr.user.a", b"!")), file(b"a"))
    refused("name", pax((b"SCHILY.xattr.user.", b"1")), file(b"a"))
    refused("name", pax((b"SCHILY.xattr.user." + b"n" * 251, b"1")), file(b"a"))
    refused("name", pax((b"LIBARCHIVE.xattr.user.a%00b", b"")), file(b"a"))
    refused("larger than", pax((b"SCHILY.xattr.user.a", bytes(64 * KIB))), file(b"a"))


# Ends


def test_checksums() -> None:
    high = file(b"\xff" * 90, b"1", checksum=b"0000000\0")
    signed = sum(byte - 256 if byte > 127 else byte for byte in high[:148] + b" " * 8 + high[156:512])
    assert len(names(file(b"\xff" * 90, b"1", checksum=b"%06o\0 " % signed))) == 1
    refused("checksum", high)
    refused("checksum", file(b"a", checksum=b"junk    "))


@pytest.mark.parametrize("end", [b"", END, bytes(512), bytes(10240), bytes(3 * MIB)])
def test_ends(end: bytes) -> None:
    memory = MemorySink()
    assert listing(load_tar(io.BytesIO(file(b"a", b"1") + end), memory), memory) == {"a": "1"}


@pytest.mark.parametrize("tail", [b"x", bytes(MIB) + b"x", file(b"b"), b"x" * MIB])
def test_what_comes_after_the_end_is_ignored(tail: bytes) -> None:
    memory = MemorySink()
    tree = load_tar(io.BytesIO(file(b"a", b"1") + END + tail), memory)
    assert listing(tree, memory) == {"a": "1"}
    assert [warning for warning in tree.warnings if "goes on after the end" in warning]


@pytest.mark.parametrize("size", [515, 700, 1023])
def test_an_archive_that_nobody_closed_is_whole_when_its_last_file_is(size: int) -> None:
    memory = MemorySink()
    tar = file(b"a", b"1") + file(b"b", b"123")[:size]
    assert listing(load_tar(io.BytesIO(tar), memory), memory) == {"a": "1", "b": "123"}


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (bytes(512) + file(b"b"), "zeros"),
        (b"junk", "middle of a header"),
        (bytes(100), "middle of a header"),
        (b"j" * 512, "checksum"),
        (file(b"b")[:511], "middle of a header"),
        (file(b"b", b"123")[:514], "ends 1 bytes before"),
        (file(b"b", b"123")[:512], "ends 3 bytes before"),
        (file(b".wh.b", b"123")[:513], "ends 2 bytes before"),
        (pax((b"path", b"b"))[:512], "before"),
        (header(b"b", b"S", magic=GNU, tail=old_map(real=0, more=1)), "sparse map"),
    ],
)
def test_ends_that_are_none(tail: bytes, words: str) -> None:
    with pytest.raises(LayerError, match=words) as caught:
        load_tar(io.BytesIO(file(b"a", b"1") + tail), MemorySink())
    assert "entry" in caught.value.message


def test_no_tar_at_all() -> None:
    with pytest.raises(LayerError):
        load_tar(io.BytesIO(b"<html>not found</html>" * 100), MemorySink())


# Limits, and what is kept


def test_number_of_entries() -> None:
    three = [file(b"%d" % number) for number in range(3)]
    assert len(names(*three, limits=Limits(entries=3))) == 3
    refused("more than 2 entries", *three, limits=Limits(entries=2))


def test_files_that_are_kept() -> None:
    parts = (
        file(b"etc/os-release", b"ID=x"),
        file(b"./boot/a", b"1"),
        file(b"boot/empty"),
        file(b"other", b"2"),
        pax((b"GNU.sparse.map", b"1,1"), (b"GNU.sparse.size", b"4")),
        file(b"boot/sparse", b"x"),
    )
    for keep in ((b"etc/os-release", b"boot/"), lambda path: not path.startswith(b"other")):
        tree, memory = load_parts(parts, keep=keep)
        kept = {
            name: find(tree, name).data
            for name in ("etc/os-release", "boot/a", "boot/empty", "other", "boot/sparse")
        }
        assert kept == {
            "etc/os-release": b"ID=x",
            "boot/a": b"1",
            "boot/empty": b"",
            "other": None,
            "boot/sparse": b"\0x\0\0",
        }
        assert memory.files[0] == b"ID=x"


def test_kept_files_have_a_limit() -> None:
    with pytest.raises(LayerError, match="limit"):
        load_parts((file(b"a", b"12345"),), keep=(b"a",), limits=Limits(kept_bytes=4))


def test_a_kept_file_that_is_read_again() -> None:
    tree, memory = load_parts(
        (file(b"a", b"old"), hardlink(b"b", b"a"), file(b"c", b"3")), (file(b"a", b"new"),), keep=(b"",)
    )
    assert (find(tree, "a").data, find(tree, "b").data) == (b"new", b"old")
    assert memory.files == [b"new", b"3", b"old"]
