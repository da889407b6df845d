"""Files of flavours, read once: into values, and on the way into a copy of dibo's own.

A file is hashed while it is copied, so what its value says is what the copy has, whatever happens to the original
meanwhile. Directories are looked at without following symbolic links that leave them. What cannot be right is refused
with its path: a device node, a name that is not UTF-8, a link that leads out.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Final

from dibo.errors import DiboError, FlavourError, OutputError
from dibo.flavours.model import FlavourFile, FlavourKind
from dibo.system import disk_space, resources

COPY_TIME: Final = 315532800  # 1980-01-01: no time of the host, and one that every format can say
_CHUNK: Final = 1 << 20
_FICLONE: Final = 0x40049409  # linux/fs.h; ioctl_ficlone(2)
_FOR_OTHERS: Final = 0o077

Ignored = Callable[[str], bool]
"""Whether a path is passed over; the paths of directories end with a slash."""


def read_files(
    directory: Path, *, ignored: Ignored = lambda _: False, copy: Path | None = None, private: bool = False
) -> tuple[FlavourFile, ...]:
    """The files below a directory, sorted. With `copy`, they are in that new directory afterwards. With `private`,
    files that are for their owner alone stay so; else the umask of a checkout decides nothing. Raises FlavourError."""
    files = []
    for path in _walk(directory, ignored):
        files.append(_read(directory, path, copy, private=private))
    return tuple(sorted(files))


def read_tree(directory: Path) -> tuple[FlavourFile, ...]:
    """The files below any directory of dibo's own, as values. Bytecode, which installing makes, is passed over."""
    return read_files(directory, ignored=lambda path: f"/{path}".endswith("/__pycache__/"))


def copy_files(origin: Path, files: Iterable[FlavourFile], target: Path) -> None:
    """Copy files as their values say: four modes only, and the bytes that were read before.

    Raises FlavourError when a file is no longer what it was when it was read.
    """
    for file in files:
        if _read(origin, origin / file.path, target, private=file.private) != file:
            raise FlavourError(
                f"{origin / file.path} changed while dibo was reading it", hint="run the command again"
            )


def clone_files(origin: Path, files: Iterable[FlavourFile], target: Path) -> None:
    """The same for files in dibo's own copy, which does not change: they are not hashed again, and share the copy's
    blocks where the file system can. Each is a file of its own, so that its link count is 1 with every engine."""
    for file in files:
        source, copy = origin / file.path, target / file.path
        try:
            _make_parents(copy.parent)
            if file.kind is FlavourKind.SYMLINK:
                copy.symlink_to(file.target)
            else:
                with copy.open("xb") as stream:
                    if not _clone(source, stream):
                        _copy_digest(source, stream)
                copy.chmod(file.mode)
            os.utime(copy, (COPY_TIME, COPY_TIME), follow_symlinks=False)
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            raise  # what a flavour says twice
        except OSError as error:
            raise _not_copied(source, target, error) from error


def copy_file(source: Path, target: Path) -> None:
    """The same for one file that dibo keeps, under another name. Raises OutputError, FlavourError."""
    try:
        with target.open("xb") as stream:
            if not _clone(source, stream):
                _copy_digest(source, stream)
        os.utime(target, (COPY_TIME, COPY_TIME))
    except OSError as error:
        raise _not_copied(source, target, error) from error


def _not_copied(source: Path, target: Path, error: OSError) -> DiboError:
    """The error for a copy that cannot be written. A full place is no fault of the flavour's."""
    message = f"cannot copy {source} to {target}: {disk_space.reason(error, target)}"
    if not disk_space.is_full(error):
        return FlavourError(message)
    return OutputError(
        message,
        hint="free some space there, or choose another place with --cache-dir (IMG_PATH); "
        "`dibo doctor` says how much space is left",
    )


def _walk(directory: Path, ignored: Ignored) -> Iterator[Path]:
    for parent, directories, names in os.walk(directory, onerror=_unreadable):
        prefix = "" if Path(parent) == directory else f"{Path(parent).relative_to(directory).as_posix()}/"
        links = [name for name in directories if Path(parent, name).is_symlink()]
        directories[:] = sorted(name for name in directories if not ignored(f"{prefix}{name}/"))
        yield from (Path(parent, name) for name in names + links if not ignored(f"{prefix}{name}"))


def _unreadable(error: OSError) -> None:
    raise FlavourError(f"cannot read {error.filename}: {error.strerror}")


def _read(directory: Path, path: Path, copy: Path | None, *, private: bool) -> FlavourFile:
    """The value of one file; with `copy`, it is below that directory afterwards."""
    relative = path.relative_to(directory).as_posix()
    try:
        relative.encode()
    except UnicodeEncodeError:
        raise FlavourError(f"a name in {directory} is not UTF-8: {relative!a}") from None
    target = None if copy is None else copy / relative
    try:
        if target is not None:
            _make_parents(target.parent)
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode) and _leads_to_dibo(directory, path):
            mode = path.stat().st_mode
        elif stat.S_ISLNK(mode):
            return _read_link(directory, path, target)
        if not stat.S_ISREG(mode):
            raise FlavourError(f"{path} is neither a file, a directory nor a symbolic link")
        digest = _digest(path, target)
    except OSError as error:
        if copy is None or error.filename == str(path):
            raise FlavourError(f"cannot read {path}: {error.strerror}") from error
        raise _not_copied(path, copy, error) from error
    file = FlavourFile(
        path=relative,
        kind=FlavourKind.FILE,
        executable=bool(mode & 0o111),
        digest=digest,
        private=private and not mode & _FOR_OTHERS,
    )
    if target is not None:
        target.chmod(file.mode)
        os.utime(target, (COPY_TIME, COPY_TIME))
    return file


def _leads_to_dibo(directory: Path, path: Path) -> bool:
    """Whether a symbolic link of a flavour that comes with dibo leads to a module of dibo: it counts as the file that
    it leads to, which a wheel has in its place."""
    if not directory.is_relative_to(resources.shared("flavours")):
        return False
    target = path.resolve()
    return target.suffix == ".py" and target.is_file() and target.is_relative_to(resources.PACKAGE)


def _digest(path: Path, target: Path | None) -> str:
    """The sha256 of a file's bytes; those very bytes are in `target` afterwards."""
    if target is None:
        return _copy_digest(path, None)
    with target.open("xb") as copy:
        if not _clone(path, copy):
            return _copy_digest(path, copy)
    return _copy_digest(target, None)


def _copy_digest(path: Path, copy: IO[bytes] | None) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while data := stream.read(_CHUNK):
            digest.update(data)
            if copy is not None:
                copy.write(data)
    return digest.hexdigest()


def _clone(path: Path, copy: IO[bytes]) -> bool:
    """Let the copy share the original's blocks until one of them is written to, where the file system can."""
    with path.open("rb") as stream:
        try:
            fcntl.ioctl(copy, _FICLONE, stream.fileno())
        except OSError:
            return False
    return True


def _read_link(directory: Path, path: Path, copy: Path | None) -> FlavourFile:
    target = os.readlink(path)  # noqa: PTH115 (the target as it is written)
    inside = os.path.normpath(path.parent / target)
    if not target.startswith("/") and not Path(inside).is_relative_to(directory):
        raise FlavourError(
            f"the symbolic link {path} leaves its flavour",
            hint="copy the file into the flavour, or use `needs`",
        )
    if copy is not None:
        copy.symlink_to(target)
        os.utime(copy, (COPY_TIME, COPY_TIME), follow_symlinks=False)
    return FlavourFile(
        path=path.relative_to(directory).as_posix(),
        kind=FlavourKind.SYMLINK,
        executable=False,
        digest=hashlib.sha256(os.fsencode(target)).hexdigest(),
        target=target,
    )


def _make_parents(directory: Path) -> None:
    """Directories that look the same whatever the umask is."""
    if not directory.is_dir():
        _make_parents(directory.parent)
        directory.mkdir()
        directory.chmod(0o755)
