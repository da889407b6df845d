"""Types that dibo makes itself while it reads a root, beside those of converters with commands."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

from tests.support.images.boot_shapes import write_tar
from tests.support.images.oci_layouts import LayerTar, simple
from tests.support.readers.erofs_reader import ErofsReader
from tests.support.requirements import need


def converted(directory: Path, *options: str) -> str:
    """An image with one file, in these types; what was said."""
    tar = write_tar(directory / "root.tar", {"etc/motd": b"hello\n"})
    image = simple(directory / "image", [LayerTar(tar=tar, compression="none")])
    argv = [sys.executable, "-m", "dibo", "convert", f"oci:{image}:latest", "-o", str(directory / "web")]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(directory)}
    done = subprocess.run([*argv, "--bare", *options], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_disk_an_archive_and_a_file_system_in_one_reading(tmp_path: Path) -> None:
    need("tar")
    converted(tmp_path, "-t", "raw,tar,erofs")
    image = (tmp_path / "web.erofs").read_bytes()
    root = ErofsReader(lambda offset, size: image[offset : offset + size]).tree()
    assert root.children is not None
    etc = root.children[b"etc"].children
    assert etc is not None
    assert etc[b"motd"].content == {0: b"hello\n".ljust(4096, b"\0")}
    with tarfile.open(tmp_path / "web.tar") as tar:
        member = tar.extractfile("./etc/motd")
        assert member is not None
        assert member.read() == b"hello\n"


def test_a_converter_of_the_same_name(tmp_path: Path) -> None:
    """It gets what converters get; dibo writes nothing to its output."""
    converter = tmp_path / "converters" / "erofs"
    converter.mkdir(parents=True)
    (converter / "converter.yaml").write_text("takes: root\ncommand: [./convert]\n")
    (converter / "convert").write_text('#!/bin/sh\ncat >"$1"\n')
    (converter / "convert").chmod(0o755)
    converted(tmp_path, "-t", "erofs", "--converters-path", str(converter.parent))
    with tarfile.open(tmp_path / "web.erofs") as tar:
        assert "./etc/motd" in tar.getnames()


def test_the_row_of_a_file_with_holes_says_what_it_takes(tmp_path: Path) -> None:
    """As the answer does: a vhdx has a hole where a chunk is reserved."""
    converter = tmp_path / "converters" / "holes"
    converter.mkdir(parents=True)
    (converter / "converter.yaml").write_text("takes: root\ncommand: [./convert]\n")
    (converter / "convert").write_text('#!/bin/sh\ncat >"$1"\ntruncate -s 1G "$1"\n')
    (converter / "convert").chmod(0o755)
    said = converted(tmp_path, "-t", "holes", "--converters-path", str(converter.parent))
    row = next(line for line in said.splitlines() if line.startswith("holes: done"))
    assert "KiB)" in row
