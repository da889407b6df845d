"""Archives of images on disk: a tar, plain or compressed as a whole.

A plain tar is read in place. A compressed one can be read only from its start, and layers are read from the last to
the first, so it is decompressed into a file without a name, which the kernel frees with the last descriptor.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import IO, Any, Final

from dibo.errors import ImageError, OutputError
from dibo.formats import magic
from dibo.images.image import Reader
from dibo.images.sources.files import ArchiveFiles
from dibo.images.sources.tarindex import read_index
from dibo.units import human_size

_CHUNK: Final = 1 << 20
_RATIO: Final = 1000  # unpacked to stored: only what is all zeros comes to that
_RATIO_FROM: Final = 1 << 30  # bytes; small archives may well be all zeros


@contextlib.contextmanager
def open_archive(
    path: Path, *, scratch: Path | None, only: Collection[str] | None = None
) -> Iterator[ArchiveFiles]:
    """The members of the tar at `path`; with `only`, just those of these names. Without `scratch` only a plain tar is
    read. Raises ImageError, OutputError when `scratch` takes no more."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb", buffering=0))
            mode = os.fstat(file.fileno()).st_mode
        except OSError as error:
            raise ImageError(f"cannot read {path}: {error.strerror}") from error
        regular = stat.S_ISREG(mode)
        if stat.S_ISCHR(mode):  # a terminal, or what has no end as /dev/zero
            raise ImageError(f"{path} is a device, and no archive", hint="name a file, or a pipe")
        start = os.pread(file.fileno(), 6, 0) if regular else b""
        opener = decompressing_opener(start)
        if opener is None and regular:
            fd = file.fileno()
        elif scratch is None:
            raise ImageError(f"{path} is compressed, or can be read only once")
        else:
            plain = opener(file) if opener else file
            limit = max(_RATIO_FROM, _RATIO * os.fstat(file.fileno()).st_size) if opener and regular else None
            fd = stack.enter_context(
                spooled(plain, scratch=scratch, description=str(path), limit=limit)
            ).fileno()
        yield ArchiveFiles(fd, read_index(fd, description=str(path), only=only), path=str(path))


@contextlib.contextmanager
def spooled(
    source: Reader, *, scratch: Path, description: str, limit: int | None = None
) -> Iterator[IO[bytes]]:
    """A file without a name that holds all of `source`, which has at most `limit` bytes. Raises ImageError when it
    has more or cannot be read, OutputError."""
    with tempfile.TemporaryFile(dir=scratch, buffering=0) as file:
        while data := _next(source, description=description):
            if limit is not None and file.tell() + len(data) > limit:
                raise ImageError(
                    f"{description} unpacks to more than {human_size(limit)}: it is no archive of an image"
                )
            try:
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
            except OSError as error:
                raise OutputError(
                    f"cannot keep a copy of {description} in {scratch}: {error.strerror}",
                    hint="set --cache-dir to a directory with more space, or decompress it yourself",
                ) from error
        yield file


def _next(source: Reader, *, description: str) -> bytes:
    import lzma

    import zstandard

    try:
        return source.read(_CHUNK)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise ImageError(
            f"cannot read {description}: {error}", hint="it is damaged, or was cut short"
        ) from error


def decompressing_opener(start: bytes) -> Callable[[IO[bytes]], Any] | None:
    """What decompresses a file that begins so; None for one that is not compressed."""
    kind = magic.compression(start)
    if kind == "gzip":
        from isal import igzip

        return igzip.open
    if kind == "zstd":
        import zstandard

        return lambda file: zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    if kind == "xz":
        import lzma

        return lzma.open
    if kind == "bzip2":
        import bz2

        return bz2.open
    return None
