"""Roots with what they say to apt, and nothing that runs, as tars."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

CHANGED = 1767225600
"""When packages of such a root changed last: 2026-01-01, in seconds since 1970."""
KEYRING = "usr/share/keyrings/archive.gpg"
OS_RELEASE = 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n'


def stanza(
    name: str, version: str, *, architecture: str = "amd64", status: str = "install", **more: str
) -> str:
    """A package that is installed, as dpkg writes it."""
    fields = {
        "Package": name,
        "Status": f"{status} ok installed",
        "Architecture": architecture,
        "Version": version,
        **{field.replace("_", "-"): value for field, value in more.items()},
        "Description": "of a test\n more of it",
    }
    return "".join(f"{field}: {value}\n" for field, value in fields.items()) + "\n"


APT = stanza("apt", "2.7.14") + stanza("libc", "2.39-1", Essential="yes")


def sources(address: str, *suites: str, signed_by: str = f"/{KEYRING}") -> str:
    """As Ubuntu's images have them."""
    return (
        f"# of a test\nTypes: deb deb-src\nURIs: {address}\nSuites: {' '.join(suites)}\nComponents: main\n"
        f"Signed-By: {signed_by}\n"
    )


def apt_root(files: Mapping[str, str | bytes], *, links: Mapping[str, str] | None = None) -> bytes:
    """A tar with these files, an os-release and a database of packages unless they have their own, and symbolic
    links."""
    contents = {"etc/os-release": OS_RELEASE, "var/lib/dpkg/status": APT, **files}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, content in contents.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(path)
            info.size, info.mode, info.mtime = len(data), 0o644, CHANGED
            tar.addfile(info, io.BytesIO(data))
        for path, target in (links or {}).items():
            info = tarfile.TarInfo(path)
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
            tar.addfile(info)
    return out.getvalue()


def write_apt_root(
    path: Path, files: Mapping[str, str | bytes], *, links: Mapping[str, str] | None = None
) -> Path:
    path.write_bytes(apt_root(files, links=links))
    return path
