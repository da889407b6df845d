"""ext4 file systems, written once, in a stream: README.md beside this file says how; and read, with ext2 and ext3.

Others use the names below to write, and `reader.Ext`, a FileSystem, to read. `structures` has what both know: fields,
features, flags. `layout` has the geometry that follows from a size, for callers that need it beforehand.
"""

from dibo.formats.ext4.data import Content
from dibo.formats.ext4.errors import Ext4Error, NoSpace
from dibo.formats.ext4.finish import Summary
from dibo.formats.ext4.layout import Parameters
from dibo.formats.ext4.plan import Needs, smallest
from dibo.formats.ext4.writer import Writer

__all__ = ["Content", "Ext4Error", "Needs", "NoSpace", "Parameters", "Summary", "Writer", "smallest"]
