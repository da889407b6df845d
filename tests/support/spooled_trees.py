"""Trees whose files are in a spool, as converters of a root get them."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Mapping

from dibo.disk.built_in.job import RootTree
from dibo.images.layers.spool import Spool
from dibo.tree.node import Node
from dibo.tree.query import walk
from tests.support.node_trees import Content, tree


def spooled(entries: Mapping[str, Content | Node]) -> RootTree:
    root = tree(entries)
    spool = Spool(tempfile.TemporaryFile())  # noqa: SIM115 (the spool keeps it)
    for node in walk(root):
        if stat.S_ISREG(node.mode):
            node.content = spool.begin(node.size)
            spool.write(node.data or b"")
            node.data = None
    return RootTree(node=root, spool=spool)
