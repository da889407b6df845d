"""PE images and unified kernel images, beside what objcopy makes and reads."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from dibo.errors import LayoutError
from dibo.formats.pe import MACHINES, UNIFIED_SECTIONS, read_headers, sections, unified_image
from tests.support.requirements import need, unmet

STUB = Path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")


@pytest.fixture(scope="module")
def stub() -> bytes:
    if not STUB.is_file():
        unmet(f"no {STUB}: install systemd-boot-efi")
    return STUB.read_bytes()


def kernel(*, image_size: int = 0x30000) -> bytes:
    """An image with the headers of a kernel, and no section."""
    optional = struct.pack("<H54xII", 0x20B, image_size, 0x200).ljust(112 + 16 * 8, b"\0")
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", MACHINES["amd64"], 0, 0, 0, 0, len(optional), 0)
    return (b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + coff + optional).ljust(5000, b"k")


PARTS = {
    ".osrel": b"ID=x\n",
    ".cmdline": b"root=UUID=1 ro",
    ".uname": b"6.1",
    ".initrd": b"i" * 10_001,
    ".linux": kernel(),
}


def test_sections_are_there_and_the_stub_is_as_it_was(stub: bytes) -> None:
    made = unified_image(stub, architecture="amd64", parts=PARTS)
    before, after = sections(stub), sections(made)
    assert {name: after[name] for name in before} == before
    assert {name: after[name][: len(data)] for name, data in PARTS.items()} == PARTS
    assert not after[".linux"][len(PARTS[".linux"]) :].strip(b"\0")
    assert list(after)[-5:] == list(UNIFIED_SECTIONS)


def test_headers_say_what_is_in_the_file(stub: bytes) -> None:
    made = unified_image(stub, architecture="amd64", parts=PARTS)
    headers = read_headers(made)
    assert headers is not None
    end = 0
    for section in headers.sections[-5:]:
        assert section.address % 4096 == 0
        assert section.address >= end
        assert section.offset % headers.file_alignment == section.stored % headers.file_alignment == 0
        assert section.offset + section.stored <= len(made)
        end = section.address + section.size
    assert headers.image_size >= end
    assert headers.sections[-1].size == 0x30000  # what the kernel unpacks to
    assert headers.table_at + 40 * len(headers.sections) <= headers.headers_size


def test_objcopy_reads_the_sections_back(stub: bytes, tmp_path: Path) -> None:
    need("objcopy")
    image = tmp_path / "image.efi"
    image.write_bytes(unified_image(stub, architecture="amd64", parts=PARTS))
    for name, data in PARTS.items():
        out = tmp_path / "section"
        argv = ["objcopy", "-O", "binary", "--only-section", name, str(image), str(out)]
        subprocess.run(argv, check=True)
        assert out.read_bytes().rstrip(b"\0") == data.rstrip(b"\0")


def test_it_is_the_image_that_objcopy_makes(stub: bytes, tmp_path: Path) -> None:
    """objcopy is told the same addresses; it writes the sections of the stub in another order of bytes, so sections
    are compared, with their places in memory."""
    need("objcopy")
    ours = read_headers(unified_image(stub, architecture="amd64", parts=PARTS))
    assert ours is not None
    argv = ["objcopy"]
    for section in ours.sections[-5:]:
        file = tmp_path / section.name[1:]
        file.write_bytes(PARTS[section.name])
        argv += ["--add-section", f"{section.name}={file}"]
        argv += ["--change-section-vma", f"{section.name}={section.address:#x}"]
    target = tmp_path / "objcopy.efi"
    subprocess.run([*argv, str(STUB), str(target)], check=True, capture_output=True)
    made = target.read_bytes()
    theirs = read_headers(made)
    assert theirs is not None
    assert [(s.name, s.address) for s in theirs.sections] == [(s.name, s.address) for s in ours.sections]
    assert {name: sections(made)[name][: len(data)] for name, data in PARTS.items()} == PARTS
    assert (theirs.machine, theirs.is_plus, theirs.file_alignment) == (
        ours.machine,
        ours.is_plus,
        ours.file_alignment,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stub: b"text", "no program for UEFI on amd64"),
        (lambda stub: stub[:0x84] + b"\xaa\xaa" + stub[0x86:], "no program for UEFI on amd64"),
        (lambda stub: unified_image(stub, architecture="amd64", parts=PARTS), "it has .cmdline already"),
    ],
    ids=["no-image", "another-machine", "an-image-already"],
)
def test_a_stub_that_is_none(stub: bytes, change, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(LayoutError, match=message):
        unified_image(change(stub), architecture="amd64", parts=PARTS)


def test_headers_without_room(stub: bytes) -> None:
    headers = read_headers(stub)
    assert headers is not None
    at = headers.optional_at + 60
    tight = stub[:at] + struct.pack("<I", headers.table_at + 40 * len(headers.sections)) + stub[at + 4 :]
    with pytest.raises(LayoutError, match="no room"):
        unified_image(tight, architecture="amd64", parts=PARTS)


def test_a_head_that_is_cut_short(stub: bytes) -> None:
    for size in range(700):
        try:
            headers = read_headers(stub[:size])
        except LayoutError:
            continue
        assert headers is None or size >= headers.table_at


def test_what_is_no_image() -> None:
    assert read_headers(b"\x7fELF") is None
    assert read_headers(b"MZ" + b"\xff" * 100) is None
    assert sections(b"") == {}


def crafted(
    *, count: int = 1, alignments: tuple[int, int] = (4096, 512), headers_size: int = 1024, **row: int
) -> bytes:
    """A stub with sections that are all alike."""
    optional = struct.pack("<H30xII16xII", 0x20B, *alignments, 8192, headers_size).ljust(108, b"\0")
    optional = (optional + struct.pack("<I", 16)).ljust(240, b"\0")
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", MACHINES["amd64"], count, 0, 0, 0, len(optional), 0)
    numbers = {"size": 512, "address": 4096, "stored": 512, "offset": 1024, **row}
    rows = struct.pack("<8s4I12xI", b".text", *numbers.values(), 0) * count
    return (b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + coff + optional + rows).ljust(1536, b"\0")


def test_a_crafted_stub_that_is_sound() -> None:
    assert list(sections(unified_image(crafted(), architecture="amd64", parts=PARTS)))[1:] == list(
        UNIFIED_SECTIONS
    )


@pytest.mark.parametrize(
    ("stub", "words"),
    [
        (crafted(count=0), "no sections"),
        (crafted(alignments=(4096, 0)), "FileAlignment is 0"),
        (crafted(alignments=(0, 512)), "SectionAlignment is 0"),
        (crafted(alignments=(4096, 1 << 30)), "FileAlignment"),
        (crafted(alignments=(4096, 3)), "power of 2"),
        (crafted(offset=1 << 30), "outside of the file"),
        (crafted(stored=1 << 31), "outside of the file"),
        (crafted(offset=0, stored=100), "on its headers"),
        (crafted(offset=0, stored=0), "no room"),
        (crafted(headers_size=0xFFFFFFFF), "on its headers"),
        (crafted(headers_size=400, offset=400), "no room"),
        (crafted(address=0xFFFFF000, size=0xFFFFFFFF), "4 GiB"),
    ],
)
def test_stubs_whose_headers_lie(stub: bytes, words: str) -> None:
    with pytest.raises(LayoutError, match=words) as caught:
        unified_image(stub, architecture="amd64", parts=PARTS)
    assert caught.value.hint


def test_a_kernel_that_says_it_takes_all_memory(stub: bytes) -> None:
    with pytest.raises(LayoutError, match="4 GiB"):
        unified_image(stub, architecture="amd64", parts={**PARTS, ".linux": kernel(image_size=0xFFFFFFFF)})
