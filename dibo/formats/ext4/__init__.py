"""ext4 file systems, written once, in a stream: see README.md beside this file."""

from dibo.formats.ext4.data import Content
from dibo.formats.ext4.errors import Ext4Error, NoSpace
from dibo.formats.ext4.finish import Summary
from dibo.formats.ext4.layout import Parameters
from dibo.formats.ext4.plan import Needs, smallest
from dibo.formats.ext4.writer import Writer

__all__ = ["Content", "Ext4Error", "Needs", "NoSpace", "Parameters", "Summary", "Writer", "smallest"]
