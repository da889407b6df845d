"""The door to flavours on disk: finds them on the search path and reads them, checked, into values.

What cannot be right is refused with its path: a phase that is misspelt, a hook that is not executable. How files are
read is in dibo.flavours.files, what is no part of a flavour in dibo.flavours.ignore.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from dibo.errors import FlavourError, LayoutError, UnknownFlavour
from dibo.flavours import strict_yaml
from dibo.flavours.files import read_files
from dibo.flavours.ignore import Ignore
from dibo.flavours.model import (
    FETCHED,
    FLAVOUR_NAME,
    HOOK_NAME,
    NAME_FORM,
    Flavour,
    FlavourFile,
    FlavourKind,
    Hook,
    Phase,
)
from dibo.flavours.ramdisk_requests import RamdiskRequests, is_ramdisk_file, parse_wishes
from dibo.flavours.schema import nearest, parse_manifest
from dibo.layout.parse import Statement, parse_statement
from dibo.system.resources import read_whole

_MANIFEST = "flavour.yaml"
_LAYOUT = "layout.yaml"
_MANIFEST_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """A flavour's directory, and those of the same name that it shadows."""

    name: str
    path: Path
    shadows: tuple[Path, ...] = ()


class Catalogue:
    """The flavours on a search path; the first directory that has a name wins. Each is read when asked for, once; with
    `copies`, its files are copied there."""

    def __init__(self, search_path: Iterable[Path], *, copies: Path | None = None) -> None:
        self.search_path = tuple(dict.fromkeys(path.absolute() for path in search_path))
        self._copies = copies
        self._entries: dict[str, CatalogueEntry] = {}
        self._read: dict[str, Flavour] = {}
        for directory in self.search_path:
            for path in _flavours_in(directory):
                before = self._entries.get(path.name)
                if before is None:
                    self._entries[path.name] = CatalogueEntry(name=path.name, path=path)
                else:
                    shadows = (*before.shadows, path)
                    self._entries[path.name] = CatalogueEntry(
                        name=path.name, path=before.path, shadows=shadows
                    )

    def __iter__(self) -> Iterator[CatalogueEntry]:
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))

    def entry(self, name: str) -> CatalogueEntry:
        """Where a flavour is. Raises UnknownFlavour, with the nearest names."""
        if name not in self._entries:
            raise self._unknown(name)
        return self._entries[name]

    def _unknown(self, name: str) -> UnknownFlavour:
        for directory in self.search_path:
            if any(path.name == name and path.is_dir() for path in directory.iterdir()):
                return UnknownFlavour(
                    f"{directory / name} cannot be a flavour: its name {name!r} is not allowed",
                    hint=f"rename it: {NAME_FORM}",
                )
        searched = ", ".join(str(path) for path in self.search_path)
        similar = [
            path
            for path in self.misnamed()
            if difflib.get_close_matches(name, [path.name.lower()], cutoff=0.8)
        ]
        renamed = "".join(f"{path} has a name that is not allowed: {NAME_FORM}\n" for path in similar)
        return UnknownFlavour(
            f"there is no flavour {name!r}{nearest(name, self._entries)}",
            hint=f"{renamed}looked in {searched}\n"
            "`dibo flavours` lists what there is; --flavours-path adds a directory",
        )

    def misnamed(self) -> tuple[Path, ...]:
        """Directories with a flavour.yaml or a phase whose names no flavour can have: nothing finds them."""
        marks = (_MANIFEST, *Phase)
        return tuple(
            path
            for directory in self.search_path
            for path in sorted(directory.iterdir())
            if FLAVOUR_NAME.fullmatch(path.name) is None and any((path / mark).exists() for mark in marks)
        )

    def get(self, name: str) -> Flavour:
        """A flavour, read. Raises UnknownFlavour, FlavourError, LayoutError."""
        if name not in self._read:
            copy = None if self._copies is None else self._copies / name
            self._read[name] = load_flavour(self.entry(name).path, copy=copy)
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


def load_flavour(directory: Path, *, copy: Path | None = None) -> Flavour:
    """Read one flavour, once. With `copy`, its files are in that new directory afterwards, as they were read. Raises
    FlavourError, LayoutError."""
    if FLAVOUR_NAME.fullmatch(directory.name) is None:
        raise FlavourError(f"{directory.name!r} cannot be the name of a flavour: {NAME_FORM}")
    declared = {name: _read_declaration(directory / name) for name in (_MANIFEST, _LAYOUT)}
    manifest = parse_manifest(declared[_MANIFEST].data, origin=str(directory / _MANIFEST))
    disk = _disk(directory, manifest.disk, declared[_LAYOUT].data)
    ignored = Ignore(directory)
    files = read_files(directory, ignored=ignored, copy=copy)
    _refuse_misspelt_phases(directory, ignored)
    hooks, data = _sort_out(directory, files)
    if manifest.fetch:
        _refuse_fetched(directory, files)
    ramdisk = tuple(file for file in files if is_ramdisk_file(file.path))
    if not (hooks or manifest.packages or ramdisk or disk or (directory / "README.md").exists()):
        raise FlavourError(
            f"{directory} holds nothing of a flavour: no phase, no packages, no README.md",
            hint=f"phases are {', '.join(Phase)}",
        )
    return Flavour(
        name=directory.name,
        origin=directory,
        copy=copy,
        declarations=tuple(part.file for part in declared.values() if part.file is not None),
        files=tuple(file for file in files if file not in ramdisk),
        ramdisk=ramdisk,
        hooks=hooks,
        data=data,
        summary=manifest.summary,
        packages=manifest.packages,
        needs=manifest.needs,
        clashes=manifest.clashes,
        environment=manifest.environment,
        secrets=manifest.secrets,
        local=manifest.local,
        architectures=manifest.architectures,
        fetch=manifest.fetch,
        network=manifest.network,
        disk=disk,
    )


def _disk(directory: Path, under_disk: Statement | None, data: object) -> Statement | None:
    """What the flavour says about the disk: under `disk`, or as `data` in layout.yaml."""
    if data is None:
        return under_disk
    if under_disk is not None:
        raise FlavourError(
            f"{directory} says twice how the disk is laid out: under `disk` in {_MANIFEST}, and in {_LAYOUT}",
            hint="keep one of them",
        )
    return parse_statement(data, origin=str(directory / _LAYOUT))


def read_layout(path: Path) -> Statement:
    """The layout in a file of the user's, with or without `disk:` around it. Raises LayoutError."""
    try:
        data = strict_yaml.load(read_whole(path))
    except OSError as error:
        raise LayoutError(f"cannot read the layout {path}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise LayoutError(f"cannot read the layout {path}: {' '.join(str(error).split())}") from error
    if isinstance(data, dict) and set(data) == {"disk"}:
        return parse_statement(data["disk"], origin=str(path), path="disk")
    return parse_statement(data, origin=str(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declaration:
    """A YAML file of a flavour, parsed, and its value; neither where there is none."""

    data: object = None
    file: FlavourFile | None = None


def _read_declaration(path: Path) -> _Declaration:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return _Declaration()
    except OSError as error:
        raise FlavourError(f"cannot read {path}: {error.strerror}") from error
    if len(text) > _MANIFEST_LIMIT:
        raise FlavourError(f"{path} is larger than {_MANIFEST_LIMIT >> 20} MiB")
    try:
        data = strict_yaml.load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FlavourError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    digest = hashlib.sha256(text).hexdigest()
    return _Declaration(
        data=data, file=FlavourFile(path=path.name, kind=FlavourKind.FILE, executable=False, digest=digest)
    )


def _refuse_misspelt_phases(directory: Path, ignored: Ignore) -> None:
    phases = {phase.value for phase in Phase}
    for path in directory.iterdir():
        if path.name.endswith(".d") and path.name not in phases and not ignored(f"{path.name}/"):
            raise FlavourError(
                f"{path} looks like a phase but is none{nearest(path.name, phases)}",
                hint=f"phases are {', '.join(Phase)}",
            )
        if path.name in phases and (path.is_symlink() or not path.is_dir()):
            raise FlavourError(f"the phase {path} is not a directory", hint="make it one; put hooks into it")


def _refuse_fetched(directory: Path, files: tuple[FlavourFile, ...]) -> None:
    if any(file.path.partition("/")[0] == FETCHED for file in files):
        raise FlavourError(
            f"{directory / FETCHED} cannot be seen by hooks: what is under `fetch` in {_MANIFEST} is there",
            hint="give it another name",
        )


def _sort_out(directory: Path, files: tuple[FlavourFile, ...]) -> tuple[tuple[Hook, ...], tuple[str, ...]]:
    phases = {phase.value for phase in Phase}
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


def _is_executable(directory: Path, file: FlavourFile) -> bool:
    if file.kind is FlavourKind.FILE:
        return file.executable
    target = directory / file.path
    return target.is_file() and bool(target.stat().st_mode & 0o111)


def load_wishes(flavour: Flavour) -> RamdiskRequests:
    """What a flavour requests in a ramdisk. Raises FlavourError."""
    files = {}
    for file in flavour.ramdisk:
        path = flavour.directory / file.path
        try:
            files[file.path] = path.read_bytes()
        except OSError as error:
            raise FlavourError(f"cannot read {path}: {error.strerror}") from error
    return parse_wishes(flavour.name, files, origin=str(flavour.origin))
