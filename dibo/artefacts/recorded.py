"""Artefacts and the manifests beside them: found, read, and compared with what dibo wrote.

    web.qcow2  web.raw  ◄── named, with size and sha256, by ──  web.manifest.json

A manifest that names files elsewhere, or that has another format, is none. `find` says why there is none for a path
that a user named; `beside` looks for one that only tells more of an artefact.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from dibo.artefacts.checksums import sha256_of, size_of
from dibo.errors import ManifestError

SUFFIX: Final = ".manifest.json"
FORMAT: Final = 1
_LARGEST: Final = 64 << 20
"""Bytes of a manifest."""
_NAME_IT: Final = "name the one that dibo wrote beside the image"

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedArtefact:
    """What a manifest says of an artefact, which is a file or a directory beside it. `size` is None where it does not
    say, `sha256` empty where none was asked for."""

    type: str
    name: str
    size: int | None
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedImage:
    """A manifest, and those of the artefacts that it names that are meant."""

    path: Path
    manifest: Manifest
    artefacts: tuple[RecordedArtefact, ...]

    def file(self, artefact: RecordedArtefact) -> Path:
        return self.path.with_name(artefact.name)


def read(path: Path) -> RecordedImage:
    """A manifest, with all of its artefacts. Raises ManifestError for what is none."""
    try:
        if not path.is_file():
            raise ValueError("it is not a file")
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST >> 20} MiB")
        manifest = dict(json.loads(path.read_bytes()))
        if manifest["format"] != FORMAT:
            raise ManifestError(
                f"{path} has the format {manifest['format']}; this dibo knows {FORMAT}", hint=_NAME_IT
            )
        artefacts = tuple(_artefact(artefact) for artefact in manifest["artefacts"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(f"{path} is no manifest: {_reason(error)}", hint=_NAME_IT) from error
    if not all(_is_name(artefact.name) for artefact in artefacts):
        raise ManifestError(f"{path} names files elsewhere", hint=_NAME_IT)
    return RecordedImage(path=path, manifest=manifest, artefacts=artefacts)


def _artefact(listed: dict[str, Any]) -> RecordedArtefact:
    size = listed.get("size")
    return RecordedArtefact(
        type=str(listed["type"]),
        name=str(listed["name"]),
        size=size if isinstance(size, int) else None,
        sha256=str(listed.get("sha256") or ""),
    )


def _is_name(name: str) -> bool:
    """Whether it is that of a file in the directory of the manifest."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return str(error) if isinstance(error, ValueError) else repr(error)


@contextmanager
def read_as_manifest(path: Path) -> Iterator[None]:
    """What is missing in a manifest, or is of another kind, is ManifestError."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(f"{path} is no manifest: {error!r}", hint=_NAME_IT) from error


def find(path: Path) -> RecordedImage:
    """The manifest at `path`, or the one beside the artefact there. Raises ManifestError."""
    if not path.is_file() and not path.is_dir():
        raise ManifestError(
            f"{path} is neither a file nor a directory", hint="name an image, or its manifest"
        )
    if path.name.endswith(SUFFIX):
        return read(path)
    recorded, broken = _beside(path)
    if recorded is not None:
        return recorded
    raise broken or ManifestError(
        f"no manifest beside {path} names it",
        hint=f"dibo writes NAME{SUFFIX} beside what it makes: keep them together",
    )


def beside(path: Path) -> RecordedImage | None:
    """The manifest beside the artefact at `path` that names it, with that artefact alone; None where none does."""
    return _beside(path)[0]


def _beside(path: Path) -> tuple[RecordedImage | None, ManifestError | None]:
    """The same; where there is none, why the first that might be it cannot be read."""
    broken: ManifestError | None = None
    try:
        candidates = sorted(path.absolute().parent.glob(f"*{SUFFIX}"))
    except OSError:
        candidates = []
    for candidate in candidates:
        if not path.absolute().name.startswith(candidate.name.removesuffix(SUFFIX).split(".")[0]):
            continue
        try:
            recorded = read(candidate)
        except ManifestError as error:
            broken = broken or error
            continue
        named = tuple(artefact for artefact in recorded.artefacts if artefact.name == path.absolute().name)
        if named:
            return replace(recorded, artefacts=named), None
    return None, broken


def check_files(recorded: RecordedImage) -> list[str]:
    """What is not as the manifest says. Raises ManifestError where a file is missing."""
    tampered = []
    for artefact in recorded.artefacts:
        file = recorded.file(artefact)
        if not file.exists():
            raise ManifestError(f"{file}, which {recorded.path.name} names, is not there")
        if artefact.sha256 and sha256_of(file) != artefact.sha256:
            kind = "directory" if file.is_dir() else "file"
            tampered.append(
                f"{file} is not the {kind} that {recorded.path.name} describes: its sha256 is another"
            )
    return tampered


def is_as_written(path: Path) -> bool:
    """Whether a manifest beside it says what the file or directory at `path` is, to the last byte."""
    recorded = beside(path)
    if recorded is None or not recorded.artefacts[0].sha256:
        return False
    try:
        return _is_the_same(path, recorded.artefacts[0])
    except OSError:
        return False


def _is_the_same(path: Path, artefact: RecordedArtefact) -> bool:
    """By its bytes. Raises OSError."""
    return size_of(path) == artefact.size and sha256_of(path) == artefact.sha256


def is_unchanged(recorded: RecordedImage, artefact: RecordedArtefact) -> bool:
    """As `is_as_written`, of an artefact that the manifest names; where it has no sha256, the size must be the same,
    and the file older than the manifest, which dibo writes last."""
    path = recorded.file(artefact)
    try:
        if path.is_symlink():
            return False
        if artefact.sha256:
            return _is_the_same(path, artefact)
        return path.is_file() and size_of(path) == artefact.size and not _is_younger(path, recorded.path)
    except OSError:
        return False


def misfit(recorded: RecordedImage, artefact: RecordedArtefact) -> str:
    """Why an artefact is not what the manifest says; nothing where it is. dibo writes manifests after artefacts, so the
    bytes of one that is older than its manifest count as they were."""
    path = recorded.file(artefact)
    try:
        size = size_of(path)
        if artefact.size is not None and size != artefact.size:
            return f"it has {size} bytes, and the manifest says {artefact.size}"
        if path.is_dir() or not _is_younger(path, recorded.path) or not artefact.sha256:
            return ""
        digest = sha256_of(path)
    except OSError:
        return ""
    if digest == artefact.sha256:
        return ""
    return f"its sha256 is {digest}, and the manifest says {artefact.sha256}"


def _is_younger(path: Path, manifest: Path) -> bool:
    return path.stat().st_mtime_ns > manifest.stat().st_mtime_ns
