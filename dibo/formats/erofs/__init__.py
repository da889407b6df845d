"""erofs file systems, written once, in a stream: README.md beside this file says how.

`ErofsWriter` takes the bytes of files as they come, and the tree at the end.
"""

from dibo.formats.erofs.data import ErofsContent
from dibo.formats.erofs.errors import ErofsError
from dibo.formats.erofs.writer import ErofsParameters, ErofsSummary, ErofsWriter

__all__ = ["ErofsContent", "ErofsError", "ErofsParameters", "ErofsSummary", "ErofsWriter"]
