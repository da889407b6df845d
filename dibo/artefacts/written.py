"""Artefacts as the manifests beside them name them, and whether they are still as dibo wrote them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dibo.artefacts.checksums import sha256_of, size_of

SUFFIX: Final = ".manifest.json"
_MOST_MANIFEST: Final = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedArtefact:
    """What a manifest says of an artefact. `size` is None where it does not say, `sha256` empty where none was asked
    for."""

    type: str
    name: str
    size: int | None = None
    sha256: str = ""


def read_manifest(path: Path) -> dict[str, Any] | None:
    """None for what is no manifest."""
    try:
        if path.stat().st_size > _MOST_MANIFEST:
            return None
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    is_one = (
        isinstance(manifest, dict) and "format" in manifest and isinstance(manifest.get("artefacts"), list)
    )
    return manifest if is_one else None


def artefacts_of(manifest: dict[str, Any]) -> list[RecordedArtefact]:
    """Those that a manifest names; none whose name leads elsewhere."""
    return [
        RecordedArtefact(
            type=str(listed.get("type")),
            name=name,
            size=size if isinstance(size := listed.get("size"), int) else None,
            sha256=str(listed.get("sha256") or ""),
        )
        for listed in manifest["artefacts"]
        if isinstance(listed, dict)
        and (name := str(listed.get("name"))) not in ("", ".", "..")
        and "/" not in name
        and "\0" not in name
    ]


def manifest_beside(path: Path) -> Path | None:
    """The manifest that names the artefact at `path`, where one beside it does."""
    absolute = path.absolute()
    try:
        candidates = sorted(absolute.parent.glob(f"*{SUFFIX}"))
    except OSError:
        return None
    for candidate in candidates:
        if absolute.name.startswith(candidate.name.removesuffix(SUFFIX).split(".")[0]):
            manifest = read_manifest(candidate)
            if manifest is not None and named_in(manifest, absolute.name) is not None:
                return candidate
    return None


def named_in(manifest: dict[str, Any], name: str) -> RecordedArtefact | None:
    return next((artefact for artefact in artefacts_of(manifest) if artefact.name == name), None)


def is_as_written(path: Path) -> bool:
    """Whether a manifest beside it says what the file or directory at `path` is, to the last byte."""
    manifest = manifest_beside(path)
    document = None if manifest is None else read_manifest(manifest)
    artefact = None if document is None else named_in(document, path.absolute().name)
    try:
        return (
            artefact is not None
            and bool(artefact.sha256)
            and size_of(path) == artefact.size
            and sha256_of(path) == artefact.sha256
        )
    except OSError:
        return False


def is_unchanged(path: Path, manifest: Path, artefact: RecordedArtefact) -> bool:
    """As `is_as_written`, of an artefact that the manifest names; where it has no sha256, the size must be the same,
    and the file older than the manifest, which dibo writes last."""
    try:
        if path.is_symlink() or size_of(path) != artefact.size:
            return False
        if artefact.sha256:
            return sha256_of(path) == artefact.sha256
        return path.is_file() and path.stat().st_mtime_ns <= manifest.stat().st_mtime_ns
    except OSError:
        return False


def misfit(path: Path, manifest: Path, artefact: RecordedArtefact) -> str:
    """Why the artefact at `path` is not what the manifest says; nothing where it is. dibo writes manifests after
    artefacts, so the bytes of one that is older than its manifest count as they were."""
    try:
        size = size_of(path)
        if artefact.size is not None and size != artefact.size:
            return f"it has {size} bytes, and the manifest says {artefact.size}"
        if path.is_dir() or path.stat().st_mtime_ns <= manifest.stat().st_mtime_ns or not artefact.sha256:
            return ""
        digest = sha256_of(path)
    except OSError:
        return ""
    return (
        ""
        if digest == artefact.sha256
        else f"its sha256 is {digest}, and the manifest says {artefact.sha256}"
    )
