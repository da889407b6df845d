"""Where archives keep what they once had."""

from __future__ import annotations

import pytest

from dibo.build.archives.archive import PackageArchive
from dibo.build.archives.snapshots import snapshot_address
from dibo.errors import BaseError

DATE = "Date: Sat, 21 Nov 2026 09:15:44 UTC\n"


@pytest.mark.parametrize(
    ("address", "release", "snapshot"),
    [
        (
            "http://a.example/debian",
            "Snapshots: http://s.example/@SNAPSHOTID@/\n",
            "http://s.example/20261122T091544Z",
        ),
        (
            "http://deb.debian.org/debian",
            "",
            "https://snapshot.debian.org/archive/debian/20261122T091544Z",
        ),
        (
            "http://security.debian.org/debian-security/",
            "",
            "https://snapshot.debian.org/archive/debian-security/20261122T091544Z",
        ),
        ("http://a.example/debian", "", None),
        ("http://a.example/debian", "Snapshots: no\n", None),
        ("http://a.example/debian", "Snapshots: file:///x/@SNAPSHOTID@\n", None),
    ],
)
def test_snapshots(address: str, release: str, snapshot: str | None) -> None:
    archive = PackageArchive(address=address, suite="trixie")
    assert snapshot_address(archive, f"Origin: x\n{DATE}{release}") == snapshot


def test_a_state_without_a_date() -> None:
    archive = PackageArchive(address="http://deb.debian.org/debian", suite="trixie")
    with pytest.raises(BaseError, match="has no date"):
        snapshot_address(archive, "Origin: x\n")
