"""Extended attributes that layers bring along: which of them belong to the tree.

`security.capability`, POSIX ACLs and `user.*` do. What labels a machine's own policy (`security.selinux`, `ima`,
`evm`) or only means something to the storage that a layer came from (`trusted.*`, `user.overlay.*`, what rootless
engines note in `user.*`) does not.
"""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Final
from urllib.parse import unquote_to_bytes

from dibo.images.layers import acl
from dibo.images.layers.tar_header import Malformed

CAPABILITY: Final = b"security.capability"
ACL: Final = b"system.posix_acl_access"
_SCHILY: Final = b"SCHILY.xattr."
_LIBARCHIVE: Final = b"LIBARCHIVE.xattr."
ACL_KEYWORDS: Final = {
    b"system.posix_acl_access": b"SCHILY.acl.access",
    b"system.posix_acl_default": b"SCHILY.acl.default",
}
_ACLS: Final = {keyword: name for name, keyword in ACL_KEYWORDS.items()}
_KEPT: Final = frozenset((CAPABILITY, *ACL_KEYWORDS))
_BOOKKEEPING: Final = (b"user.overlay.", b"trusted.overlay.", b"user.fuseoverlayfs.")
"""What overlays note for themselves on every directory they touch: not needed elsewhere, so dropped without a word."""
_STORAGE: Final = (b"user.overlay.", b"user.containers.", b"user.rootlesscontainers", b"user.fuseoverlayfs.")


def from_records(records: dict[bytes, bytes], dropped: set[bytes]) -> dict[bytes, bytes] | None:
    """Those to keep, as getxattr(2) would give them; names of others go to `dropped`."""
    attributes: dict[bytes, bytes] = {}
    texts: dict[bytes, bytes] = {}
    for keyword, value in records.items():
        if keyword.startswith(_SCHILY):
            attributes[_decode_keyword(keyword[len(_SCHILY) :])] = value
        elif keyword.startswith(_LIBARCHIVE):
            attributes.setdefault(unquote_to_bytes(keyword[len(_LIBARCHIVE) :]), _decode(value))
        elif keyword in _ACLS and value:
            texts[_ACLS[keyword]] = value
    for name, text in texts.items():
        if name not in attributes:  # GNU tar and bsdtar say it twice
            binary = acl.from_text(text)
            if binary is None:
                dropped.add(ACL_KEYWORDS[name])
            else:
                attributes[name] = binary
    if not attributes:
        return None
    kept = {}
    for name, value in attributes.items():
        if name in _KEPT or (name.startswith(b"user.") and not name.startswith(_STORAGE)):
            if not name[5:] or b"\0" in name or len(name) > 255:
                raise Malformed(f"it has an extended attribute of the name {name[:40]!r}")
            kept[name] = value
        elif not name.startswith(_BOOKKEEPING):
            dropped.add(name)
    if CAPABILITY in kept:
        capability = _without_root_id(kept.pop(CAPABILITY))
        if capability is None:
            dropped.add(CAPABILITY)
        else:
            kept[CAPABILITY] = capability
    return kept or None


def settle_acl(mode: int, attributes: dict[bytes, bytes]) -> int:
    """The mode that goes with the access ACL in `attributes`, which goes where the mode says all that it says."""
    if ACL in attributes:
        settled = acl.permissions(attributes[ACL])
        if settled is None:
            raise Malformed("it has an access ACL that is none")
        bits, is_all = settled
        mode = mode & ~0o777 | bits
        if is_all:
            del attributes[ACL]
    return mode


def encode_keyword(name: bytes) -> bytes:
    """A name as part of a PAX keyword, in which `=` cannot be (GNU tar, src/xheader.c, xattr_encode_keyword)."""
    return name.replace(b"%", b"%25").replace(b"=", b"%3D")


def _decode_keyword(name: bytes) -> bytes:
    return name.replace(b"%3D", b"=").replace(b"%25", b"%") if b"%" in name else name


def _decode(value: bytes) -> bytes:
    # libarchive leaves the padding out.
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error as error:
        raise Malformed("it has an extended attribute that is no base64") from error


def _without_root_id(value: bytes) -> bytes | None:
    """Version 3 of file capabilities names the user namespace that they hold in; outside it is version 2 (kernel,
    include/uapi/linux/capability.h, vfs_ns_cap_data). None where it is neither that nor another known version."""
    if len(value) not in (12, 20, 24):
        return None
    (magic,) = struct.unpack_from("<I", value)
    if {1: 12, 2: 20, 3: 24}.get(magic >> 24) != len(value):
        return None
    if magic >> 24 == 3:
        return struct.pack("<I", magic & 0x00FFFFFF | 0x02000000) + value[4:20]
    return value
