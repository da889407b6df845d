"""Questions to a tree in memory."""

from __future__ import annotations

import stat
from collections.abc import Mapping

import pytest

from dibo.disk.programs.mke2fs import measure
from dibo.tree.node import Node
from dibo.tree.query import find, kernels, names_in, os_release, tidy, walk
from dibo.tree.sinks import Several, choose

Files = Mapping[str, bytes | str | None]


def tree(files: Files) -> Node:
    """Paths to contents; None is a directory, text a symbolic link."""
    root = Node(stat.S_IFDIR | 0o700)
    for path, value in files.items():
        *above, name = path.strip("/").encode().split(b"/")
        here = root
        for part in above:
            assert here.children is not None
            here = here.children.setdefault(part, Node(stat.S_IFDIR | 0o755))
        assert here.children is not None
        if value is None:
            here.children[name] = Node(stat.S_IFDIR | 0o755)
        elif isinstance(value, str):
            here.children[name] = Node(stat.S_IFLNK | 0o777)
            here.children[name].target = value.encode()
        else:
            here.children[name] = file = Node(stat.S_IFREG | 0o644)
            file.data, file.size, file.content = value, len(value), path
    return root


def data(root: Node, path: str) -> bytes | None:
    node = find(root, path)
    return None if node is None else node.data


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/etc/hosts", b"x"),
        ("etc//hosts", b"x"),
        ("/lib/hosts", b"x"),  # lib -> usr/lib, usr/lib/hosts -> ../../etc/hosts
        ("/up/hosts", b"x"),  # up -> ../../../etc: a chroot ends at its root
        ("/absolute/hosts", b"x"),
        ("/round", None),
        ("/etc/hosts/more", None),
        ("/nothing", None),
    ],
)
def test_paths_are_followed_as_a_chroot_does(path: str, wanted: bytes | None) -> None:
    root = tree(
        {
            "/etc/hosts": b"x",
            "/lib": "usr/lib",
            "/usr/lib/hosts": "../../etc/hosts",
            "/up": "../../../etc",
            "/absolute": "/etc",
            "/round": "round",
        }
    )
    assert data(root, path) == wanted


def test_kernels_are_sorted_as_versions() -> None:
    names = ("6.1.0-9-amd64", "6.1.0-10-amd64", "5.10.0")
    root = tree({**{f"/boot/vmlinuz-{name}": b"" for name in names}, "/boot/initrd.img-7": b""})
    assert kernels(root) == ("5.10.0", "6.1.0-9-amd64", "6.1.0-10-amd64")
    assert kernels(tree({})) == ()


def test_os_release() -> None:
    root = tree(
        {"/usr/lib/os-release": b'# x\nID=ubuntu\nNAME="A B"\n', "/etc/os-release": "../usr/lib/os-release"}
    )
    assert os_release(root) == {"ID": "ubuntu", "NAME": "A B"}
    assert os_release(tree({})) == {}


def test_tidy_takes_out_what_engines_leave() -> None:
    root = tree(
        {
            "/run/.containerenv": b"",
            "/run/deep/er": b"",
            "/tmp/in_target.d": None,
            "/.dockerenv": b"",
            "/etc/resolv.conf": b"",
            "/etc/systemd/system/dbus-org.freedesktop.resolve1.service": "x",
            "/var/tmp/kept": b"",
        }
    )
    assert set(tidy(root)) == {"/run/.containerenv", "/run/deep/er", "/.dockerenv", "/etc/resolv.conf"}
    assert (names_in(root, "/run"), names_in(root, "/tmp"), find(root, "/.dockerenv")) == ((), (), None)
    assert root.mode == stat.S_IFDIR | 0o755
    assert find(root, "/var/tmp/kept") is not None
    etc = find(root, "/etc")
    assert etc is not None
    assert etc.children is not None
    assert etc.children[b"resolv.conf"].target == b"../run/systemd/resolve/stub-resolv.conf"
    assert tidy(root) == []


def test_tidy_leaves_resolv_conf_where_nobody_resolves_and_what_has_another_name() -> None:
    root = tree({"/etc/resolv.conf": b"nameserver", "/tmp/file": b"", "/opt": None})
    top = root.children
    assert top is not None
    opt, tmp = top[b"opt"].children, top[b"tmp"].children
    assert opt is not None
    assert tmp is not None
    opt[b"same"] = tmp[b"file"]
    assert tidy(root) == []
    assert data(root, "/etc/resolv.conf") == b"nameserver"
    assert data(root, "/opt/same") == b""


def test_tidy_leaves_what_somebody_wrote_to_resolv_conf() -> None:
    root = tree(
        {
            "/etc/resolv.conf": b"nameserver 192.0.2.7\n",
            "/etc/systemd/system/dbus-org.freedesktop.resolve1.service": "x",
        }
    )
    assert tidy(root) == []
    assert data(root, "/etc/resolv.conf") == b"nameserver 192.0.2.7\n"


def test_walk_and_measure_count_inodes_once() -> None:
    root = tree({"/a": b"x" * 5000, "/d/l": "y" * 59, "/d/long": "y" * 61})
    assert root.children is not None
    root.children[b"again"] = root.children[b"a"]
    for node in walk(root):
        if stat.S_ISLNK(node.mode):
            node.size = len(node.target)
    assert len(list(walk(root))) == 5
    found = measure(root)
    assert (found.inodes, found.blocks) == (5, 2 + 1 + 2)  # file, long link, two directories


class Place:
    def __init__(self) -> None:
        self.said: list[object] = []

    def begin(self, size: int) -> object:
        self.said.append(("begin", size))
        return f"{id(self)}-{size}"

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.said.append(bytes(data))

    def skip(self, size: int) -> None:
        self.said.append(("skip", size))

    def flush(self) -> None:
        self.said.append("flush")

    def release(self, content: object) -> None:
        self.said.append(("release", content))


def test_several_places_get_the_same_and_each_its_own_content() -> None:
    one, other = Place(), Place()
    both = Several(one, other)
    content = both.begin(3)
    both.write(b"ab")
    both.skip(1)
    both.flush()
    root = tree({"/a": b"", "/empty": b""})
    assert root.children is not None
    root.children[b"a"].content = content
    root.children[b"empty"].content = None
    everywhere: dict[Node, object] = {}
    choose(root, 0, everywhere)
    assert root.children[b"a"].content == f"{id(one)}-3"
    choose(root, 1, everywhere)
    assert root.children[b"a"].content == f"{id(other)}-3"
    both.release(content)
    assert one.said == [("begin", 3), b"ab", ("skip", 1), "flush", ("release", f"{id(one)}-3")]
    assert other.said[-1] == ("release", f"{id(other)}-3")
