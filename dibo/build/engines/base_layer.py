"""A base as the tar of the first layer, the same for every engine: they take it as it is, so that its digest, and the
order in which files come to lie on a disk, is the same whichever engine builds.

Nothing below /dev, which no engine may make in a user namespace and every machine makes itself; nothing on the root
directory itself, of which engines say what they like; where systemd-resolved is installed, /etc/resolv.conf is its
link, unless the base has a link or a file with bytes there. The tar is kept in a file, since engines need its size and
digest first.
"""

from __future__ import annotations

import hashlib
import lzma
import signal
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

from dibo.errors import BaseError
from dibo.formats import magic
from dibo.plan.base import TarCommand, TarFile
from dibo.system import process
from dibo.system.process import OnOutput, Process, Streams
from dibo.system.workspace import Run

_RESOLVED: Final = "usr/lib/systemd/systemd-resolved"
_RESOLV_CONF: Final = "etc/resolv.conf"
_STUB: Final = "../run/systemd/resolve/stub-resolv.conf"
_CHUNK: Final = 1 << 20
_BLOCK: Final = 512
_SPARSE: Final = "GNU.sparse."


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The digest of a tar, and its size in bytes."""

    diff_id: str
    size: int


@contextmanager
def base_layer(
    source: TarFile | TarCommand, run: Run, on_output: OnOutput
) -> Iterator[tuple[Written, IO[bytes]]]:
    """The layer of a base, in a file of the run that is read from its start. `on_output` gets what a command says.
    Raises BaseError, CommandFailed."""
    with (run.subdirectory("base") / "layer.tar").open("w+b") as file:
        if isinstance(source, TarFile):
            with source.path.open("rb") as stream:
                written = write_base(stream, file)
        else:
            written = _write_of_command(source, file, run, on_output)
        file.seek(0)
        yield written, file
        file.truncate(0)


def _write_of_command(source: TarCommand, file: IO[bytes], run: Run, on_output: OnOutput) -> Written:
    """When the command fails, its error is better than that the tar was cut short."""
    with (
        run.scratch() as scratch,
        Process(
            source.argv,
            env={"TMPDIR": str(scratch), **process.proxies(), **prepared(source, scratch)},
            streams=Streams(stdout=process.PIPE, on_output=on_output),
        ) as maker,
    ):
        try:
            written = write_base(maker.stdout, file)
        except BaseError:
            maker.stdout.close()
            _require_success(maker)
            raise
        _require_success(maker)
        return written


def prepared(source: TarCommand, scratch: Path) -> dict[str, str]:
    """The variables of a command, once what it needs is in `scratch`, which processes of other ids may enter."""
    more = source.prepare(scratch) if source.prepare is not None else {}
    return {**dict(source.environment), **more}


def _require_success(maker: Process) -> None:
    if (code := maker.wait()) not in (0, -signal.SIGPIPE):
        raise process.failure(maker.argv, code, maker.tail)


def write_base(source: IO[bytes], target: IO[bytes]) -> Written:
    """Copy a tar of a root, compressed or not, into `target`. `source` can be a pipe, but must be able to peek.

    Raises BaseError for what is no tar.
    """
    try:
        with tarfile.open(fileobj=decompressed(source), mode="r|", errorlevel=2) as tar:
            return _Copy(tar, target).run()
    except (tarfile.TarError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise BaseError(f"the base is no tar that can be read: {error}") from error


class _Copy:
    """One pass over a tar."""

    def __init__(self, tar: tarfile.TarFile, target: IO[bytes]) -> None:
        self._tar = tar
        self._target = target
        self._digest = hashlib.sha256()
        self._size = 0

    def run(self) -> Written:
        resolved = False
        resolv_conf: tuple[tarfile.TarInfo, bytes] | None = None
        for member in self._tar:
            self._tar.members.clear()  # type: ignore[attr-defined] # a stream is read once; this would hold it all
            path = member.name.strip("/").removeprefix("./")
            if path in ("", ".") or path.startswith("dev/"):
                continue
            if path == _RESOLVED:
                resolved = member.issym() or bool(member.mode & 0o111)
            if path == _RESOLV_CONF:
                content = self._tar.extractfile(member) if member.isfile() else None
                resolv_conf = member, content.read() if content is not None else b""
                continue
            self._copy(member)
        if resolved and (resolv_conf is None or (resolv_conf[0].isreg() and not resolv_conf[1])):
            link = tarfile.TarInfo(_RESOLV_CONF)
            link.type, link.linkname, link.mode = tarfile.SYMTYPE, _STUB, 0o777
            resolv_conf = link, b""
        if resolv_conf is not None:
            self._header(resolv_conf[0])
            self._write(resolv_conf[1] + bytes(-len(resolv_conf[1]) % _BLOCK))
        self._write(bytes(2 * _BLOCK))
        return Written(diff_id=f"sha256:{self._digest.hexdigest()}", size=self._size)

    def _copy(self, member: tarfile.TarInfo) -> None:
        content = self._tar.extractfile(member) if member.isfile() else None
        if content is None:
            self._header(member)
            return
        if member.issparse():  # its holes become zeros
            member.type = tarfile.REGTYPE
            member.pax_headers = {
                name: value
                for name, value in member.pax_headers.items()
                if name != "size" and not name.startswith(_SPARSE)
            }
        self._header(member)
        while data := content.read(_CHUNK):
            self._write(data)
        self._write(bytes(-member.size % _BLOCK))

    def _header(self, member: tarfile.TarInfo) -> None:
        self._write(member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def _write(self, data: bytes) -> None:
        self._target.write(data)
        self._digest.update(data)
        self._size += len(data)


def decompressed(source: IO[bytes]) -> IO[bytes]:
    """The stream in a stream: gzip, zstd, xz, bzip2 or none, as its first bytes say."""
    kind = magic.compression(cast("Any", source).peek(6))
    if kind == "gzip":
        from isal import igzip

        return cast("IO[bytes]", igzip.open(source))  # type: ignore[no-untyped-call]
    if kind == "zstd":
        import zstandard

        reader = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
        return cast("IO[bytes]", reader)
    if kind == "xz":
        return cast("IO[bytes]", lzma.open(source))
    if kind == "bzip2":
        import bz2

        return cast("IO[bytes]", bz2.open(source))
    return source
