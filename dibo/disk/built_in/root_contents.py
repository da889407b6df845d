"""Where the bytes of the root's files go besides disks: into a spool, for types that need the whole tree first, and
into file systems that are written while the root is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dibo.images.layers.spool import Spool
from dibo.tree.node import Contents, Node
from dibo.tree.sinks import Several, choose

if TYPE_CHECKING:
    from dibo.disk.built_in.erofs import ErofsImage


class RootContents:
    def __init__(self, spool: Spool | None, images: Mapping[str, ErofsImage]) -> None:
        """`images` are those that are written as the root is read, by type."""
        self.spool = spool
        self._images = images
        spools: list[Contents] = [spool] if spool is not None else []
        self._places: list[Contents] = [*spools, *(image.contents for image in images.values())]
        self._contents: dict[Node, object] = {}

    @property
    def everywhere(self) -> Contents | None:
        """All places as one; None where there is none."""
        if len(self._places) < 2:
            return self._places[0] if self._places else None
        return Several(*self._places)

    def restart(self) -> None:
        """The root is read again."""
        for image in self._images.values():
            image.contents.restart()

    def finish(self, kind: str, root: Node) -> None:
        """Finish the image of a type. Raises ConverterError, OutputError."""
        image = self._images[kind]
        self._choose(root, image.contents)
        image.finish(root)

    def choose_spool(self, root: Node) -> None:
        """Have the files of the tree speak of the spool."""
        if self.spool is not None:
            self._choose(root, self.spool)

    def _choose(self, root: Node, place: Contents) -> None:
        if len(self._places) > 1:
            choose(root, self._places.index(place), self._contents)
