"""From what a user writes after --base to a base.

    ubuntu, ubuntu:RELEASE          Ubuntu's cloud root file system
    debian, debian:RELEASE          built by mmdebstrap
    oci:DIR, oci:DIR:TAG            an image in an OCI layout
    docker://NAME, HOST/NAME        an image in a registry
    PATH                            a tar or squashfs here: has a slash, or is there
    http(s)://…#sha256=HEX          a tar or squashfs elsewhere

A word that could be an image or a file is neither: `fedora` may be a file that is not there or an image of
Docker Hub, and a wrong guess would be found out late.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dibo.build.bases import releases
from dibo.build.bases.debian import Debian
from dibo.build.bases.settings import BaseSettings
from dibo.build.bases.tarball import LocalFile, remote_file
from dibo.build.bases.ubuntu import Ubuntu
from dibo.errors import UsageError
from dibo.images.reference import names_a_host
from dibo.plan.base import Base
from dibo.system.report import Report
from dibo.system.workspace import Workspace

__all__ = ["BaseSettings", "choose_base"]

POSSIBLE: Final = (
    "a base is one of\n"
    "  ubuntu, ubuntu:RELEASE, debian, debian:RELEASE\n"
    "  oci:DIR, oci:DIR:TAG           an image in an OCI layout\n"
    "  docker://NAME, HOST/NAME:TAG   an image in a registry\n"
    "  ./FILE                         a tar or squashfs\n"
    "  https://…#sha256=HEX           a tar or squashfs"
)


def choose_base(spec: str, *, settings: BaseSettings, workspace: Workspace, report: Report) -> Base:
    """The base that `spec` means. Looks at no network. Raises UsageError."""
    from dibo.build.bases.image import (  # brings oras along, which takes longer than a plan
        OciLayout,
        RegistryImage,
    )

    kind, colon, rest = spec.partition(":")
    if kind in ("ubuntu", "debian") and (rest or not colon):
        return _distribution(kind, rest, settings=settings, workspace=workspace, report=report)
    if spec.startswith(("http://", "https://")):
        return remote_file(spec, settings=settings, workspace=workspace, report=report)
    if kind == "oci" and colon:
        return OciLayout(spec, settings=settings)
    if spec.startswith("docker://"):
        return RegistryImage(spec, settings=settings)
    path = Path(spec).expanduser()
    if spec and path.is_file():
        return LocalFile(path, settings=settings, workspace=workspace)
    if spec.startswith(("/", "./", "../", "~")) or not spec or path.is_dir():
        problem = "is a directory" if spec and path.is_dir() else "is not there"
        raise UsageError(f"{spec!r} cannot be a base: it {problem}", hint=POSSIBLE)
    if names_a_host(spec):
        return RegistryImage(spec, settings=settings)
    raise UsageError(
        f"{spec!r} is neither a base nor a file", hint=f"{POSSIBLE}\nif it is an image: docker://{spec}"
    )


def _distribution(
    kind: str, release: str, *, settings: BaseSettings, workspace: Workspace, report: Report
) -> Base:
    """What comes after the colon counts more than RELEASE, which counts more than the newest."""
    if kind == "ubuntu":
        wanted = release or settings.release or releases.NEWEST_UBUNTU_LTS
        return Ubuntu(wanted, settings=settings, workspace=workspace, report=report)
    return Debian(release or settings.release or releases.NEWEST_DEBIAN_STABLE, settings=settings)
