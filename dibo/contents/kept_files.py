"""Which files of an image an inventory reads: databases of packages and users, units, what the boot loader says."""

from __future__ import annotations

import re
from typing import Final

from dibo.boot.keep import is_text

MOST_BYTES: Final = 16 << 20
"""Of one such file; larger ones are not read, and a note says so."""
_FILES: Final = frozenset(
    (
        b"etc/passwd",
        b"etc/group",
        b"etc/shadow",
        b"etc/fstab",
        b"lib/apk/db/installed",
        b"usr/lib/apk/db/installed",
        b"etc/apk/arch",
        b"var/lib/dpkg/status",
        b"var/lib/dpkg/diversions",
        b"boot/grub2/grub.cfg",
        b"boot/grub/grubenv",
        b"boot/grub2/grubenv",
    )
)
_PATTERN: Final = re.compile(
    rb"var/lib/dpkg/(?:info/[^/]+\.list|status\.d/[^/]+)"
    rb"|(?:usr/)?lib/systemd/system(?:-preset)?/.+"
    rb"|etc/systemd/system(?:-preset)?/.+"
)


def is_read(path: bytes) -> bool:
    """Whether the bytes of the file at `path`, without its first slash, are needed."""
    return path in _FILES or _PATTERN.fullmatch(path) is not None or is_text(path)
