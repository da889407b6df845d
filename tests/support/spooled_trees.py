"""Trees whose files are in a spool, as converters of a root get them; in memory are texts that tell how they boot."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Mapping

from dibo.boot.keep import is_text
from dibo.disk.built_in.job import RootTree
from dibo.images.layers.spool import Spool
from dibo.tree.node import Node
from dibo.tree.query import find, walk
from tests.support.node_trees import Content, tree


def spooled(entries: Mapping[str, Content | Node]) -> RootTree:
    root = tree(entries)
    texts = {find(root, path) for path in entries if is_text(path.strip("/").encode())}
    spool = Spool(tempfile.TemporaryFile())  # noqa: SIM115 (the spool keeps it)
    for node in walk(root):
        if stat.S_ISREG(node.mode):
            node.content = spool.begin(node.size)
            spool.write(node.data or b"")
            node.data = node.data if node in texts else None
    return RootTree(node=root, spool=spool)
