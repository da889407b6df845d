"""Random trees for property tests, and all of a tree as a value that can be compared."""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from dibo.images.layers import acl, xattrs
from dibo.tree.node import Contents, Node

NAMES = st.one_of(
    st.sampled_from([b"a", b"b", b"c"]),
    st.binary(min_size=1, max_size=8)
    .map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"~"))
    .filter(lambda name: name not in (b".", b"..") and b".wh." not in name),
    st.sampled_from([b"\xff\xfe", b"n" * 255, b"umlaut-\xc3\xa4", b" ", b"=%3D"]),
)
IDS = st.sampled_from([0, 1, 65534, 70_000, 2_097_151, 2_097_152, 0xFFFFFFFE])
TIMES = st.one_of(
    st.sampled_from([0, -1, 1, 999_999_999, -1_500_000_000, 8**11 * 10**9, 2**62]),
    st.integers(-(2**60), 2**60),
)
ACLS = st.sampled_from(
    [
        acl.from_text(text) or b""
        for text in (b"user::rwx,group::r-x,other::---", b"u::rw-,u:1000:r--,g::---,g:7:rwx,m::rwx,o::r--")
    ]
)
XATTRS = st.dictionaries(
    st.sampled_from([b"user.a", b"user.b=c%", b"user.\xff"]), st.binary(max_size=20), max_size=2
).flatmap(
    lambda found: st.sampled_from(
        [
            found,
            {**found, b"security.capability": b"\x00\x00\x00\x02" + bytes(16)},
        ]
    )
)


@st.composite
def files(draw: Callable[..., Any], contents: Contents) -> Node:
    node: Node = draw(attributes(stat.S_IFREG))
    pieces = draw(
        st.lists(
            st.one_of(st.binary(min_size=1, max_size=1500), st.integers(1, 5000)),
            max_size=draw(st.integers(0, 4)),
        )
    )
    size = sum(len(piece) if isinstance(piece, bytes) else piece for piece in pieces)
    if size:
        node.content = contents.begin(size)
        node.size = size
        for piece in pieces:
            if isinstance(piece, bytes):
                contents.write(piece)
            else:
                contents.skip(piece)
    return node


@st.composite
def attributes(draw: Callable[..., Any], kind: int) -> Node:
    mode = 0o777 if kind == stat.S_IFLNK else draw(st.integers(0, 0o7777))
    node = Node(kind | mode, draw(IDS), draw(IDS), draw(TIMES))
    node.xattrs = draw(XATTRS) or None
    if kind != stat.S_IFLNK and draw(st.booleans()):
        found = {**(node.xattrs or {}), xattrs.ACL: draw(ACLS)}
        node.mode = xattrs.settle_acl(node.mode, found)
        node.xattrs = found or None
    return node


@st.composite
def inodes(draw: Callable[..., Any], contents: Contents) -> Node:
    kind = draw(
        st.sampled_from([stat.S_IFREG, stat.S_IFREG, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO])
    )
    if kind == stat.S_IFREG:
        return draw(files(contents))  # type: ignore[no-any-return]
    node: Node = draw(attributes(kind))
    if kind == stat.S_IFLNK:
        node.target = draw(st.sampled_from([b"a", b"/x/y", b"../..", b"t" * 101, b"\xff" * 4095]))
    elif kind != stat.S_IFIFO:
        node.device = draw(st.sampled_from([(1, 3), (0, 1), (4095, 1_048_575)]))
    return node


@st.composite
def roots(draw: Callable[..., Any], contents: Contents) -> Node:
    """A small tree whose files are in `contents`, with hard links."""
    root: Node = draw(attributes(stat.S_IFDIR))
    directories = [root]
    linkable: list[Node] = []
    for name in draw(st.lists(NAMES, max_size=12)):
        parent = draw(st.sampled_from(directories))
        assert parent.children is not None
        if name in parent.children:
            continue
        what = draw(st.sampled_from(["inode", "inode", "directory", "link"]))
        if what == "directory":
            node = draw(attributes(stat.S_IFDIR))
            directories.append(node)
        elif what == "link" and linkable:
            node = draw(st.sampled_from(linkable))
        else:
            node = draw(inodes(contents))
            linkable.append(node)
        parent.children[name] = node
    return root


Value = dict[bytes, tuple[object, ...]]


def value(root: Node, data: Callable[[Node], bytes]) -> Value:
    """All of the tree by path. Hard links are told by the first of their names."""
    found: Value = {}
    first: dict[Node, bytes] = {}
    todo = [(b"", root)]
    while todo:
        path, node = todo.pop()
        link = first.setdefault(node, path)
        found[path] = (
            oct(node.mode),
            node.uid,
            node.gid,
            node.mtime,
            tuple(sorted((node.xattrs or {}).items())),
            node.device,
            node.target,
            data(node) if node.content is not None else b"",
            link,
        )
        for name, child in sorted((node.children or {}).items(), reverse=True):
            todo.append((path + b"/" + name, child))
    return found
