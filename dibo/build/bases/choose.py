"""From what a user writes after --base to a base: the table of kinds, asked in their order.

A word that could be an image or a file is neither: `fedora` may be a file that is not there or an image of
Docker Hub, and a wrong guess would be found out late.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dibo.build.bases import releases
from dibo.build.bases.debian import CLOUD_ROOT, MINIMAL_ROOT, Debian
from dibo.build.bases.empty import Empty
from dibo.build.bases.settings import BaseSettings
from dibo.build.bases.tarball import LocalFile, remote_file
from dibo.build.bases.ubuntu import Ubuntu
from dibo.errors import UsageError
from dibo.flavours.schema import nearest
from dibo.images.reference import names_a_host
from dibo.plan.base import Base
from dibo.system.report import Report
from dibo.system.resources import expanded
from dibo.system.workspace import Workspace

__all__ = ["BASES", "BaseSettings", "choose_base"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user wrote, and what a base is made with."""

    spec: str
    settings: BaseSettings
    workspace: Workspace
    report: Report

    def release(self, newest: str) -> str:
        """What comes after the colon counts more than RELEASE, which counts more than the newest."""
        return self.spec.partition(":")[2] or self.settings.release or newest


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseKind:
    """One kind of base: how it is written, which texts mean it, and how it is made. Without `written`, users do not
    write it."""

    written: str
    means: str = ""
    claims: Callable[[str], bool]
    make: Callable[[Request], Base]


def _is_distribution(name: str) -> Callable[[str], bool]:
    return lambda spec: spec == name or (spec.startswith(f"{name}:") and spec != f"{name}:")


def _begins_with(*prefixes: str) -> Callable[[str], bool]:
    return lambda spec: spec.startswith(prefixes)


def _is_path(spec: str) -> bool:
    path = expanded(spec)
    return not spec or spec.startswith(("/", "./", "../", "~")) or path.exists()


def _ubuntu(request: Request) -> Base:
    release = request.release(releases.NEWEST_UBUNTU_LTS)
    return Ubuntu(release, settings=request.settings, workspace=request.workspace, report=request.report)


def _debian(request: Request, *, packages_of: str = CLOUD_ROOT) -> Base:
    return Debian(
        request.release(releases.NEWEST_DEBIAN_STABLE),
        settings=request.settings,
        packages_of=packages_of,
        workspace=request.workspace,
        report=request.report,
    )


def _debian_minimal(request: Request) -> Base:
    return _debian(request, packages_of=MINIMAL_ROOT)


def _empty(request: Request) -> Base:
    return Empty(request.settings)


def _address(request: Request) -> Base:
    return remote_file(
        request.spec, settings=request.settings, workspace=request.workspace, report=request.report
    )


def _layout(request: Request) -> Base:
    from dibo.build.bases.image import OciLayout  # brings oras along, which takes longer than a plan

    return OciLayout(
        request.spec, settings=request.settings, workspace=request.workspace, report=request.report
    )


def _containerfile(request: Request) -> Base:
    from dibo.build.bases.containerfile import Containerfile  # as above

    context = request.workspace.root / "containerfile"
    return Containerfile(request.spec, settings=request.settings, default_context=context)


def _image(request: Request) -> Base:
    from dibo.build.bases.image import RegistryImage  # as above

    return RegistryImage(
        request.spec, settings=request.settings, workspace=request.workspace, report=request.report
    )


def _file(request: Request) -> Base:
    path = expanded(request.spec)
    if request.spec and path.is_file():
        return LocalFile(path, settings=request.settings, workspace=request.workspace, report=request.report)
    hint = possible()
    if not request.spec or not path.exists():
        problem = "is not there"
    elif path.is_dir():
        problem = "is a directory"
    else:
        problem, hint = "is no file", "a base is read more than once: write it to a file first"
    raise UsageError(f"{request.spec!r} cannot be a base: it {problem}", hint=hint)


BASES: Final = (
    BaseKind(written="ubuntu, ubuntu:RELEASE", claims=_is_distribution("ubuntu"), make=_ubuntu),
    BaseKind(written="debian, debian:RELEASE", claims=_is_distribution("debian"), make=_debian),
    BaseKind(
        written="debian-minimal, debian-minimal:RELEASE",
        means="what elements start from",
        claims=_is_distribution("debian-minimal"),
        make=_debian_minimal,
    ),
    BaseKind(
        written="empty",
        means="no files, for elements that make a root",
        claims=lambda spec: spec == "empty",
        make=_empty,
    ),
    BaseKind(
        written="https://…#sha256=HEX",
        means="a tar or squashfs",
        claims=_begins_with("http://", "https://"),
        make=_address,
    ),
    BaseKind(
        written="oci:DIR, oci:DIR:TAG",
        means="an image in an OCI layout",
        claims=_begins_with("oci:"),
        make=_layout,
    ),
    BaseKind(
        written="",  # the element containerfile asks for it
        claims=_begins_with("containerfile:"),
        make=_containerfile,
    ),
    BaseKind(
        written="docker://NAME", means="an image in a registry", claims=_begins_with("docker://"), make=_image
    ),
    BaseKind(written="./FILE", means="a tar or squashfs", claims=_is_path, make=_file),
    BaseKind(written="HOST/NAME:TAG", means="an image in a registry", claims=names_a_host, make=_image),
)
"""All kinds of bases; the first that claims a text makes the base."""


def possible() -> str:
    """What a user may write, for hints."""
    kinds = (f"  {kind.written:38} {kind.means}".rstrip() for kind in BASES if kind.written)
    return "\n".join(["a base is one of", *kinds])


def choose_base(spec: str, *, settings: BaseSettings, workspace: Workspace, report: Report) -> Base:
    """The base that `spec` means. Looks at no network. Raises UsageError."""
    request = Request(spec=spec, settings=settings, workspace=workspace, report=report)
    for kind in BASES:
        if kind.claims(spec):
            return kind.make(request)
    raise UsageError(
        f"{spec!r} is neither a base nor a file{nearest(spec.partition(':')[0], ('ubuntu', 'debian'))}",
        hint=f"{possible()}\nif it is an image: docker://{spec}",
    )
