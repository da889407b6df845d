"""FAT file systems, read back by a reader that shares nothing with the writer, by mtools and by fsck.fat."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dibo.errors import LayoutError, OutputError
from dibo.formats.fat.build import FatVolume, write_fat
from dibo.formats.fat.geometry import choose_geometry
from dibo.formats.fat.names import check_name, checksum, fold, long_entries, short_names
from dibo.formats.raw import RawFile
from dibo.units import GIB, KIB, MIB, SECTOR, TIB
from tests.unit.disk.sample_requests import MTIME, Memory, Recorder, output_of, zero_blocks
from tests.unit.formats.fat.fat_reader import Volume, read_fat

pytestmark = pytest.mark.slow

FILES = {
    "EFI/BOOT/BOOTX64.EFI": bytes(range(256)) * 300,
    "EFI/BOOT/grubx64.efi": b"MZ" * 5000,
    "EFI/ubuntu/grub.cfg": b"configfile\n",
    "EFI/ubuntu/a name with spaces and a long.extension": b"1",
    "EFI/ubuntu/a name with spaces and another.extension": b"2",
    "empty": b"",
    "Zürich Привет.txt": b"3",
    "thirteen-char": b"4",
    "x" * 255: b"5",
    "zeros": bytes(20_000),
}
SIZES = [MIB, 4 * MIB, 5 * MIB, 16 * MIB, 32 * MIB, 33 * MIB, 64 * MIB, 512 * MIB, 9 * GIB]


def write(
    path: Path,
    files: Mapping[str, bytes],
    *,
    size: int = 4 * MIB,
    offset: int = 0,
    label: str = "UEFI",
    mtime: int = MTIME,
) -> Path:
    with RawFile(path, offset + size) as target:
        write_fat(
            FatVolume(target=target, offset=offset, label=label, serial=0x1A2B3C4D),
            size=size,
            files=files,
            mtime=mtime,
        )
    assert path.stat().st_size == offset + size
    return path


def read(path: Path, offset: int = 0) -> Volume:
    with path.open("rb") as source:
        return read_fat(source, offset)


@pytest.mark.parametrize("size", SIZES[:-1])
@pytest.mark.parametrize("offset", [0, 3 * MIB])
def test_every_size_reads_back(tmp_path: Path, size: int, offset: int) -> None:
    volume = read(write(tmp_path / "fat", FILES, size=size, offset=offset), offset)
    assert volume.files == FILES
    assert volume.directories == ["EFI", "EFI/BOOT", "EFI/ubuntu"]
    assert (volume.label, volume.serial) == ("UEFI", 0x1A2B3C4D)


def test_offset_is_respected(tmp_path: Path) -> None:
    path = tmp_path / "fat"
    with RawFile(path, 6 * MIB) as target:
        target.write(0, [b"before" * 1000])
        target.write(5 * MIB, [b"after" * 1000])
        write_fat(
            FatVolume(target=target, offset=MIB, label="", serial=0), size=4 * MIB, files=FILES, mtime=0
        )
    data = path.read_bytes()
    assert data[:6000] == b"before" * 1000
    assert data[5 * MIB : 5 * MIB + 5000] == b"after" * 1000
    assert not any(data[5 * MIB + 5000 :])


@pytest.mark.parametrize("size", SIZES)
def test_fsck_finds_nothing_wrong(tmp_path: Path, size: int) -> None:
    report = output_of("fsck.fat", "-n", "-v", write(tmp_path / "fat", FILES, size=size))
    bits = choose_geometry(size).bits
    assert f"{bits} bit entries" in report
    findings = report.split("sectors total")[1].strip().splitlines()
    assert [line for line in findings if not line.startswith("Checking ")] == findings[-1:]
    assert re.search(r": 14 files, \d+/\d+ clusters$", findings[-1])


def test_mtools_read_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "fat", FILES, size=64 * MIB)
    listed = output_of("mdir", "-/", "-b", "-i", path, "::")
    assert "::/EFI/BOOT/BOOTX64.EFI" in listed
    assert "::/EFI/ubuntu/a name with spaces and another.extension" in listed
    output_of("mcopy", "-s", "-i", path, "::EFI", tmp_path / "out")
    for name, data in FILES.items():
        if name.startswith("EFI/"):
            assert (tmp_path / "out" / name.removeprefix("EFI/")).read_bytes() == data


def test_mtools_see_label_serial_and_utc(tmp_path: Path) -> None:
    listed = output_of("mdir", "-i", write(tmp_path / "fat", FILES), "::")
    assert "is UEFI" in listed
    assert "1A2B-3C4D" in listed
    assert len(re.findall(r"2023-11-14 +22:13", listed)) == 6


@pytest.mark.parametrize(
    ("mtime", "raw"),
    [
        (MTIME, (0x576E, 0xB1AA, 100)),
        (0, (0x0021, 0x0000, 0)),
        (5_000_000_000_000, (0xFF9F, 0xBF7D, 0)),
    ],
)
def test_times_stay_in_what_fat_can_say(tmp_path: Path, mtime: int, raw: tuple[int, int, int]) -> None:
    data = write(tmp_path / "fat", {"A": b""}, size=MIB, mtime=mtime, label="").read_bytes()
    entry = data[data.index(b"A          ") :][:32]
    date, time, hundredths = raw
    assert entry[13] == hundredths
    assert entry[14:20] == time.to_bytes(2, "little") + date.to_bytes(2, "little") * 2
    assert entry[22:26] == time.to_bytes(2, "little") + date.to_bytes(2, "little")


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    one = write(tmp_path / "one", FILES).read_bytes()
    other = write(tmp_path / "other", dict(reversed(FILES.items()))).read_bytes()
    assert one == other


def test_nothing_that_is_zero_is_written(tmp_path: Path) -> None:
    with Recorder(tmp_path / "fat", 64 * MIB) as target:
        write_fat(
            FatVolume(target=target, offset=0, label="UEFI", serial=1),
            size=64 * MIB,
            files=FILES,
            mtime=MTIME,
        )
        assert zero_blocks(target.writes) == []
    assert (tmp_path / "fat").stat().st_blocks * 512 < 300 * KIB


def test_an_empty_file_system_without_a_label(tmp_path: Path) -> None:
    volume = read(write(tmp_path / "fat", {}, label=""))
    assert (volume.files, volume.directories, volume.label) == ({}, [], "NO NAME")


# Names: what FAT has trouble with, and short ones that clash.
letters = st.one_of(st.sampled_from("abAB.~1 _ü€𝄞+;"), st.characters(exclude_categories=["Cs", "Cc"]))


def holdable(name: str) -> bool:
    try:
        check_name(name, path=name)
    except OutputError:
        return False
    return "/" not in name


names = st.one_of(
    st.text(letters, min_size=1, max_size=30).filter(holdable),
    st.from_regex(r"\A[A-C]{1,8}(\.[A-B]{1,3})?\Z"),
    st.from_regex(r"\Along name [a-z]{1,3}\.conf\Z"),
    st.sampled_from(["LONGNA~1.CON", "longna~2.con", ".hidden", "a.b.c", "trailing.~1"]),
)
trees = st.dictionaries(
    st.lists(names, min_size=1, max_size=3).map("/".join),
    st.integers(0, 9000).map(lambda size: bytes(index % 251 + 1 for index in range(size))),
    max_size=12,
)


def distinct(files: Mapping[str, bytes]) -> bool:
    """No two names are the same but for case, and no file is a directory."""
    spellings: dict[str, str] = {}
    for path in files:
        parts = path.split("/")
        for length in range(1, len(parts) + 1):
            prefix = "/".join(parts[:length])
            if spellings.setdefault(fold(prefix), prefix) != prefix or (
                length < len(parts) and prefix in files
            ):
                return False
    return True


@settings(max_examples=60, deadline=None)
@given(files=trees.filter(distinct), size=st.sampled_from([MIB, 5 * MIB, 33 * MIB]))
def test_any_tree_reads_back(files: dict[str, bytes], size: int) -> None:
    target = Memory(size)
    write_fat(FatVolume(target=target, offset=0, label="", serial=0), size=size, files=files, mtime=MTIME)
    assert read_fat(io.BytesIO(target.data)).files == files


@settings(max_examples=40, deadline=None)
@given(files=trees.filter(lambda files: bool(files) and distinct(files)), below=st.booleans())
def test_what_fat_cannot_tell_apart_is_refused(files: dict[str, bytes], below: bool) -> None:
    path = next(iter(files))
    clash = f"{path}/x" if below else fold(path) if fold(path) != path else path.lower()
    if clash == path or fold(clash.split("/x")[0]) != fold(path):
        return
    with pytest.raises(OutputError):
        write_fat(
            FatVolume(target=Memory(MIB), offset=0, label="", serial=0),
            size=MIB,
            files=files | {clash: b""},
            mtime=MTIME,
        )


@given(st.sets(names, max_size=30))
def test_aliases_are_unique_and_plain(found: set[str]) -> None:
    distinct_names = {fold(name): name for name in found}.values()
    aliases = short_names(list(distinct_names))
    assert len(set(aliases.values())) == len(aliases)
    for name, alias in aliases.items():
        assert re.fullmatch(rb"[A-Z0-9$%'\-_@~`!(){}^#&]{1,8} *", alias[:8])
        assert re.fullmatch(rb"[A-Z0-9$%'\-_@~`!(){}^#&]* *", alias[8:])
        assert len(alias) == 11
        # An alias that is another file's name would open the wrong one.
        plain = f"{alias[:8].decode().rstrip()}.{alias[8:].decode().rstrip()}".rstrip(".")
        assert all(plain != fold(other) for other in aliases if other != name)


@pytest.mark.parametrize(
    ("name", "alias"),
    [
        ("BOOTX64.EFI", b"BOOTX64 EFI"),
        ("grub.cfg", b"GRUB    CFG"),
        ("A", b"A          "),
        ("long name.conf", b"LONGNA~1CON"),
        (".hidden", b"HIDDEN~1   "),
        ("a.b.c", b"AB~1    C  "),
        ("a+b.txt", b"A_B~1   TXT"),
        ("über.txt", b"_BER~1  TXT"),
    ],
)
def test_aliases(name: str, alias: bytes) -> None:
    assert short_names([name]) == {name: alias}


def test_a_name_that_looks_like_an_alias_keeps_it() -> None:
    assert short_names(["longname1.conf", "LONGNA~1.CON"]) == {
        "LONGNA~1.CON": b"LONGNA~1CON",
        "longname1.conf": b"LONGNA~2CON",
    }


def test_numbers_take_room_from_the_stem() -> None:
    many = short_names([f"long name {number:02}" for number in range(12)])
    assert many["long name 08"] == b"LONGNA~9   "
    assert many["long name 09"] == b"LONGN~10   "


def test_capitals_need_no_long_name() -> None:
    assert long_entries("BOOTX64.EFI", b"BOOTX64 EFI") == b""
    assert len(long_entries("grub.cfg", b"GRUB    CFG")) == 32


def test_the_example_of_the_specification() -> None:
    """fatgen103, "Long Directory Entries": the three entries of "The quick brown.fox"."""
    entries = long_entries("The quick brown.fox", b"THEQUI~1FOX")
    assert len(entries) == 64
    assert (entries[0], entries[32]) == (0x42, 0x01)
    assert entries[1:11].decode("utf-16-le") == "wn.fo"
    assert entries[14:26] == "x\0".encode("utf-16-le") + b"\xff" * 8
    assert entries[33:43].decode("utf-16-le") == "The q"
    assert entries[13] == entries[45] == checksum(b"THEQUI~1FOX")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a/B": b"", "A/c": b""}, "cannot tell 'A' and 'a' apart"),
        ({"grub.cfg": b"", "GRUB.CFG": b""}, "cannot tell 'GRUB.CFG' and 'grub.cfg' apart"),
        ({"a": b"", "a/b": b""}, "'a' is to be both a file and a directory"),
        ({"a:b": b""}, "character ':'"),
        ({"a\nb": b""}, "character '\\n'"),
        ({"a.": b""}, "at the end"),
        ({"dir /b": b""}, "at the end"),
        ({"": b""}, "'' cannot be a name"),
        ({"/a": b""}, "'' cannot be a name"),
        ({"a//b": b""}, "'' cannot be a name"),
        ({"a/../b": b""}, "'..' cannot be a name"),
        ({"a\udcff": b""}, "not Unicode"),
        ({"x" * 256: b""}, "longer than 255"),
        ({"𝄞" * 128: b""}, "longer than 255"),
    ],
)
def test_names_that_fat_cannot_hold(tmp_path: Path, files: dict[str, bytes], words: str) -> None:
    with pytest.raises(OutputError) as caught:
        write(tmp_path / "fat", files)
    assert words in caught.value.message


@pytest.mark.parametrize("label", ["uefi", "TWELVE CHARS", "A.B", "Ü", " A"])
def test_labels_that_fat_cannot_hold(tmp_path: Path, label: str) -> None:
    with pytest.raises(LayoutError, match="cannot be the label"):
        write(tmp_path / "fat", {}, label=label)


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    geometry = choose_geometry(MIB)
    largest = geometry.clusters * geometry.cluster_size
    assert read(write(tmp_path / "fat", {"A": b"x" * largest}, size=MIB)).used == geometry.clusters
    with pytest.raises(LayoutError, match=r"do not fit into 1 MiB: 512 B are missing"):
        write(tmp_path / "fat", {"A": b"x" * (largest + 1)}, size=MIB)


def test_a_full_fat32_still_checks(tmp_path: Path) -> None:
    geometry = choose_geometry(33 * MIB)
    largest = (geometry.clusters - 1) * geometry.cluster_size
    path = write(tmp_path / "fat", {"A": b"x" * largest}, size=33 * MIB, label="")
    output_of("fsck.fat", "-n", path)


def test_cluster_numbers_beyond_16_bits(tmp_path: Path) -> None:
    files = {"A": b"x" * 34 * MIB, "B": b"after the 65,536th cluster"}
    assert read(write(tmp_path / "fat", files, size=40 * MIB)).files == files


def test_a_root_directory_has_room_for_512_entries_only_where_it_is_fixed(tmp_path: Path) -> None:
    many = {f"F{number}": b"" for number in range(512)}
    assert len(read(write(tmp_path / "fat", many, label="")).files) == 512
    with pytest.raises(OutputError, match="no room for so many names"):
        write(tmp_path / "fat", many, label="ONE-MORE")
    assert len(read(write(tmp_path / "fat", many, size=40 * MIB)).files) == 512


@given(st.integers(64, TIB // SECTOR))
def test_the_kind_of_fat_follows_from_its_clusters(sectors: int) -> None:
    check_geometry(sectors)


@pytest.mark.parametrize("near", [range(64, 9000), range(66_000, 68_000)])
def test_every_size_near_the_limits(near: range) -> None:
    for sectors in near:
        check_geometry(sectors)


def check_geometry(sectors: int) -> None:
    """Stay 16 clusters away from where readers that count a little differently would see another FAT."""
    geometry = choose_geometry(sectors * SECTOR)
    clusters = geometry.clusters
    assert geometry.bits == (12 if clusters < 4085 - 16 else 16 if clusters < 65525 - 16 else 32)
    assert geometry.bits == 12 or clusters >= {16: 4085, 32: 65525}[geometry.bits] + 16
    assert geometry.sectors_per_fat * SECTOR * 8 >= (clusters + 2) * geometry.bits
    assert geometry.sectors_per_cluster in (1, 2, 4, 8, 16, 32, 64)
    assert geometry.data_start + clusters * geometry.sectors_per_cluster <= sectors


@pytest.mark.parametrize("size", [0, 16 * KIB, 2 * TIB])
def test_sizes_that_no_fat_covers(size: int) -> None:
    with pytest.raises(LayoutError, match="only 32 KiB to 2 TiB"):
        choose_geometry(size)
