"""Images that no tool would write, and that somebody's tool has written: layers member by member, and large ones."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.support.images.corpus_workspace import CorpusWorkspace, Sample
from tests.support.images.oci_layouts import LayerTar, OciLayout, Tar, simple
from tests.support.images.oracle import by_tar, command, unpacked
from tests.support.images.sample_tree import BIG
from tests.support.images.tree_entries import walk

MANY = 100_000


def _two(shop: CorpusWorkspace, first: Callable[[Tar], None], second: Callable[[Tar], None]) -> Sample:
    made = []
    for name, fill in (("first", first), ("second", second)):
        tar = Tar(shop.new(f"{name}.tar"))
        fill(tar)
        made.append(LayerTar(tar=tar.close()))
    layout = simple(shop.new("layout"), made)
    return Sample(reference=f"oci:{layout}:latest", oracle=lambda: unpacked(layout, "latest", shop.place))


def _ground(tar: Tar) -> None:
    tar.directory("./", mtime=1_111_111_111)
    for name in ("etc", "usr", "usr/lib", "usr/lib/data", "srv", "srv/a", "srv/b"):
        tar.directory(name, mtime=1_222_222_222, mode=0o750)
        tar.add(f"{name}/file", name.encode(), uid=7, gid=8)
    tar.symlink("lib", "usr/lib")
    tar.symlink("up", "../../usr/lib")
    tar.symlink("absolute", "/usr/lib")
    tar.link("etc/linked", "usr/lib/file")
    tar.link("etc/linked-too", "usr/lib/file")


def parents_that_no_entry_names() -> tuple[Callable[[Tar], None], Callable[[Tar], None]]:
    def second(tar: Tar) -> None:
        tar.add("usr/lib/data/more", b"below directories of the first layer")
        tar.add("srv/./b/dotted", b"a name with a dot in it")
        tar.add("/absolute-name", b"from the top")
        tar.add(".//srv//double", b"two slashes")

    return _ground, second


def parents_that_are_symlinks() -> tuple[Callable[[Tar], None], Callable[[Tar], None]]:
    def second(tar: Tar) -> None:
        tar.add("lib/through-a-link", b"relative")
        tar.add("up/through-dots", b"out of the top, and so back to it")
        tar.add("absolute/through-absolute", b"absolute")

    return _ground, second


def hard_links_across_whiteouts() -> tuple[Callable[[Tar], None], Callable[[Tar], None]]:
    """A file of the first layer is removed under one name while another name keeps it; a layer links to files below."""

    def second(tar: Tar) -> None:
        tar.whiteout("usr/lib/file")
        tar.directory("etc", mtime=1_333_333_333)
        tar.link("etc/again", "etc/linked-too")
        tar.link("srv/elsewhere", "srv/a/file")
        tar.whiteout("srv/b/file")

    return _ground, second


def opaque_directory_after_its_children() -> tuple[Callable[[Tar], None], Callable[[Tar], None]]:
    def second(tar: Tar) -> None:
        tar.directory("usr/lib", mtime=1_333_333_333, mode=0o711)
        tar.add("usr/lib/new", b"of the layer that hides")
        tar.opaque("usr/lib")
        tar.directory("srv", mtime=1_333_333_334)
        tar.opaque("srv")

    return _ground, second


def types_that_change() -> tuple[Callable[[Tar], None], Callable[[Tar], None]]:
    def second(tar: Tar) -> None:
        tar.add("srv/a", b"a directory became a file")
        tar.symlink("srv/b", "../usr")
        tar.directory("etc/file", mtime=5)
        tar.add("etc/file/inside", b"a file became a directory")
        tar.directory("lib", mtime=6)
        tar.add("lib/inside", b"a symlink became a directory")
        tar.add("usr/lib/data", kind=tarfile.FIFOTYPE)
        tar.add("up", kind=tarfile.CHRTYPE, devmajor=1, devminor=5)

    return _ground, second


def entries_that_come_twice() -> tuple[Callable[[Tar], None], Callable[[Tar], None]]:
    def second(tar: Tar) -> None:
        tar.add("etc/twice", b"the first")
        tar.add("etc/twice", b"the last one counts", mtime=3)
        tar.add("etc/kind", b"a file")
        tar.symlink("etc/kind", "twice")
        tar.directory("etc", mtime=1)
        tar.directory("etc", mtime=2, mode=0o701)

    return _ground, second


def numbers_out_of_octal() -> tuple[Callable[[Tar], None], Callable[[Tar], None]]:
    """Ids and times in PAX records that a header has no room for."""

    def second(tar: Tar) -> None:
        for number in (65_535, 65_536, 2_097_151, 2_097_152, 4_294_967_294):
            tar.add(f"etc/id-{number}", b"x", uid=number, gid=number)
        for time in ("1234567890.987654321", "-1.25", "-1.75", "0.000000001", "4000000000.5"):
            tar.add(f"etc/time-{time}", b"x", pax_headers={"mtime": time})
        tar.directory("etc", pax_headers={"mtime": "1500000000.5"})

    return _ground, second


def base_256() -> tuple[Callable[[Tar], None], Callable[[Tar], None]]:
    """The same in GNU's binary numbers: negative times, large ids. GNU's long names and long link names."""

    def second(tar: Tar) -> None:
        tar.add("etc/negative", b"x", mtime=-5)
        tar.add("etc/large", b"x", uid=3_000_000, gid=4_000_000_000, mtime=9_000_000_000)
        tar.add("etc/" + "n" * 255, b"long name")
        tar.symlink("etc/long-target", "t/" * 600 + "t")
        tar.add(b"etc/" + b"\xff" * 200, b"not UTF-8")
        tar.directory("etc", mtime=1)

    return _ground, second


STACKS = (
    parents_that_no_entry_names,
    parents_that_are_symlinks,
    hard_links_across_whiteouts,
    opaque_directory_after_its_children,
    types_that_change,
    entries_that_come_twice,
    numbers_out_of_octal,
    base_256,
)


def stack_of(
    make: Callable[[], tuple[Callable[[Tar], None], Callable[[Tar], None]]], shop: CorpusWorkspace
) -> Sample:
    return _two(shop, *make())


def two_architectures(shop: CorpusWorkspace) -> Path:
    """An index `both` of two images, each also under its own tag."""
    layout = OciLayout(shop.new("layout"))
    found = {}
    for architecture in ("amd64", "arm64"):
        tar = Tar(shop.new(f"{architecture}.tar"))
        tar.directory("etc")
        tar.add("etc/architecture", architecture.encode())
        descriptor = layout.image([LayerTar(tar=tar.close())], architecture=architecture)
        found[architecture] = {**descriptor, "platform": {"os": "linux", "architecture": architecture}}
    layout.write_index({"both": layout.index(found.values()), **found})
    return layout.directory


def many_files(shop: CorpusWorkspace) -> Sample:
    """A directory of 100,000 empty files with long names, by the hand of Python's tarfile."""
    tar = Tar(shop.new("many.tar"), tarfile.GNU_FORMAT)
    tar.directory("./")
    tar.directory("many")
    for number in range(MANY):
        tar.add(f"many/a-file-with-a-name-of-some-length-{number:07}", mtime=number)
    return _one(shop, tar.close(), "zstd")


def large_file(shop: CorpusWorkspace) -> Sample:
    """A file of more than 4 GiB, with little in it, packed as GNU tar packs sparse files."""
    source = shop.new("source")
    source.mkdir()
    with (source / "large").open("wb") as file:
        for offset in (0, (1 << 32) - 3000, BIG - 9000):
            file.seek(offset)
            file.write(os.urandom(6000))
        file.truncate(BIG)
    os.utime(source, ns=(10**18, 10**18))
    tar = shop.new("large.tar")
    options = ("--format=posix", "--sparse", "--numeric-owner")
    command("tar", "-C", source, *options, "-cf", tar, ".")
    return _one(shop, tar, "zstd")


def large_file_with_no_holes_said(shop: CorpusWorkspace) -> Sample:
    """The same size, as a plain member: zeros that come from the layer are data to whoever reads it. The layer is not
    compressed, and a sparse file itself."""
    source, tar = shop.new("source"), Tar(shop.new("large.tar"))
    source.mkdir()
    with (source / "large").open("wb") as file:
        file.write(b"head")
        file.truncate((1 << 32) + 5)
    size = (source / "large").stat().st_size
    tar.directory("./")
    tar.add("large", change=lambda member: setattr(member, "size", size))
    path = tar.close()
    with path.open("r+b") as file:
        file.truncate(2 * 512)
        file.seek(2 * 512)
        file.write(b"head")
        file.truncate(2 * 512 + -(-size // 512) * 512 + 1024)
    for each in (source / "large", source):
        os.utime(each, (1_000_000_000, 1_000_000_000))
        each.chmod(0o755 if each == source else 0o644)
    return replace(_one(shop, path, "none"), oracle=lambda: walk(source))


def _one(shop: CorpusWorkspace, tar: Path, compression: str) -> Sample:
    layout = simple(shop.new("layout"), [LayerTar(tar=tar, compression=compression)])
    return Sample(reference=f"oci:{layout}:latest", oracle=lambda: by_tar(tar, shop.place))
