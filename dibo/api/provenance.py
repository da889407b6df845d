"""Provenance of artefacts that were made: written, and read back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dibo.artefacts.checksums import sha256_of
from dibo.artefacts.outputs import check_output_file
from dibo.artefacts.provenance import (
    ManifestFile,
    ProvenanceRequest,
    provenance_path,
    provenance_text,
    statement_of,
)
from dibo.artefacts.recorded import Manifest, RecordedImage, check_files, find, read_as_manifest
from dibo.errors import Differs, ManifestError, OutputError, SignatureError
from dibo.settings.settings import Settings
from dibo.system.report import Report
from dibo.trust.keys import PublicKey
from dibo.trust.policy import trust_of
from dibo.trust.statements import LARGEST, parse_statement


def provenance(settings: Settings, report: Report, path: Path, *, output: Path | None) -> str:
    """The provenance of the artefact at `path`, or of all of the manifest there, as JSON; with an output, written
    there, and its path is returned. Raises ManifestError, OutputError, UsageError, Differs for files that are not what
    the manifest says."""
    recorded = find(path)
    if output is not None:
        check_output_file(output)
    with report.task("read artefacts"), read_as_manifest(recorded.path):
        require_files(recorded)
        manifest = with_checksums(recorded)
    with read_as_manifest(recorded.path):
        request = ProvenanceRequest(key=trust_of(settings).sign_key)
        text = provenance_text(manifest, _file_of(recorded), request)
    if output is None:
        return text
    try:
        output.write_text(text)
    except OSError as error:
        raise OutputError(f"cannot write {output}: {error.strerror}") from error
    return str(output)


def require_files(recorded: RecordedImage) -> None:
    """Raises Differs unless the files are what the manifest says, ManifestError where one is missing."""
    if tampered := check_files(recorded):
        error = Differs("a file is not what its manifest says", hint="make the artefacts again")
        error.details = tuple(tampered)
        raise error


def with_checksums(recorded: RecordedImage) -> Manifest:
    """The manifest with the sha256 of each artefact: of those without one, that of the file. Raises ManifestError for a
    file that is missing."""
    artefacts = []
    for artefact in recorded.manifest["artefacts"]:
        file = recorded.path.with_name(artefact["name"])
        if artefact["sha256"] is None and not file.exists():
            raise ManifestError(f"{file}, which {recorded.path.name} names, is not there")
        artefacts.append({**artefact, "sha256": artefact["sha256"] or sha256_of(file)})
    return {**recorded.manifest, "artefacts": artefacts}


def _file_of(recorded: RecordedImage) -> ManifestFile:
    return ManifestFile.of(recorded.path.name, recorded.path.read_bytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedProvenance:
    """Provenance that agrees with the manifest beside it."""

    path: Path
    signed: bool
    signer: PublicKey | None
    """The key that was accepted; None where none was asked for."""


def check_provenance(recorded: RecordedImage, keys: Sequence[PublicKey]) -> CheckedProvenance | None:
    """The provenance beside a manifest; None where there is none. Raises SignatureError where keys are given and none
    of them signed it, or it is missing; ManifestError where it says something else than the manifest."""
    path = provenance_path(recorded.path)
    if not path.is_file():
        if keys:
            raise SignatureError(
                f"there is no provenance beside {recorded.path}, and so nothing that is signed",
                hint="build with --provenance and --sign-key; or sign it: dibo provenance --sign-key",
            )
        return None
    try:
        with path.open("rb") as file:
            statement = parse_statement(file.read(LARGEST + 1), description=str(path))
    except OSError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror}") from error
    signer = statement.signer(keys)
    if keys and signer is None:
        names = ", ".join(key.name for key in keys)
        raise SignatureError(
            f"{path} is {'signed by no key of ' + names if statement.signatures else 'not signed'}",
            hint="name the key that signed it: --verify-key",
        )
    with read_as_manifest(recorded.path):
        expected = statement_of(with_checksums(recorded), _file_of(recorded))
        same = json.loads(statement.payload) == expected
    if not same:
        raise ManifestError(
            f"{path} says something else than {recorded.path.name}",
            hint=f"one of them is of another build, or was changed; write it anew: dibo provenance -o {path}",
        )
    return CheckedProvenance(path=path, signed=bool(statement.signatures), signer=signer)
