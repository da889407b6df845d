"""Who a process runs as: names and numbers, by files of the image."""

from __future__ import annotations

import pytest

from dibo.errors import ImageError
from dibo.kits.users import User, user_of
from tests.support.node_trees import tree

ROOT = tree(
    {
        "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n"
        b"app:x:1000:1000::/srv/app:/bin/sh\n"
        b"# app2:x:7:7::/:/bin/sh\n"
        b"broken:x:one:2::/:/bin/sh\nshort:x:3\n+nis::::::\n"
        b"rel:x:1001:1001::home:/bin/sh\n"
        b"1002:x:9:9::/nine:/bin/sh\n",
        "etc/group": b"root:x:0:\nwheel:x:10:root,app\nlog:x:4:app\napp:x:1000:\nodd:x:-1:app\n",
    }
)


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("", User(uid=0, gid=0, groups=(10,), home="/root")),
        ("root", User(uid=0, gid=0, groups=(10,), home="/root")),
        ("app", User(uid=1000, gid=1000, groups=(4, 10), home="/srv/app")),
        ("1000", User(uid=1000, gid=1000, groups=(4, 10), home="/srv/app")),
        ("app:log", User(uid=1000, gid=4, home="/srv/app")),
        ("app:77", User(uid=1000, gid=77, home="/srv/app")),
        ("app:", User(uid=1000, gid=1000, groups=(4, 10), home="/srv/app")),
        ("4242", User(uid=4242, gid=0)),
        ("4242:10", User(uid=4242, gid=10)),
        (":log", User(uid=0, gid=4, home="/root")),
        ("rel", User(uid=1001, gid=1001)),
        ("1002", User(uid=9, gid=9, home="/nine")),  # a name that looks like a number
    ],
)
def test_a_user(text: str, user: User) -> None:
    assert user_of(ROOT, text, name="web") == user


@pytest.mark.parametrize(
    "text",
    [
        "nobody",
        "app:nogroup",
        "app2",
        "broken",
        "4294967295",
        "99999999999",
        "1000:4294967295",
        "-1",
        "$(id)",
    ],
)
def test_nobody(text: str) -> None:
    with pytest.raises(ImageError, match=r"the image web runs as the (user|group)"):
        user_of(ROOT, text, name="web")


def test_an_image_without_the_files() -> None:
    empty = tree({})
    assert user_of(empty, "", name="web") == User(uid=0, gid=0)
    assert user_of(empty, "5:6", name="web") == User(uid=5, gid=6)
    with pytest.raises(ImageError, match="'app'"):
        user_of(empty, "app", name="web")
