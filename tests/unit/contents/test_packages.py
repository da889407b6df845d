"""Packages and owners of files, as dpkg and apk have them; databases that are hostile."""

from __future__ import annotations

import pytest

from dibo.contents.inventory import InstalledPackage
from dibo.contents.packages import PackageDatabase
from tests.support.node_trees import tree

APK = """\
C:Q1abc=
P:musl
V:1.2.5-r0
A:x86_64
I:622592
T:the musl c library
o:musl
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755
R:libc.musl-x86_64.so.1

P:ssl_client
V:1.36
A:x86_64
o:busybox
F:usr
F:usr/bin
R:ssl_client
"""


def test_apk() -> None:
    database = PackageDatabase(tree({"lib/apk/db/installed": APK.encode()}))
    assert database.packages == (
        InstalledPackage(
            name="musl",
            architecture="x86_64",
            version="1.2.5-r0",
            manager="apk",
            size=622592,
            summary="the musl c library",
        ),
        InstalledPackage(
            name="ssl_client", architecture="x86_64", version="1.36", manager="apk", source="busybox"
        ),
    )
    assert database.owners == {
        b"lib/ld-musl-x86_64.so.1": "musl",
        b"lib/libc.musl-x86_64.so.1": "musl",
        b"usr/bin/ssl_client": "ssl_client",
    }


def test_owners_of_dpkg_with_diversions_and_shared_directories() -> None:
    info = "var/lib/dpkg/info"
    root = tree(
        {
            "var/lib/dpkg/status": b"Package: a\nVersion: 1\nArchitecture: amd64\n",
            f"{info}/a:amd64.list": b"/.\n/usr\n/usr/bin\n/usr/bin/a\n/bin/sh\n",
            f"{info}/dash.list": b"/.\n/usr\n/usr/bin/dash\n",
            "var/lib/dpkg/diversions": b"/bin/sh\n/bin/sh.distrib\ndash\n",
        }
    )
    owners = PackageDatabase(root).owners
    assert owners[b"usr/bin/a"] == "a"
    assert owners[b"usr"] == "", "two packages have it"
    assert owners[b"usr/bin/dash"] == "dash"
    assert (owners.get(b"bin/sh"), owners[b"bin/sh.distrib"]) == (None, "a")


def test_rpm_is_a_note() -> None:
    database = PackageDatabase(tree({"var/lib/rpm/rpmdb.sqlite": b""}))
    assert database.packages is None
    assert database.notes == ("packages of rpm are not read: their database is in /var/lib/rpm",)


@pytest.mark.parametrize(
    "status",
    [
        b"Package: x\nInstalled-Size: 99999999999999999999999\n",
        b"Package: x\nInstalled-Size: -1\nVersion\n",
        b"\xff\xfe: \nPackage: x\n",
        b"Package: x\n" * 3,
        "Package: x\nInstalled-Size: \N{SUPERSCRIPT TWO}\n".encode(),
    ],
)
def test_hostile_status(status: bytes) -> None:
    database = PackageDatabase(tree({"var/lib/dpkg/status": status}))
    assert [(package.name, package.size) for package in database.packages or ()] == [("x", 0)]


def test_nothing() -> None:
    database = PackageDatabase(tree({"etc/motd": b""}))
    assert (database.packages, database.owners, database.notes) == (None, {}, ())
