"""A small root as an OCI layout, which `convert` and the examples of the documentation take."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from tests.support.images.oci_layouts import LayerTar, OciLayout

OS_RELEASE = 'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n'
STATUS = """\
Package: nginx
Status: install ok installed
Architecture: amd64
Version: 1.26.3-3

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
FILES = {"etc/os-release": OS_RELEASE, "var/lib/dpkg/status": STATUS, "var/www/html/index.html": "hello\n"}


def layer_tar(path: Path) -> Path:
    """An uncompressed layer with FILES."""
    with tarfile.open(path, "w") as tar:
        for name, text in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


def write_layout(directory: Path, tag: str) -> Path:
    """The OCI layout `directory` with one image of one layer."""
    layout = OciLayout(directory)
    layout.write_index({tag: layout.image([LayerTar(tar=layer_tar(directory / "layer.tar"))])})
    (directory / "layer.tar").unlink()
    return directory
