"""ext4 file systems, written once, in a stream: see README.md beside this file."""

from dibo.ext4.data import Content
from dibo.ext4.errors import Ext4Error, NoSpace
from dibo.ext4.finish import Summary
from dibo.ext4.layout import Parameters
from dibo.ext4.plan import Needs, smallest
from dibo.ext4.writer import Writer

__all__ = ["Content", "Ext4Error", "Needs", "NoSpace", "Parameters", "Summary", "Writer", "smallest"]
