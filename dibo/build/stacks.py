"""From settings to a stack: flavours, elements of diskimage-builder, or both.

With ELEMENTS_PATH, a name is that of an element where there is one: of those that come with dibo, then of
ELEMENTS_PATH, then of the directories of flavours; else it is that of a flavour. Without, elements count where one that
was asked for is in a directory of flavours.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from dibo.build.bases.releases import NEWEST_DEBIAN_STABLE, NEWEST_UBUNTU_LTS
from dibo.build.engine import Engine
from dibo.elements import container as container_base
from dibo.elements.checks.files import file_findings
from dibo.elements.checks.findings import Severity
from dibo.elements.disk import make_disk, read_devices
from dibo.elements.granted import Grants
from dibo.elements.loader import ElementCatalogue
from dibo.elements.model import OPERATING_SYSTEM, Element, ElementPhase
from dibo.elements.resolve import resolve
from dibo.elements.stack import MixedStack, users_variables
from dibo.elements.steps import TRACE, make_steps
from dibo.errors import EngineError, UnknownFlavour, UsageError
from dibo.flavours.loader import Catalogue
from dibo.flavours.stack import Stack, make_stack
from dibo.settings.settings import DEFAULT_BASE, DEFAULT_SIZE_SET_BY, Settings
from dibo.system import resources

_BLOCK_DEVICE: Final = "block-device-"
_NEWEST: Final = {
    "debian": NEWEST_DEBIAN_STABLE,
    "debian-minimal": NEWEST_DEBIAN_STABLE,
    "ubuntu": NEWEST_UBUNTU_LTS,
}
_BOOT_FILES: Final = "boot-files"
_EMPTY: Final = "empty"
"""The base of elements whose scripts in root.d make the root."""


def make_any_stack(settings: Settings, catalogue: Catalogue, *, copies: Path | None = None) -> Stack:
    """The stack that was asked for. With `copies`, files of elements that are read are copied there. Raises UsageError,
    FlavourError, UnknownFlavour, StackError, LayoutError."""
    elements = _elements_catalogue(settings, copies)
    names = tuple(name for name in settings.flavours if elements is not None and name in elements)
    if elements is None or not names:
        _refuse_packages(settings)
        return make_stack(settings.flavours, catalogue.get, architecture=settings.architecture)
    resolved = resolve(
        _with_default_disk(names, settings.architecture), elements.get, exists=elements.__contains__
    )
    flavours = [name for name in settings.flavours if name not in elements]
    flavours += [name for element in resolved for name in element.flavours]
    try:
        stack = make_stack(dict.fromkeys(flavours), catalogue.get, architecture=settings.architecture)
    except UnknownFlavour as error:
        error.hint = f"{error.hint}\nelements: looked in {', '.join(map(str, settings.elements_path))}"
        raise
    base, release = _system_of(resolved, settings)
    container = None
    if base == container_base.BASE and settings.base == DEFAULT_BASE:
        container = container_base.read_container(resolved, _variables(settings, release))
        base, release = f"{base}:{container.path}", container.release or release
    devices = read_devices(
        resolved,
        architecture=settings.architecture,
        filesystem=settings.filesystem,
        environment=settings.environment,
    )
    disk = make_disk(
        devices,
        size=None if settings.size_set_by == DEFAULT_SIZE_SET_BY else settings.image_size,
        bootable=_BOOT_FILES in stack.names,
        environment=settings.environment,
    )
    steps = make_steps(
        resolved,
        variables=_variables(settings, release) | devices.variables(),
        packages=settings.packages,
        fstab=devices.fstab(),
        grants=Grants(resources.home()),
    )
    return MixedStack(
        flavours=stack.flavours,
        elements=resolved,
        element_steps=steps,
        base=base,
        release=release,
        container_build=container.options if container is not None else (),
        disk_of_elements=disk,
    )


def _refuse_packages(settings: Settings) -> None:
    if settings.packages:
        raise UsageError(
            f"-p {','.join(settings.packages)} is for stacks with elements, and this one has none",
            hint="list packages under `packages` in the flavour.yaml of a flavour, or set ELEMENTS_PATH",
        )


def require_outside(engine: Engine) -> None:
    """Raises EngineError where an engine cannot run scripts of elements on the tree of an image."""
    if not engine.runs_outside:
        raise EngineError(
            f"the engine {engine.name} does not run scripts of elements outside of the image",
            hint="use --engine buildah",
        )


def settings_of(settings: Settings, stack: Stack) -> Settings:
    """The settings, with the base that the operating system of the stack stands for, unless another was named."""
    if not isinstance(stack, MixedStack) or not stack.base or settings.base != DEFAULT_BASE:
        return settings
    return replace(settings, base=stack.base, release=stack.release, container_build=stack.container_build)


def _elements_catalogue(settings: Settings, copies: Path | None) -> ElementCatalogue | None:
    """None where the request names no element."""
    if not settings.elements_path:
        beside = ElementCatalogue([], flavours_path=settings.flavours_path)
        if not any(name in beside for name in settings.flavours):
            return None
    return ElementCatalogue(
        settings.elements_path,
        own=resources.shared("containerfiles") / "elements" / "own",
        flavours_path=settings.flavours_path,
        copies=copies,
    )


def _with_default_disk(names: tuple[str, ...], architecture: str) -> tuple[str, ...]:
    """The names, and after `vm` without a partition table the usual one."""
    if "vm" not in names or any(name.startswith(_BLOCK_DEVICE) for name in names):
        return names
    return (*names, f"{_BLOCK_DEVICE}{'efi' if architecture == 'arm64' else 'mbr'}")


def _system_of(elements: tuple[Element, ...], settings: Settings) -> tuple[str, str | None]:
    """(base, release) of the operating system: of dibo's own, where one needs another that of the one that needs it;
    or no files where scripts of elements make the root; no base where one was named. Raises UsageError where nothing
    makes a root."""
    base = next((element.base for element in reversed(elements) if element.base), "")
    release = settings.release or settings.environment.get("DIB_RELEASE") or None
    if not base and settings.base == DEFAULT_BASE:
        system = next(element for element in elements if OPERATING_SYSTEM in element.provides)
        if not any(element.scripts_of(ElementPhase.ROOT) for element in elements):
            raise UsageError(
                f"the element {system.name!r} makes no root: no element of the stack has scripts in root.d",
                hint="name the root that it starts from with --base, or use debian, debian-minimal, ubuntu or "
                "ubuntu-minimal",
            )
        _require_makeable(elements)
        base = _EMPTY
    if base in _NEWEST and release in (None, "stable"):
        release = _NEWEST[base]
    return base, release


def _require_makeable(elements: tuple[Element, ...]) -> None:
    """Raises UsageError where scripts that make the root do what only root or a daemon may do."""
    for element in elements:
        if not element.scripts_of(ElementPhase.ROOT):
            continue
        for finding in file_findings(element.directory):
            if finding.severity is Severity.OBSTACLE and finding.path.startswith(f"{ElementPhase.ROOT}/"):
                raise UsageError(
                    f"the element {element.name!r} makes a root in a way that dibo does not run: {finding.place}: "
                    f"{finding.message}",
                    hint=f"{finding.advice}\nor name the root that it starts from with --base",
                )


def _image_name(settings: Settings) -> str:
    """The name of the output; where one type is made, without that as its ending, as diskimage-builder has it."""
    name = settings.output.name
    return (name.removesuffix(f".{settings.types[0]}") if len(settings.types) == 1 else name) or name


def _variables(settings: Settings, release: str | None) -> dict[str, str]:
    """What scripts may see: the user's variables, and what the engine of diskimage-builder sets."""
    users = users_variables(settings.environment)
    own = {
        "ARCH": settings.architecture,
        "IMAGE_NAME": _image_name(settings),
        "FS_TYPE": settings.filesystem,
        "IMAGE_BLOCK_DEVICE": "",
        "IMAGE_BLOCK_DEVICES": "",
        "DIB_ARGS": " ".join(settings.flavours),
        "DIB_ENV": "\n".join(
            f"{name}={value}"
            for name, value in sorted(users.items())
            if name.startswith("DIB_") and name != TRACE
        ),
    }
    return users | own | ({"DIB_RELEASE": release} if release else {})
