"""Modes and access ACLs agree, as the kernel sees to it that they do."""

from __future__ import annotations

import pytest

from dibo.images.layers import acl, xattrs
from dibo.images.layers.tar_header import Malformed

ACCESS = "system.posix_acl_access"


def packed(text: bytes) -> bytes:
    value = acl.from_text(text)
    assert value is not None
    return value


@pytest.mark.parametrize(
    ("text", "mode", "kept"),
    [
        (b"user::rwx,group::r-x,other::r--", 0o4754, False),
        (b"user::rw-,user:70000:r-x,group::r--,mask::rwx,other::---", 0o4670, True),
        (b"user::rw-,group::r--,mask::r-x,other::--x", 0o4651, True),
    ],
)
def test_the_mode_follows_the_acl(text: bytes, mode: int, kept: bool) -> None:
    found = {xattrs.ACL: packed(text)}
    assert xattrs.settle_acl(0o104777, found) == 0o100000 | mode
    assert (xattrs.ACL in found) is kept


def test_without_an_acl_the_mode_stays() -> None:
    assert xattrs.settle_acl(0o100751, {b"user.note": b"x"}) == 0o100751


@pytest.mark.parametrize("value", [b"", b"\2\0\0\0", b"\1\0\0\0" + bytes(24), b"\2\0\0\0" + bytes(7)])
def test_what_is_no_acl_is_refused(value: bytes) -> None:
    with pytest.raises(Malformed, match="access ACL"):
        xattrs.settle_acl(0o100644, {xattrs.ACL: value})


@pytest.mark.parametrize("who", [b"9" * 5000, b"4294967295", b"root", b"-1"])
def test_who_is_no_id(who: bytes) -> None:
    """Also a number of more digits than Python reads (sys.set_int_max_str_digits)."""
    assert acl.from_text(b"user::rwx,user:%s:r--,group::r-x,other::r--" % who) is None


def test_an_acl_that_comes_as_text_and_as_bytes_is_one_and_no_name_in_the_text_matters() -> None:
    dropped: set[bytes] = set()
    value = packed(b"user::rwx,user:5:r-x,group::r-x,mask::r-x,other::---")
    records = {b"SCHILY.xattr." + ACCESS.encode(): value, b"SCHILY.acl.access": b"user::rwx,user:games:r-x"}
    assert xattrs.from_records(records, dropped) == {ACCESS.encode(): value}
    assert dropped == set()


def test_a_name_that_only_a_tree_could_resolve_is_dropped_and_told() -> None:
    dropped: set[bytes] = set()
    assert xattrs.from_records({b"SCHILY.acl.access": b"user::rwx,user:games:r-x"}, dropped) is None
    assert dropped == {b"SCHILY.acl.access"}
