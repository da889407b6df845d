"""What is written as a tar is read back the same: by our reader, and by Python's tarfile."""

from __future__ import annotations

import io
import tarfile
import tempfile

from hypothesis import given
from hypothesis import strategies as st

from dibo.images.layers.load import load_tar
from dibo.images.layers.spool import Spool
from dibo.images.layers.tar_writer import write_tar
from dibo.tree.node import Node
from tests.properties.tree_strategies import roots, value
from tests.support.images.tar_layers import MemorySink


def archive(draw: st.DataObject) -> tuple[Node, Spool, bytes]:
    spool = Spool(tempfile.TemporaryFile())  # noqa: SIM115
    root: Node = draw.draw(roots(spool))
    out = io.BytesIO()
    write_tar(root, spool, out)
    return root, spool, out.getvalue()


@given(st.data())
def test_a_tree_comes_back(draw: st.DataObject) -> None:
    root, spool, tar = archive(draw)
    memory = MemorySink()
    tree = load_tar(io.BytesIO(tar), memory)
    wanted = value(root, lambda node: b"".join(spool.read(node.content)))
    assert value(tree.root, memory.of) == wanted
    again = io.BytesIO()
    write_tar(root, spool, again)
    assert again.getvalue() == tar


@given(st.data())
def test_tarfile_reads_the_same_names_and_sizes(draw: st.DataObject) -> None:
    root, _, tar = archive(draw)
    with tarfile.open(fileobj=io.BytesIO(tar), errors="surrogateescape", encoding="utf-8") as opened:
        names = {member.name: member for member in opened}
    count = 0
    todo = [("", root)]
    while todo:
        path, node = todo.pop()
        for name, child in (node.children or {}).items():
            full = f"{path}{name.decode(errors='surrogateescape')}"
            member = names[f"./{full}"]
            wanted = (child.uid, child.gid, child.mode & 0o7777)
            assert member.islnk() or (member.uid, member.gid, member.mode) == wanted
            if child.size and not member.islnk():
                assert member.size == child.size or member.sparse
            count += 1
            todo.append((full + "/", child))
    assert len(names) == count + 1


@given(st.data(), st.integers(-(2**31), 2**33))
def test_times_after_the_epoch_become_it(draw: st.DataObject, epoch: int) -> None:
    spool = Spool(tempfile.TemporaryFile())  # noqa: SIM115
    root: Node = draw.draw(roots(spool))
    out = io.BytesIO()
    write_tar(root, spool, out, epoch=epoch)
    tree = load_tar(io.BytesIO(out.getvalue()), MemorySink())
    todo = [(root, tree.root)]
    while todo:
        before, after = todo.pop()
        assert after.mtime == min(before.mtime, epoch * 10**9)
        todo += [(child, (after.children or {})[name]) for name, child in (before.children or {}).items()]
