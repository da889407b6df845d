"""Provenance of artefacts: what the manifest beside them records, as a statement that other programs read.

    artefact ◄── root ◄── layers ◄── base, or image
                            ▲
                            └── flavours ◄── their files

in-toto Statement v1 with the predicate SLSA Provenance v1 (https://slsa.dev/spec/v1.0/provenance). It is a pure
function of the manifest: the same image has the same statement, with no time, machine or user in it.
docs/reference/provenance.md says what each part means.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dibo.artefacts.manifest import SUFFIX
from dibo.settings.settings import Settings
from dibo.trust.keys import PrivateKey
from dibo.trust.statements import STATEMENT_TYPE, bundle_text, statement_text

PREDICATE_TYPE: Final = "https://slsa.dev/provenance/v1"
PROVENANCE_SUFFIX: Final = ".provenance.json"
BUILD_TYPE: Final = "urn:dibo:build:v1"
BUILDER: Final = "urn:dibo:builder"
_SHA256: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_PARAMETERS: Final = ("architecture", "epoch", "environment", "options", "disk", "ramdisk", "conversion")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenanceRequest:
    """Provenance is written, signed with this key, if any."""

    key: PrivateKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """The file of a manifest. `sha256` is hexadecimal."""

    name: str
    sha256: str

    @classmethod
    def of(cls, name: str, content: bytes) -> ManifestFile:
        return cls(name=name, sha256=hashlib.sha256(content).hexdigest())


def provenance_request(settings: Settings) -> ProvenanceRequest | None:
    """What the settings say of provenance: None for none, else the key that signs it. Raises UsageError."""
    if not settings.provenance:
        return None
    from dibo.trust.policy import trust_of

    return ProvenanceRequest(key=trust_of(settings).sign_key)


def provenance_path(manifest: Path) -> Path:
    """Where provenance goes: `web.manifest.json` gives `web.provenance.json`."""
    return manifest.with_name(f"{manifest.name.removesuffix(SUFFIX)}{PROVENANCE_SUFFIX}")


def provenance_text(manifest: Mapping[str, Any], record: ManifestFile, request: ProvenanceRequest) -> str:
    """The statement of a manifest; signed, a Sigstore bundle with it. Each artefact there needs its sha256."""
    payload = statement_text(statement_of(manifest, record))
    return (bundle_text(payload, request.key) if request.key is not None else payload).decode()


def statement_of(manifest: Mapping[str, Any], record: ManifestFile) -> Document:
    """The statement of a manifest."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": artefact["name"], "digest": {"sha256": artefact["sha256"]}}
            for artefact in manifest["artefacts"]
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": _parameters(manifest),
                "internalParameters": {"source-date-epoch": manifest["source-date-epoch"]},
                "resolvedDependencies": list(_dependencies(manifest)),
            },
            "runDetails": {
                "builder": {
                    "id": BUILDER,
                    "version": {key: value for key, value in manifest["made-by"].items() if key != "command"},
                },
                "byproducts": [{"name": record.name, "digest": {"sha256": record.sha256}}],
            },
        },
    }


def root_digest(manifest: Mapping[str, Any]) -> str:
    """The sha256 of the digests of all layers, a line for each, the lowest first; hexadecimal."""
    lines = "".join(f"{_layer_digest(layer) or ''}\n" for layer in manifest["layers"])
    return hashlib.sha256(lines.encode()).hexdigest()


def _parameters(manifest: Mapping[str, Any]) -> Document:
    """What the user asked for."""
    parameters: Document = {"command": manifest["made-by"]["command"]}
    parameters |= {key: manifest[key] for key in _PARAMETERS if key in manifest}
    if "base" in manifest:
        base = manifest["base"]
        parameters["base"] = {key: base[key] for key in ("name", "wanted", "release", "mirror")}
    for kind in ("flavours", "elements"):
        if kind in manifest:
            parameters[kind] = [part["name"] for part in manifest[kind] if part["asked"]]
    for part in ("image", "kit"):
        if part in manifest:
            parameters[part] = manifest[part]["name"]
    return parameters


def _dependencies(manifest: Mapping[str, Any]) -> Iterator[Document]:
    """Resource descriptors of the base or the image, of flavours with their files and those that were fetched, of each
    layer and of the root."""
    if "base" in manifest:
        yield _base(manifest["base"])
    for part in ("image", "kit"):
        if part in manifest:
            yield _resource(part, manifest[part]["digest"], {"name": manifest[part]["name"]})
    for kind in ("flavours", "elements"):
        for part in manifest.get(kind, ()):
            name = f"{kind}/{part['name']}"
            yield _resource(name, part["digest"], {"from": part["from"]})
            for path, digest in part.get("files", {}).items():
                yield _resource(f"{name}/{path}", digest, {})
            for file in part.get("fetched", ()):
                uri = {"uri": file["urls"][0]}
                yield {**_resource(f"{name}/fetched/{file['name']}", file["sha256"], {}), **uri}
    for number, layer in enumerate(manifest["layers"]):
        keys = ("title", "key", "flavour", "diff-id")
        yield _resource(
            f"layers/{number}",
            _layer_digest(layer),
            {key: layer[key] for key in keys if layer.get(key)},
        )
    yield _resource("root", root_digest(manifest), {})


def _layer_digest(layer: Mapping[str, Any]) -> str | None:
    """Of what a layer changes; where that was not recorded, of its tar."""
    digest = layer.get("digest") or layer.get("diff-id")
    return str(digest) if digest else None


def _base(base: Mapping[str, Any]) -> Document:
    digests = [match[1] for value in base["ingredients"].values() if (match := _SHA256.fullmatch(str(value)))]
    return _resource("base", digests[0] if digests else None, {"name": base["name"], **base["ingredients"]})


def _resource(name: str, digest: str | None, annotations: Mapping[str, Any]) -> Document:
    """A ResourceDescriptor of in-toto."""
    resource: Document = {"name": name}
    if digest is not None:
        resource["digest"] = {"sha256": digest.removeprefix("sha256:")}
    else:
        resource["uri"] = f"urn:dibo:{name}:{annotations.get('name', '')}"
    if annotations:
        resource["annotations"] = dict(annotations)
    return resource
