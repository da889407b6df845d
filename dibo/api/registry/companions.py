"""What lies beside an artefact and belongs to it: its bills of materials and its provenance.

    web.qcow2, web.manifest.json        the artefact, and the record of it
    web.cdx.json, web.spdx.json         bills
    web.provenance.json                 provenance

They are sent with the artefact, and so must be of it: provenance names its digest, and a bill has the packages that the
record has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dibo.artefacts import oci_artefact
from dibo.artefacts.manifest import SUFFIX
from dibo.artefacts.provenance import PROVENANCE_SUFFIX
from dibo.artefacts.recorded import RecordedImage, find, read_as_manifest
from dibo.errors import ManifestError, UsageError
from dibo.trust.statements import parse_statement

_BILLS: Final = {".cdx.json": oci_artefact.CYCLONEDX, ".spdx.json": oci_artefact.SPDX}
_LARGEST: Final = 256 << 20
"""Bytes of a bill: it lists each file that belongs to no package."""
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """A file to send. `media_type` is that of its artefact, too."""

    path: Path
    media_type: str
    annotations: Mapping[str, str]


def record_of(file: Path) -> RecordedImage | None:
    """The manifest beside an artefact; None where there is none."""
    try:
        return find(file)
    except ManifestError:
        return None


def companions_of(file: Path, record: RecordedImage | None, digests: Sequence[str]) -> tuple[Companion, ...]:
    """Of the artefact `file`, whose files have the `digests`, sha256 in hexadecimal. Raises UsageError for those that
    are of another artefact, SignatureError for provenance that cannot be read."""
    stem = record.path.name.removesuffix(SUFFIX) if record is not None else file.name.partition(".")[0]
    return tuple(_found(file, stem, record, digests))


def _found(
    file: Path, stem: str, record: RecordedImage | None, digests: Sequence[str]
) -> Iterator[Companion]:
    for suffix, kind in _BILLS.items():
        bill = file.with_name(f"{stem}{suffix}")
        if bill.is_file():
            _check_bill(bill, file, record)
            yield Companion(path=bill, media_type=kind, annotations={})
    provenance = file.with_name(f"{stem}{PROVENANCE_SUFFIX}")
    if provenance.is_file():
        statement = parse_statement(_read(provenance), description=str(provenance))
        if not statement.digests >= set(digests):
            raise UsageError(
                f"{provenance} is of another artefact: it does not name the sha256 of {file}",
                hint=f"write it again (dibo provenance {file}), remove it, or push with --alone",
            )
        signed = bool(statement.signatures)
        yield Companion(
            path=provenance,
            media_type=oci_artefact.BUNDLE if signed else oci_artefact.IN_TOTO,
            annotations={
                oci_artefact.PREDICATE if signed else oci_artefact.IN_TOTO_PREDICATE: statement.predicate_type
            },
        )


def _check_bill(bill: Path, file: Path, record: RecordedImage | None) -> None:
    if record is None or record.manifest.get("packages") is None:
        return
    with read_as_manifest(record.path):
        recorded = {(package["name"], package["version"]) for package in record.manifest["packages"]}
    try:
        listed = set(_packages(json.loads(_read(bill))))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{bill} is no bill of materials: {error!r}", hint=_hint(bill, file)) from error
    if different := sorted(recorded ^ listed):
        names = ", ".join(f"{name} {version}" for name, version in different[:_SHOWN])
        raise UsageError(
            f"{bill} is of another image: {len(different)} packages differ from {record.path.name}: {names}",
            hint=_hint(bill, file),
        )


def _hint(bill: Path, file: Path) -> str:
    chosen = " --format spdx" if bill.name.endswith(".spdx.json") else ""
    return f"write it again (dibo sbom{chosen} -o {bill} {file}), remove it, or push with --alone"


def _packages(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and versions of what a bill lists with a purl."""
    for component in document.get("components", ()):
        if "purl" in component:
            yield component["name"], component.get("version", "")
    for package in document.get("packages", ()):
        if any(reference.get("referenceType") == "purl" for reference in package.get("externalRefs", ())):
            yield package["name"], package.get("versionInfo", "")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
