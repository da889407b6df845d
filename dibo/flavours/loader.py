"""The door to flavours on disk: finds them on the search path and reads them, checked, into values.

A directory is looked at once, without following symbolic links that leave it. What cannot be right is refused with
its path: a phase that is misspelt, a hook that is not executable, a device node, a name that is not UTF-8.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from dibo.errors import FlavourError, LayoutError, UnknownFlavour
from dibo.flavours import strict_yaml
from dibo.flavours.model import FLAVOUR_NAME, HOOK_NAME, File, Flavour, Hook, Kind, Phase
from dibo.flavours.ramdisk_requests import Wishes, is_ramdisk_file, parse_wishes
from dibo.flavours.schema import nearest, parse_manifest
from dibo.layout.parse import Statement, parse_statement

_MANIFEST = "flavour.yaml"
_LAYOUT = "layout.yaml"
_PYTHONS_OWN: Final = "__pycache__"
"""What Python leaves beside modules that somebody imported: nothing that a flavour's author wrote."""
_MANIFEST_LIMIT = 1 << 20
COPY_TIME: Final = 315532800  # 1980-01-01: no time of the host, and one that every format can say


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A flavour's directory, and those of the same name that it shadows."""

    name: str
    path: Path
    shadows: tuple[Path, ...] = ()


class Catalogue:
    """The flavours on a search path; the first directory that has a name wins. Each is read when asked for."""

    def __init__(self, search_path: Iterable[Path]) -> None:
        self.search_path = tuple(dict.fromkeys(path.absolute() for path in search_path))
        self._found: dict[str, Found] = {}
        self._read: dict[str, Flavour] = {}
        for directory in self.search_path:
            for path in _flavours_in(directory):
                before = self._found.get(path.name)
                if before is None:
                    self._found[path.name] = Found(name=path.name, path=path)
                else:
                    shadows = (*before.shadows, path)
                    self._found[path.name] = Found(name=path.name, path=before.path, shadows=shadows)

    def __iter__(self) -> Iterator[Found]:
        return iter(sorted(self._found.values(), key=lambda found: found.name))

    def found(self, name: str) -> Found:
        """Where a flavour is. Raises UnknownFlavour, with the nearest names."""
        if name not in self._found:
            where = ", ".join(str(path) for path in self.search_path)
            raise UnknownFlavour(
                f"there is no flavour {name!r}{nearest(name, self._found)}",
                hint=f"looked in {where}\n`dibo flavours` lists what there is; --flavours-path adds a directory",
            )
        return self._found[name]

    def get(self, name: str) -> Flavour:
        """A flavour, read. Raises UnknownFlavour, FlavourError, LayoutError."""
        if name not in self._read:
            self._read[name] = load_flavour(self.found(name).path)
        return self._read[name]


def _flavours_in(directory: Path) -> list[Path]:
    try:
        entries = sorted(directory.iterdir())
    except OSError as error:
        raise FlavourError(
            f"cannot read the flavours in {directory}: {error.strerror}",
            hint="the search path is --flavours-path, FLAVOURS_DIR and DIBO_FLAVOURS_PATH",
        ) from error
    return [path for path in entries if path.is_dir() and FLAVOUR_NAME.fullmatch(path.name)]


def _is_part(path: str) -> bool:
    """Of a flavour, as hooks and keys have it."""
    return path != _LAYOUT and _PYTHONS_OWN not in path.split("/")


def load_flavour(directory: Path) -> Flavour:
    """Read one flavour. Raises FlavourError, LayoutError."""
    if FLAVOUR_NAME.fullmatch(directory.name) is None:
        raise FlavourError(f"{directory.name!r} cannot be the name of a flavour: use a-z, 0-9 and -")
    manifest = parse_manifest(_read_yaml(directory / _MANIFEST), origin=str(directory / _MANIFEST))
    disk = _disk(directory, manifest.disk)
    files = tuple(sorted(file for file in _walk(directory) if _is_part(file.path)))
    hooks, data = _sort_out(directory, files)
    ramdisk = tuple(file for file in files if is_ramdisk_file(file.path))
    if not (hooks or manifest.packages or ramdisk or disk or (directory / "README.md").exists()):
        raise FlavourError(
            f"{directory} holds nothing of a flavour: no phase, no packages, no README.md",
            hint=f"phases are {', '.join(Phase)}",
        )
    return Flavour(
        name=directory.name,
        origin=directory,
        files=tuple(file for file in files if file not in ramdisk),
        ramdisk=ramdisk,
        hooks=hooks,
        data=data,
        summary=manifest.summary,
        packages=manifest.packages,
        needs=manifest.needs,
        clashes=manifest.clashes,
        environment=manifest.environment,
        local=manifest.local,
        architectures=manifest.architectures,
        disk=disk,
    )


def _disk(directory: Path, said: Statement | None) -> Statement | None:
    """What the flavour says about the disk, in the one place or in the other."""
    path = directory / _LAYOUT
    data = _read_yaml(path)
    if data is None:
        return said
    if said is not None:
        raise FlavourError(
            f"{directory} says twice how the disk is laid out: under `disk` in {_MANIFEST}, and in {_LAYOUT}",
            hint="keep one of them",
        )
    return parse_statement(data, origin=str(path))


def read_layout(path: Path) -> Statement:
    """The layout in a file of the user's, with or without `disk:` around it. Raises LayoutError."""
    try:
        data = strict_yaml.load(path.read_bytes())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise LayoutError(f"cannot read the layout {path}: {' '.join(str(error).split())}") from error
    if isinstance(data, dict) and set(data) == {"disk"}:
        return parse_statement(data["disk"], origin=str(path), path="disk")
    return parse_statement(data, origin=str(path))


def _read_yaml(path: Path) -> object:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FlavourError(f"cannot read {path}: {error.strerror}") from error
    if len(text) > _MANIFEST_LIMIT:
        raise FlavourError(f"{path} is larger than {_MANIFEST_LIMIT >> 20} MiB")
    try:
        return strict_yaml.load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FlavourError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def _walk(directory: Path) -> Iterator[File]:
    for parent, directories, names in os.walk(directory, onerror=_unreadable):
        directories.sort()
        for name in sorted(names + [d for d in directories if Path(parent, d).is_symlink()]):
            yield _file(directory, Path(parent, name))


def _unreadable(error: OSError) -> None:
    raise FlavourError(f"cannot read {error.filename}: {error.strerror}")


def _file(directory: Path, path: Path) -> File:
    relative = path.relative_to(directory).as_posix()
    try:
        relative.encode()
    except UnicodeEncodeError:
        raise FlavourError(f"a name in {directory} is not UTF-8: {relative!a}") from None
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return File(
                path=relative, kind=Kind.SYMLINK, executable=False, digest=_link_digest(directory, path)
            )
        if not stat.S_ISREG(mode):
            raise FlavourError(f"{path} is neither a file, a directory nor a symbolic link")
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise FlavourError(f"cannot read {path}: {error.strerror}") from error
    return File(path=relative, kind=Kind.FILE, executable=bool(mode & 0o111), digest=digest)


def _link_digest(directory: Path, path: Path) -> str:
    target = os.readlink(path)  # noqa: PTH115 (the target as it is written)
    inside = os.path.normpath(path.parent / target)
    if not target.startswith("/") and not Path(inside).is_relative_to(directory):
        raise FlavourError(
            f"the symbolic link {path} leaves its flavour",
            hint="copy the file into the flavour, or use `needs`",
        )
    return hashlib.sha256(os.fsencode(target)).hexdigest()


def _sort_out(directory: Path, files: tuple[File, ...]) -> tuple[tuple[Hook, ...], tuple[str, ...]]:
    phases = {phase.value for phase in Phase}
    for path in directory.iterdir():
        if path.name.endswith(".d") and path.name not in phases:
            raise FlavourError(
                f"{path} looks like a phase but is none{nearest(path.name, phases)}",
                hint=f"phases are {', '.join(Phase)}",
            )
        if path.name in phases and (path.is_symlink() or not path.is_dir()):
            raise FlavourError(f"the phase {path} is not a directory", hint="make it one; put hooks into it")
    hooks, data = [], []
    for file in files:
        phase, _, name = file.path.partition("/")
        if phase not in phases:
            continue
        if "/" in name or HOOK_NAME.fullmatch(name) is None:
            data.append(file.path)
            continue
        if not _is_executable(directory, file):
            raise FlavourError(
                f"the hook {directory / file.path} is not executable",
                hint=f"chmod +x {directory / file.path}, or give data a name that no hook can have (with a dot)",
            )
        hooks.append(Hook(phase=Phase(phase), name=name))
    return tuple(sorted(hooks, key=lambda hook: (list(Phase).index(hook.phase), hook.name))), tuple(data)


def _is_executable(directory: Path, file: File) -> bool:
    if file.kind is Kind.FILE:
        return file.executable
    target = directory / file.path
    return target.is_file() and bool(target.stat().st_mode & 0o111)


def load_wishes(flavour: Flavour) -> Wishes:
    """What a flavour wants in a ramdisk. Raises FlavourError."""
    files = {}
    for file in flavour.ramdisk:
        path = flavour.origin / file.path
        try:
            files[file.path] = path.read_bytes()
        except OSError as error:
            raise FlavourError(f"cannot read {path}: {error.strerror}") from error
    return parse_wishes(flavour.name, files, origin=str(flavour.origin))


def copy_files(origin: Path, files: Iterable[File], target: Path) -> None:
    """Copy a flavour's files as their values say: two modes only, and the bytes that were read before.

    Raises FlavourError when a file is no longer what it was when the flavour was read.
    """
    for file in files:
        source, copy = origin / file.path, target / file.path
        _make_parents(copy.parent)
        if _file(origin, source) != file:
            raise FlavourError(f"{source} changed while dibo was reading it", hint="run the command again")
        if file.kind is Kind.SYMLINK:
            copy.symlink_to(os.readlink(source))  # noqa: PTH115
        else:
            shutil.copyfile(source, copy)
            copy.chmod(0o755 if file.executable else 0o644)
        os.utime(copy, (COPY_TIME, COPY_TIME), follow_symlinks=False)


def _make_parents(directory: Path) -> None:
    """Directories that look the same whatever the umask is."""
    if not directory.is_dir():
        _make_parents(directory.parent)
        directory.mkdir()
        directory.chmod(0o755)


def read_tree(directory: Path) -> tuple[File, ...]:
    """The files below any directory, as values: for what extra-data.d hooks made."""
    return tuple(sorted(_walk(directory)))
