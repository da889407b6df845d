"""Images that a docker daemon has. Its API gives them only as a stream in the format of `docker save`, whose list of
layers comes at the end, so the stream is kept in a file without a name (as much as the tars of all layers) and read
as an archive is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dibo.errors import ImageError
from dibo.images.image import Image
from dibo.images.sources.archive import spooled
from dibo.images.sources.docker_archive import DockerArchive
from dibo.images.sources.files import ArchiveFiles
from dibo.images.sources.table import ImageRequest
from dibo.images.sources.tarindex import read_index
from dibo.system.docker_api import NotThere, connected


@contextlib.contextmanager
def open_image(request: ImageRequest) -> Iterator[Image]:
    """The image that the daemon knows by a name or an id.

    Raises ImageError, VerificationFailed, OutputError, EngineError.
    """
    name, reference, scratch = request.name, request.reference, request.scratch
    with connected(scratch=scratch) as daemon:
        try:
            # By its id, so that there is but one in the archive.
            stream = _Stream(daemon.save(str(daemon.inspect(name)["Id"])))
            spool = spooled(stream, scratch=scratch, description=reference)
        except NotThere as error:
            raise ImageError(
                f"the docker daemon at {daemon.host} has no image {name}",
                hint=f"`docker images` lists them; one in a registry is docker://{name}",
            ) from error
        with spool as file:
            files = ArchiveFiles(
                file.fileno(), read_index(file.fileno(), description=reference), path=reference
            )
            yield DockerArchive(files, name=reference, reference="").image(architecture=request.architecture)


class _Stream:
    """The Reader of pieces that come as they like."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = piece
        data, self._rest = self._rest[:size], self._rest[size:]
        return data
