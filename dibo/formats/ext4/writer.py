"""The writer: data first, as it comes, then everything that is known only at the end."""

from __future__ import annotations

from dibo.formats.ext4.data import BEYOND, DataWriter
from dibo.formats.ext4.finish import Finish, Stored, Summary
from dibo.formats.ext4.plan import Needs
from dibo.formats.ext4.space import free_runs
from dibo.formats.inode import InodeNode


class Writer(DataWriter):
    """Writes one ext4 file system: `begin`, `write` and `skip` for each file, then `finish`, once."""

    def finish(self, root: InodeNode) -> Summary:
        """Write all that is not file data. Raises NoSpace, and Ext4Error for what ext4 cannot hold."""
        return self._finish(root).run()

    def measure(self, root: InodeNode) -> Needs:
        """Instead of `finish`: what would have to be stored, whatever the size is. Raises Ext4Error."""
        return self._finish(root).measure()

    def _finish(self, root: InodeNode) -> Finish:
        if self._left:
            self.release(self._content)
        self.flush()
        freed = sum(end - start for start, end in self._freed)
        passed = sum(end - start for start, end in self._gaps[: self._gap])
        beyond = self._gap == len(self._gaps)
        here = self._next - (BEYOND if beyond else self._gaps[self._gap][0])
        stored = Stored(
            cursor=min(self._next, self._layout.blocks),
            blocks=passed + here - freed - self._freed_beyond,
            missing=here - self._freed_beyond if beyond else 0,
            free=self._freed + free_runs(self._gaps, self._next),
        )
        return Finish(self._target, self.parameters, self._layout, stored, root)
