"""Licenses that packages declare, in Debian's names and in those of SPDX."""

from __future__ import annotations

import stat

import pytest

from dibo.contents.licenses import debian_license, license_reference
from dibo.tree.node import Node

LISTED = {
    name.lower(): name
    for name in (
        "MIT",
        "GPL-2.0-or-later",
        "GPL-2.0-only",
        "LGPL-2.1-or-later",
        "GFDL-1.3-no-invariants-only",
    )
} | {"bsd-3-clause": "BSD-3-Clause", "apache-2.0": "Apache-2.0"}
FORMAT = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"


def root_with(copyright_text: str) -> Node:
    node = Node(stat.S_IFREG | 0o644)
    node.data = copyright_text.encode()
    for name in (b"copyright", b"x", b"doc", b"share", b"usr"):
        parent = Node(stat.S_IFDIR | 0o755)
        parent.children = {name: node}
        node = parent
    return node


def declared(copyright_text: str) -> str | None:
    return debian_license(root_with(copyright_text), "x", lambda name: LISTED.get(name.lower()))


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("GPL-2+", "GPL-2.0-or-later"),
        ("GPL-2", "GPL-2.0-only"),
        ("LGPL-2.1+", "LGPL-2.1-or-later"),
        ("Expat", "MIT"),
        ("bsd-3-clause", "BSD-3-Clause"),
        ("Apache-2", "Apache-2.0"),
        ("GFDL-NIV-1.3", "GFDL-1.3-no-invariants-only"),
        ("GPL-2+ or Expat", "GPL-2.0-or-later OR MIT"),
        ("GPL-2+, and Expat", "GPL-2.0-or-later AND MIT"),
        ("public-domain", "LicenseRef-public-domain"),
        ("GPL-3+ with Bison exception", "LicenseRef-GPL-3-or-later-with-Bison-exception"),
        ("GPL-2 and Expat, or Artistic", "LicenseRef-GPL-2-and-Expat-or-Artistic"),
        ("GPL-9", "LicenseRef-GPL-9"),
    ],
)
def test_one_name(name: str, expression: str) -> None:
    assert declared(f"{FORMAT}\nFiles: *\nCopyright: who\nLicense: {name}\n the text\n") == expression


def test_all_paragraphs_with_files_count_once() -> None:
    text = (
        f"{FORMAT}\nFiles: *\nLicense: GPL-2+ or Expat\n\nFiles: a b\nLicense: bsd-3-clause\n\n"
        "Files: c\nLicense: bsd-3-clause\n\nLicense: unused\n text\n"
    )
    assert declared(text) == "BSD-3-Clause AND (GPL-2.0-or-later OR MIT)"


@pytest.mark.parametrize("text", ["", "This package was debianized by hand.\nLicense: MIT\n", FORMAT])
def test_what_no_machine_reads(text: str) -> None:
    assert declared(text) is None


def test_a_package_without_a_notice() -> None:
    assert debian_license(root_with(FORMAT), "other", lambda _: None) is None


def test_a_reference_has_only_letters_that_spdx_allows() -> None:
    assert license_reference("a b/c+\x1b[31m<x>") == "LicenseRef-a-b-c-or-later-31m-x"
    assert license_reference("\u2603") == "LicenseRef-unknown"
    assert len(license_reference("x" * 1000)) < 120
