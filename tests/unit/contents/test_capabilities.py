"""Capabilities out of the attribute that files have them in."""

from __future__ import annotations

import struct

import pytest

from dibo.contents.capabilities import capability_names
from tests.support.images.image_forms import CAPABILITY


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (CAPABILITY, ("cap_net_raw",)),
        (
            struct.pack("<5I", 2 << 24, 1 | 1 << 10, 0, 1 << (40 - 32), 0),
            ("cap_chown", "cap_net_bind_service", "cap_checkpoint_restore"),
        ),
        (struct.pack("<6I", 3 << 24, 1 << 21, 0, 0, 0, 1000), ("cap_sys_admin",)),
        (struct.pack("<3I", 1 << 24, 1 << 12, 0), ("cap_net_admin",)),
        (struct.pack("<5I", 2 << 24, 0, 0, 1 << 31, 0), ("cap_63",)),
        (b"", ("unknown",)),
        (b"\1\2\3", ("unknown",)),
        (CAPABILITY + b"\0", ("unknown",)),
    ],
)
def test_names(value: bytes, expected: tuple[str, ...]) -> None:
    assert capability_names(value) == expected
