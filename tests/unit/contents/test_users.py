"""Users and groups, and what their passwords let in."""

from __future__ import annotations

import pytest

from dibo.contents.users import groups, users
from tests.support.node_trees import tree


@pytest.mark.parametrize(
    ("password", "shadow", "state"),
    [
        ("x", "a:*:1\n", "none"),
        ("x", "a:!$6$x:1\n", "none"),
        ("x", "a:$y$hash:1\n", "set"),
        ("x", "a::1\n", "empty"),
        ("x", "b:*:1\n", "unknown"),
        ("", "", "empty"),
        ("*", "", "none"),
    ],
)
def test_passwords(password: str, shadow: str, state: str) -> None:
    root = tree({"etc/passwd": f"a:{password}:1:2:c:/h:/bin/sh\n".encode(), "etc/shadow": shadow.encode()})
    (user,) = users(root)
    assert user.password == state
    assert "hash" not in repr(user)


def test_order_and_hostile_lines() -> None:
    text = "b:x:5:5:::\na:x:5:5:::\nroot:x:0:0:::\nx:x:-1:0:::\n"
    text += "y:x:99999999999:0:::\nz:x:\N{SUPERSCRIPT TWO}:0:::\n::::::\n"
    assert [user.name for user in users(tree({"etc/passwd": text.encode()}))] == ["root", "a", "b"]
    listed = groups(tree({"etc/group": b"g:x:7:b,,a\nbad\n\xff:x:1:\n"}))
    assert [(group.gid, group.members) for group in listed] == [(1, ()), (7, ("a", "b"))]
    assert users(tree({"etc": None})) == ()
