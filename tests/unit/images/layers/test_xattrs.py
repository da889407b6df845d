"""Which extended attributes of a layer belong to the tree, and which of the others a user hears of."""

from __future__ import annotations

import pytest

from dibo.images.layers.xattrs import from_records


@pytest.mark.parametrize(
    ("name", "kept", "told"),
    [
        (b"user.mine", True, False),
        (b"security.capability", True, False),
        (b"security.selinux", False, True),
        (b"trusted.mine", False, True),
        (b"user.containers.override_stat", False, True),
        (b"user.overlay.origin", False, False),  # on every directory that a rootless engine touched
        (b"trusted.overlay.impure", False, False),
        (b"user.fuseoverlayfs.opaque", False, False),
    ],
)
def test_what_stays_and_what_is_told(name: bytes, kept: bool, told: bool) -> None:
    dropped: set[bytes] = set()
    value = bytes.fromhex("0000000200000000000000000000000000000000")
    found = from_records({b"SCHILY.xattr." + name: value}, dropped)
    assert (found == {name: value}, dropped == {name}) == (kept, told)
