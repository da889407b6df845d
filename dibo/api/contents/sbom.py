"""From the name of an image to its bill of materials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dibo.api.contents.read import read_request
from dibo.artefacts.outputs import check_output_file
from dibo.contents.inventory import InstalledPackage
from dibo.contents.licenses import debian_license
from dibo.contents.read import OpenedContents, open_contents
from dibo.errors import ToolMissing
from dibo.sbom.bill import Bill, bill_of, loose_paths
from dibo.settings.settings import Settings
from dibo.system.report import Report


def sbom(
    settings: Settings, report: Report, name: str, *, bill_format: str, files: bool, output: Path | None
) -> str:
    """The bill of the image `name` as JSON, with files of no package where `files`; with an output, written there, and
    its path is returned. Raises as dibo.contents.read.open_contents does, ToolMissing where the libraries are not
    installed."""
    write = _writer(bill_format)
    if output is not None:
        check_output_file(output)
    with read_request(settings, report, hashes=files) as reading, open_contents(name, reading) as contents:
        with report.task("list packages and files"):
            text = write(_bill(contents, name, files=files))
        for note in contents.inventory.notes:
            report.warn(note)
        if output is None:
            return text
        with reading.run.output(output) as part:
            part.write_text(text)
    return str(output)


def _writer(bill_format: str) -> Callable[[Bill], str]:
    try:
        if bill_format == "spdx":
            from dibo.sbom.spdx import spdx_text

            return spdx_text
        from dibo.sbom.cyclonedx import cyclonedx_text
    except ImportError as error:
        raise ToolMissing(
            f"bills of materials need a Python library: {error}",
            hint="install dibo with its extra sbom: dibo[sbom]",
        ) from error
    return cyclonedx_text


def _bill(contents: OpenedContents, name: str, *, files: bool) -> Bill:
    from cyclonedx.spdx import fixup_id

    inventory, root = contents.inventory, contents.source.root

    def license_of(package: InstalledPackage) -> str | None:
        return debian_license(root, package.name, fixup_id) if package.manager == "dpkg" else None

    paths = loose_paths(inventory) if files else ()
    digests = {path: inventory.files[path].digest for path in paths if inventory.files[path].digest}
    digests |= contents.digests(path for path in paths if path not in digests)
    shown_name = Path(name).name if Path(name).exists() else name
    return bill_of(inventory, digests, name=shown_name, license_of=license_of)
