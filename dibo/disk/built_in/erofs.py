"""The root as one erofs: written while the root is read, each byte of a file once, in its place; or from the spool."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dibo.disk.built_in.job import ConversionJob
from dibo.disk.built_in.root_ext4 import with_contents
from dibo.errors import ConverterError
from dibo.formats import erofs
from dibo.formats.raw import GrowingFile
from dibo.formats.vm_disks.identity import ImageIdentity
from dibo.layout.identity import identify
from dibo.tree.node import Node

LABEL: Final = "root"
_NAME: Final = "erofs"
"""What tells its identifiers from those of other file systems of the same image."""


class ErofsImage:
    """The file at `path`, which the user calls `name`, until the end of `with`."""

    def __init__(self, path: Path, *, identity: ImageIdentity, name: Path | None = None) -> None:
        uuid = identify(str(identity.uuid), _NAME).filesystem_uuid
        self._file = GrowingFile(path, name=name)
        parameters = erofs.ErofsParameters(label=LABEL, uuid=uuid, time=max(0, identity.time))
        self.contents = erofs.ErofsWriter(self._file, parameters)
        """Where the bytes of files go."""

    def finish(self, root: Node) -> None:
        """Write all but file data. Raises ConverterError for a tree that erofs cannot hold, OutputError."""
        try:
            self._file.end(self.contents.finish(root).size)
        except erofs.ErofsError as error:
            raise ConverterError(
                f"the root cannot be an erofs: {error}",
                hint="change it in the image; -t tar makes an archive of it as it is",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def write_erofs(job: ConversionJob, path: Path) -> None:
    """The root at `path`, from the spool: what a machine mounts below an overlay. Its /etc/fstab mounts no disks.
    Raises ConverterError, OutputError."""
    assert job.root is not None
    with (
        ErofsImage(path, identity=job.identity) as image,
        with_contents(job.root, image.contents, root_line=b""),
    ):
        image.finish(job.root.node)
