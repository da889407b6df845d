"""A bill of materials in SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/), by the library spdx-tools.

Files that belong to no package are packages with the purpose FILE: what SPDX calls files needs a SHA-1.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, Final

from license_expression import get_spdx_licensing
from spdx_tools.spdx.model import (
    Actor,
    ActorType,
    Checksum,
    ChecksumAlgorithm,
    CreationInfo,
    Document,
    ExternalPackageRef,
    ExternalPackageRefCategory,
    ExtractedLicensingInfo,
    Package,
    PackagePurpose,
    Relationship,
    RelationshipType,
    SpdxNoAssertion,
)
from spdx_tools.spdx.writer.json.json_writer import write_document_to_stream

from dibo import __version__
from dibo.sbom.bill import Bill, ListedPackage, LooseFile, Origin, origin_fields

_IMAGE: Final = "SPDXRef-image"
_DOCUMENT: Final = "SPDXRef-DOCUMENT"
_EXTRACTED: Final = "See /usr/share/doc/NAME/copyright of the packages that declare it."


def spdx_text(bill: Bill) -> str:
    """JSON, packages sorted."""
    packages = [_image(bill), *_packages(bill)]
    document = Document(
        creation_info=CreationInfo(
            spdx_version="SPDX-2.3",
            spdx_id=_DOCUMENT,
            name=bill.name,
            document_namespace=f"https://spdx.org/spdxdocs/dibo-{bill.identity}",
            creators=[Actor(ActorType.TOOL, f"dibo-{__version__}")],
            created=bill.time,
            document_comment="\n".join(bill.notes) or None,
        ),
        packages=packages,
        extracted_licensing_info=[
            ExtractedLicensingInfo(license_id=name, extracted_text=_EXTRACTED, license_name=name)
            for name in _references(bill)
        ],
        relationships=[
            Relationship(_DOCUMENT, RelationshipType.DESCRIBES, _IMAGE),
            *(Relationship(_IMAGE, RelationshipType.CONTAINS, package.spdx_id) for package in packages[1:]),
        ],
    )
    stream = io.StringIO()
    write_document_to_stream(document, stream, validate=False)  # a test does; it takes longer than the rest
    return json.dumps(json.loads(stream.getvalue()), indent=2) + "\n"


def _image(bill: Bill) -> Package:
    purpose = PackagePurpose.CONTAINER if bill.is_container else PackagePurpose.OPERATING_SYSTEM
    return Package(
        spdx_id=_IMAGE,
        name=bill.name,
        version=bill.digest or None,
        **_unknown(),
        primary_package_purpose=purpose,
    )


def _packages(bill: Bill) -> Iterator[Package]:
    for number, entry in enumerate(bill.packages):
        yield _package(entry, f"SPDXRef-package-{number}")
    for number, file in enumerate(bill.files):
        yield _file(file, f"SPDXRef-file-{number}")


def _package(entry: ListedPackage, spdx_id: str) -> Package:
    package = entry.package
    licensing = get_spdx_licensing()
    reference = ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", entry.purl)
    fields = _unknown()
    if entry.license:
        fields["license_declared"] = licensing.parse(entry.license)
    return Package(
        spdx_id=spdx_id,
        name=package.name,
        version=package.version or None,
        **fields,
        source_info=_source_info(entry.origin),
        summary=package.summary.partition("\n")[0] or None,
        external_references=[reference],
        primary_package_purpose=PackagePurpose.LIBRARY,
    )


def _file(entry: LooseFile, spdx_id: str) -> Package:
    return Package(
        spdx_id=spdx_id,
        name=entry.path,
        file_name=entry.path,
        **_unknown(),
        checksums=[Checksum(ChecksumAlgorithm.SHA256, entry.sha256)],
        source_info=_source_info(entry.origin),
        primary_package_purpose=PackagePurpose.FILE,
    )


def _unknown() -> dict[str, Any]:
    """What is not known of a package."""
    return {
        "download_location": SpdxNoAssertion(),
        "files_analyzed": False,
        "license_concluded": SpdxNoAssertion(),
        "license_declared": SpdxNoAssertion(),
        "copyright_text": SpdxNoAssertion(),
    }


def _source_info(origin: Origin) -> str | None:
    return ", ".join(f"{name} {value}" for name, value in origin_fields(origin)) or None


def _references(bill: Bill) -> list[str]:
    """All names of licenses that SPDX does not list."""
    words = {word.strip("()") for entry in bill.packages for word in (entry.license or "").split()}
    return sorted(word for word in words if word.startswith("LicenseRef-"))
