"""Bills of materials, each checked by the validator of its format."""

from __future__ import annotations

import json
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from dibo.api.contents.sbom import sbom
from dibo.api.settings import current_settings
from dibo.errors import OutputError, UsageError
from dibo.settings.settings import Options
from dibo.system.report import Report

STATUS = """\
Package: web
Status: install ok installed
Architecture: amd64
Version: 1:2.0+b~1-3
Source: web-source (2.0)
Description: serves <pages>
 and more

Package: plain
Status: install ok installed
Architecture: all
Version: 1.0
Description: declares nothing
"""
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
License: GPL-2+ or public-domain

Files: debian/*
License: Expat
"""
LOOSE = "opt/</script>\x1b[1m \u2603"
FILES = {
    "etc/os-release": "ID=debian\nVERSION_ID=13\nVERSION_CODENAME=trixie\nPRETTY_NAME=Debian\n",
    "var/lib/dpkg/status": STATUS,
    "var/lib/dpkg/info/web.list": "/.\n/usr/bin/web\n",
    "var/lib/dpkg/info/plain.list": "/.\n",
    "usr/share/doc/web/copyright": COPYRIGHT,
    "usr/bin/web": "program",
    LOOSE: "loose",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root.tar"
    with tarfile.open(path, "w") as tar:
        for name, text in FILES.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(text.encode()), 1_700_000_000
            tar.addfile(member, BytesIO(text.encode()))
    return path


def bill(root: Path, bill_format: str, *, files: bool = True, output: Path | None = None) -> str:
    settings = current_settings(Options(), {"IMG_PATH": str(root.parent / "cache")})
    return sbom(settings, Report(quiet=True), str(root), bill_format=bill_format, files=files, output=output)


def components(text: str) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in json.loads(text)["components"]}


def properties(entry: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in entry.get("properties", ())}


def test_cyclonedx(root: Path) -> None:
    text = bill(root, "cyclonedx")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    listed = components(text)
    web = listed["web"]
    assert (
        web["purl"] == "pkg:deb/debian/web@1:2.0%2Bb~1-3?arch=amd64&distro=debian-trixie&upstream=web-source"
    )
    assert web["licenses"][0]["expression"] == "(GPL-2.0-or-later OR LicenseRef-public-domain) AND MIT"
    assert "licenses" not in listed["plain"]
    assert listed["debian"]["version"] == "13"
    loose = next(entry for name, entry in listed.items() if name.startswith("/opt/"))
    assert (loose["type"], properties(loose)["dibo:size"], len(loose["hashes"][0]["content"])) == (
        "file",
        "5",
        64,
    )
    assert "/usr/bin/web" not in listed
    document = json.loads(text)
    assert document["metadata"]["timestamp"].startswith("2023-11-14T22:13:20")
    assert document["metadata"]["component"]["name"] == "root.tar"


def test_spdx(root: Path, tmp_path: Path) -> None:
    output = tmp_path / "web.spdx.json"
    assert bill(root, "spdx", output=output) == str(output)
    assert [
        message.validation_message for message in validate_full_spdx_document(parse_file(str(output)))
    ] == []
    document = json.loads(output.read_text())
    packages = {entry["name"]: entry for entry in document["packages"]}
    assert packages["web"]["licenseDeclared"] == "(GPL-2.0-or-later OR LicenseRef-public-domain) AND MIT"
    assert packages["plain"]["licenseDeclared"] == "NOASSERTION"
    assert packages["web"]["externalRefs"][0]["referenceLocator"].startswith("pkg:deb/debian/web@")
    assert [entry["licenseId"] for entry in document["hasExtractedLicensingInfos"]] == [
        "LicenseRef-public-domain"
    ]
    assert document["creationInfo"]["created"] == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize("bill_format", ["cyclonedx", "spdx"])
def test_the_same_image_gives_the_same_bytes_and_another_one_others(root: Path, bill_format: str) -> None:
    first = bill(root, bill_format)
    assert bill(root, bill_format) == first
    with tarfile.open(root, "a") as tar:
        tar.addfile(tarfile.TarInfo("srv/more"), BytesIO())
    key = "serialNumber" if bill_format == "cyclonedx" else "documentNamespace"
    assert json.loads(bill(root, bill_format))[key] != json.loads(first)[key]


@pytest.mark.parametrize("bill_format", ["cyclonedx", "spdx"])
def test_without_files(root: Path, bill_format: str) -> None:
    text = bill(root, bill_format, files=False)
    assert '"web"' in text
    assert "/opt/" not in text
    assert "/var/lib/dpkg" not in text


def test_outputs_that_cannot_be_written(root: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        bill(root, "spdx", output=tmp_path / "none" / "x.json")
    with pytest.raises((OutputError, UsageError)):
        bill(root, "spdx", output=tmp_path / "cache")


def test_an_image_without_packages_gives_no_warning_of_a_library(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "file").write_text("of no package")
    assert components(bill(tmp_path, "cyclonedx"))
    assert not [str(warning.message) for warning in recwarn if "BOM" in str(warning.message)]
