"""How much of a file system its own tables take: foretold, and as the real mke2fs makes it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from dibo.build.engine import BuildDirectory
from dibo.disk.programs.mke2fs import (
    FileSystemWish,
    Usage,
    check_fits,
    holds,
    make_filesystem,
    overhead,
    smallest,
)
from dibo.disk.request import TYPES
from dibo.errors import ConverterError, ImageTooSmall
from dibo.formats.ext4.layout import BLOCK
from dibo.layout.identity import identify
from dibo.system import process, resources
from dibo.units import GIB, MIB
from tests.support.requirements import need

# Among them: the limits at which journals grow (128 MiB, 1 GiB, 16 GiB), and last groups that are too small to be one.
SIZES = [64, 100, 127, 128, 129, 200, 600, 1024, 1025, 2048, 5120, 16 * 1024 - 1, 16 * 1024, 20 * 1024]


def taken(directory: Path, size: int, *, inodes: int, kind: str) -> int:
    """Bytes that mke2fs took."""
    image = directory / "image"
    image.touch()
    os.truncate(image, size)
    config = resources.shared("converters") / "raw" / "mke2fs.conf"
    argv = ["mke2fs", "-q", "-F", "-t", kind, "-b", str(BLOCK), "-N", str(inodes), "-E", "nodiscard"]
    process.run([*argv, str(image), str(size // BLOCK)], env={"MKE2FS_CONFIG": str(config)})
    said = process.run(["dumpe2fs", "-h", str(image)], capture=True).stdout
    image.unlink()
    free = re.search(r"^Free blocks: +(\d+)$", said, re.MULTILINE)
    assert free is not None
    return size - int(free[1]) * BLOCK


@pytest.mark.parametrize("mebibytes", SIZES)
def test_as_much_as_mke2fs_takes(tmp_path: Path, mebibytes: int) -> None:
    need("mke2fs")
    size = mebibytes * MIB
    found = taken(tmp_path, size, inodes=size // 16384, kind="ext4")
    foretold = overhead(size, inodes=size // 16384)
    assert found <= foretold <= found + 80 * BLOCK


@pytest.mark.parametrize(
    ("mebibytes", "inodes"), [(64, 30_001), (129, 32_768), (600, 120_001), (1025, 240_000)]
)
def test_many_small_files_take_larger_tables(tmp_path: Path, mebibytes: int, inodes: int) -> None:
    need("mke2fs")
    size = mebibytes * MIB
    found = taken(tmp_path, size, inodes=inodes, kind="ext4")
    assert found <= overhead(size, inodes=inodes) <= found + 80 * BLOCK


@pytest.mark.parametrize("kind", ["ext2", "ext3"])
@pytest.mark.parametrize("mebibytes", [64, 1025, 5120])
def test_the_elders(tmp_path: Path, mebibytes: int, kind: str) -> None:
    need("mke2fs")
    size = mebibytes * MIB
    found = taken(tmp_path, size, inodes=size // 16384, kind=kind)
    assert found <= overhead(size, inodes=size // 16384, type=kind) <= found + size // 200


@pytest.mark.parametrize("blocks", [0, 1, 1000, 30_000, 240_000, 1_000_000])
@pytest.mark.parametrize("inodes", [1, 10_000, 300_000])
def test_the_smallest_holds_it_and_one_mib_less_does_not(blocks: int, inodes: int) -> None:
    usage = Usage(inodes=inodes, blocks=blocks)
    size = smallest(usage)
    assert holds(size, usage)
    assert size == MIB or not holds(size - MIB, usage)


def wish(size: int) -> FileSystemWish:
    return FileSystemWish(type="ext4", label="x", offset=0, size=size, ids=identify("", "root"))


def test_a_root_that_does_not_fit_says_how_much_is_missing_and_who_set_the_size() -> None:
    usage = Usage(inodes=40_000, blocks=3 * GIB // BLOCK)
    with pytest.raises(ImageTooSmall) as caught:
        check_fits(usage, wish(2 * GIB), image_size=2 * GIB, set_by="web's block-device-size.d/10-size")
    missing = smallest(usage) - 2 * GIB
    assert f"{missing / GIB:.3g} GiB are missing" in caught.value.message
    assert "3 GiB in 40000 files" in caught.value.message
    assert caught.value.hint.startswith("web's block-device-size.d/10-size set the size; --image-size 3.2 ")
    with pytest.raises(ImageTooSmall) as caught:
        check_fits(usage, wish(2 * GIB), image_size=2 * GIB, set_by="--image-size")
    assert caught.value.hint == "--image-size 3.2 is enough"
    check_fits(usage, wish(int(3.2 * GIB)), image_size=int(3.2 * GIB), set_by="")


def test_a_size_at_which_the_journal_is_larger_can_hold_less() -> None:
    usage = Usage(inodes=100, blocks=29_500)
    assert smallest(usage) < 128 * MIB
    with pytest.raises(ImageTooSmall):
        check_fits(usage, wish(128 * MIB), image_size=128 * MIB, set_by="")


def test_names_of_types_are_those_of_mke2fs_conf() -> None:
    text = (resources.shared("converters") / "raw" / "mke2fs.conf").read_text()
    assert set(re.findall(r"^\t(\w+) = \{", text, re.MULTILINE)) == {
        *TYPES,
        "floppy",
        "small",
        "big",
        "huge",
    }


def test_options_of_the_user_take_the_place_of_those_of_dibo(tmp_path: Path) -> None:
    """The real mke2fs, on an empty directory: its journal, its inodes, and extended options beside dibo's."""
    need("mke2fs", "dumpe2fs")
    (tmp_path / "root").mkdir()
    here = cast("BuildDirectory", Here(tmp_path / "root"))
    image = tmp_path / "image"
    image.touch()
    os.truncate(image, 128 * MIB)
    options = ("-J", "size=8", "-i", "65536", "-E", "resize=1000000", "-O", "^metadata_csum")
    made = replace(wish(128 * MIB), options=options)
    make_filesystem(
        here,
        image,
        wish=made,
        usage=Usage(inodes=1, blocks=1),
        epoch=0,
        on_output=lambda _: None,
    )
    said = process.run(["dumpe2fs", "-h", str(image)], capture=True).stdout
    assert re.search(r"^Total journal size: +8M$", said, re.MULTILINE)
    assert re.search(r"^Inode count: +2048$", said, re.MULTILINE)
    assert re.search(r"^Filesystem volume name: +x$", said, re.MULTILINE)
    assert "metadata_csum" not in said
    with pytest.raises(ConverterError, match="mke2fs ended with exit code 1") as caught:
        bad = replace(made, options=("-O", "no_such_feature"))
        make_filesystem(
            here,
            image,
            wish=bad,
            usage=Usage(inodes=1, blocks=1),
            epoch=0,
            on_output=lambda _: None,
        )
    assert caught.value.hint == "its options are -O no_such_feature"


class Here:
    """A directory of this machine, as an engine gives one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def process(self, argv: Sequence[str], *, on_output: process.OnOutput) -> process.Process:
        return process.Process(
            argv, env={"ROOT": str(self._path)}, streams=process.Streams(on_output=on_output)
        )
