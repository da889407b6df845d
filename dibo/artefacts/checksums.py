"""Sizes and checksums of artefacts, which are files or directories; records of them are as sha256sum(1) has them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from dibo.errors import VerificationFailed
from dibo.formats.streams.disk_file import pieces

_CHUNK: Final = 1 << 18
_ZEROS: Final = memoryview(bytes(_CHUNK))


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a directory."""
    if path.is_dir():
        return sum(file.lstat().st_size for file in path.rglob("*") if _is_plain(file))
    return path.stat().st_size


def room_of(path: Path) -> int:
    """Bytes that a file takes, or all that is in a directory."""
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(file.lstat().st_blocks * 512 for file in files)


def checksum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def md5_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.md5")


def md5_of(path: Path) -> str:
    """Hexadecimal, of a file. It tells a broken copy; against malice it is worth nothing."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def sha256_of(path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> str:
    """Hexadecimal. `on_bytes` gets the number of bytes that were read. Of a directory, that of its checksums."""
    if path.is_dir():
        return hashlib.sha256(encoded(directory_sums(path, path.name))).hexdigest()
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        for piece in pieces(stream, size=_CHUNK):  # holes are not read
            data = _ZEROS[: size - done] if piece is None else piece
            digest.update(data)
            on_bytes(done := done + len(data))
    return digest.hexdigest()


def directory_sums(path: Path, name: str) -> str:
    """The sha256 of each file in a directory that is called `name`, as sha256sum(1) writes them. Bytes of names that
    are not UTF-8 are surrogates."""
    return sums_text(path, name, sha256_of)


def sums_text(path: Path, name: str, digest_of: Callable[[Path], str]) -> str:
    """The line of a file that is called `name`; of a directory, one for each file in it."""
    if not path.is_dir():
        return _sum_line(digest_of(path), name)
    files = sorted(file.relative_to(path) for file in path.rglob("*") if _is_plain(file))
    return "".join(_sum_line(digest_of(path / file), f"{name}/{file}") for file in files)


def _sum_line(digest: str, name: str) -> str:
    """A line is one file, whatever its name has in it (coreutils, "md5sum invocation")."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{chr(92) if escaped != name else ''}{digest}  {escaped}\n"


def encoded(text: str) -> bytes:
    """The bytes of a record; of names that are not UTF-8, those that they have."""
    return text.encode(errors="surrogateescape")


def is_as_recorded(path: Path) -> bool:
    """Whether the record beside a file or directory is the one that dibo writes for it as it is."""
    if path.is_symlink():
        return False
    try:
        record = checksum_path(path).read_bytes()
        if path.is_dir():
            return record == encoded(directory_sums(path, path.name))
        return record == encoded(f"{sha256_of(path)}  {path.name}\n")
    except OSError:
        return False


def verified_sha256(path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> str:
    """The sha256 of a file, compared with the one recorded beside it, if there is one. Raises VerificationFailed."""
    digest = sha256_of(path, on_bytes)
    record = checksum_path(path)
    if record.exists() and digest not in record.read_text(errors="replace").split():
        raise VerificationFailed(
            f"{path} has the sha256 {digest}; {record} says otherwise",
            hint="build the artefact again, or delete the file with the digest",
        )
    return digest
