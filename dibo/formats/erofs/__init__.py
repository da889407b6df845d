"""erofs file systems, written once, in a stream: README.md beside this file says how.

`Writer` takes the bytes of files as they come, and the tree at the end.
"""

from dibo.formats.erofs.data import Content
from dibo.formats.erofs.errors import ErofsError
from dibo.formats.erofs.writer import Parameters, Summary, Writer

__all__ = ["Content", "ErofsError", "Parameters", "Summary", "Writer"]
