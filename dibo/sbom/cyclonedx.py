"""A bill of materials in CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/), by the library cyclonedx-python-lib."""

from __future__ import annotations

from collections.abc import Iterator

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import LicenseAcknowledgement, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from dibo import __version__
from dibo.sbom.bill import Bill, ListedPackage, LooseFile, Origin, origin_fields


def cyclonedx_text(bill: Bill) -> str:
    """JSON, the components sorted."""
    subject = Component(
        name=bill.name,
        type=ComponentType.CONTAINER if bill.is_container else ComponentType.OPERATING_SYSTEM,
        version=bill.digest or None,
        bom_ref="image",
        properties=[Property(name="dibo:architecture", value=bill.architecture)] if bill.architecture else [],
    )
    metadata = BomMetaData(
        component=subject,
        timestamp=bill.time,
        tools=[],
        properties=[Property(name="dibo:note", value=note) for note in bill.notes],
    )
    metadata.tools.components.add(
        Component(name="dibo", type=ComponentType.APPLICATION, version=__version__, bom_ref="dibo")
    )
    packages = [_package(entry) for entry in bill.packages]
    bom = Bom(
        metadata=metadata,
        serial_number=bill.identity,
        components=[*_system(bill), *packages, *map(_file, bill.files)],
        dependencies=[Dependency(subject.bom_ref, [Dependency(entry.bom_ref) for entry in packages])],
    )
    # It takes time that grows with the square of the number of components, and looks for dependencies that are on none
    # of them: there cannot be any here.
    bom.validate = lambda: True  # type: ignore[method-assign]
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _system(bill: Bill) -> Iterator[Component]:
    if name := bill.system.get("ID"):
        yield Component(
            name=name,
            type=ComponentType.OPERATING_SYSTEM,
            version=bill.system.get("VERSION_ID") or None,
            description=bill.system.get("PRETTY_NAME") or None,
            bom_ref="system",
        )


def _package(entry: ListedPackage) -> Component:
    package = entry.package
    declared = LicenseAcknowledgement.DECLARED
    return Component(
        name=package.name,
        type=ComponentType.LIBRARY,
        version=package.version or None,
        description=package.summary.partition("\n")[0] or None,
        bom_ref=entry.purl,
        purl=PackageURL.from_string(entry.purl),
        licenses=[LicenseExpression(entry.license, acknowledgement=declared)] if entry.license else [],
        properties=_properties(entry.origin),
    )


def _file(entry: LooseFile) -> Component:
    return Component(
        name=entry.path,
        type=ComponentType.FILE,
        bom_ref=f"file:{entry.path}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=entry.sha256)],
        properties=[Property(name="dibo:size", value=str(entry.size)), *_properties(entry.origin)],
    )


def _properties(origin: Origin) -> list[Property]:
    return [Property(name=f"dibo:{name}", value=value) for name, value in origin_fields(origin)]
