"""Packages, as dpkg's database says."""

from __future__ import annotations

from dibo.tree.dpkg import Package, installed, parse
from tests.support.node_trees import tree

STATUS = """\
Package: libc6
Status: install ok installed
Multi-Arch: same
Architecture: amd64
Version: 2.41-12
Description: GNU C Library
 Package: not-one
 .
 text

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: held
Status: hold ok installed
Architecture: all
Version: 1:2~rc1-3
"""
LIBC = Package(name="libc6", version="2.41-12", architecture="amd64")
HELD = Package(name="held", version="1:2~rc1-3", architecture="all")


def test_those_that_are_installed() -> None:
    assert parse(STATUS) == (LIBC, HELD)


def test_no_text_is_no_package() -> None:
    assert parse("") == ()
    assert parse("\n\nVersion: 1\n") == ()


def test_of_a_tree() -> None:
    assert installed(tree({"var/lib/dpkg/status": STATUS.encode()})) == (HELD, LIBC)
    assert installed(tree({"etc/os-release": b""})) is None


def test_of_images_without_dpkg() -> None:
    paragraphs = STATUS.split("\n\n")
    found = tree(
        {
            "var/lib/dpkg/status.d/libc6": paragraphs[0]
            .replace("Status: install ok installed\n", "")
            .encode(),
            "var/lib/dpkg/status.d/libc6.md5sums": b"0 usr/lib/x",
            "var/lib/dpkg/status.d/held": paragraphs[2].encode(),
        }
    )
    assert installed(found) == (HELD, LIBC)
