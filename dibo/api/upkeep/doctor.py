"""`dibo doctor`: try what a build and a conversion need here, and say for each what to do; with --fix, do some of it.

Each check does the thing itself on a small scale, in a directory that goes away, instead of looking for signs of it:
a user namespace is entered, a map of ids is written, an overlay is mounted in it. What makes it fail on which
distribution is in the hints.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from uuid import UUID

from dibo.api.documents import CommandAnswer, new_document
from dibo.api.upkeep import doctor_architectures, doctor_machines
from dibo.artefacts.converter import Converters
from dibo.build import repairs
from dibo.build.bases.choose import choose_base
from dibo.build.bases.debian import Debian
from dibo.build.bases.releases import NEWEST_DEBIAN_STABLE
from dibo.build.bases.settings import base_settings
from dibo.build.build import confinement_of
from dibo.build.engines import choose
from dibo.build.finding import Finding, try_check
from dibo.deploy.iscsi import driver_problem
from dibo.errors import DiboError, EngineError
from dibo.formats import ext4
from dibo.formats.raw import RawFile
from dibo.settings.settings import AUTO, Settings
from dibo.system import process, resources
from dibo.system.package_names import how_to_install
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from dibo.tree.node import Node
from dibo.units import GIB, human_size

_BASE: Final = "base "


Checks = Callable[[], Iterator[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found, and what was done about it."""

    findings: list[Finding]
    fixed: tuple[str, ...] = ()


def examine(
    settings: Settings, report: Report, *, purposes: Sequence[str] = (), fix: bool = False
) -> Examination:
    """Every finding, in the order that a build would meet them. Without `purposes` all checks are made, and those of a
    build count; with them, only what these need. `fix` repairs what needs no root, and looks again."""
    findings: list[Finding] = []
    fixed: list[str] = []
    asked_for = {check for purpose in purposes for check in _NEEDED_ONLY_FOR.get(purpose, ())}
    for name, check in _checks(settings, report, purposes).items():
        for_name = list(check())
        if fix and (done := repairs.repaired(for_name, report)):
            fixed += done
            for_name = list(check())
        findings += [replace(finding, needed=True) if name in asked_for else finding for finding in for_name]
    return Examination(findings=findings, fixed=tuple(fixed))


_STEPS: Final = ("user directories", "engine", "architectures", "keys", "base", "cache")
_CHECKS_OF: Final[dict[str, tuple[str, ...]]] = {
    "build": (*_STEPS, "types"),
    "ramdisk": _STEPS,
    "convert": ("conversion", "cache", "types"),
    "loop": ("loop",),
    "boot": ("boot",),
    "boot-server": ("boot server",),
}
_NEEDED_ONLY_FOR: Final[dict[str, tuple[str, ...]]] = {
    "loop": ("loop",),
    "boot-server": ("boot server",),
}
"""Checks that only count for who asks for this purpose."""


def _checks(settings: Settings, report: Report, purposes: Sequence[str]) -> dict[str, Checks]:
    every: dict[str, Checks] = {
        "conversion": _conversion,
        "user directories": lambda: _user_directories(settings),
        "engine": lambda: choose.examine(settings.engine, confinement_of(settings)),
        "architectures": lambda: doctor_architectures.examine(settings.architecture),
        "keys": lambda: repairs.image_keys(settings, base_settings(settings), report),
        "base": lambda: _base(settings, report),
        "cache": lambda: _cache(settings),
        "types": lambda: _types(settings, listed=not purposes),
        "loop": lambda: _loop(asked_for="loop" in purposes),
        "boot": lambda: doctor_machines.examine(settings, asked_for="boot" in purposes),
        "boot server": _boot_server,
    }
    selected = {name for purpose in purposes or _CHECKS_OF for name in _CHECKS_OF[purpose]}
    return {name: check for name, check in every.items() if name in selected}


def findings_answer(examination: Examination) -> CommandAnswer:
    """What was tried; `works` is whether `require` raises nothing."""
    findings = examination.findings
    listed = [
        {
            "title": finding.title,
            "works": finding.works,
            "needed": finding.needed,
            "detail": finding.detail,
            "advice": "" if finding.works else finding.advice,
            "command": "" if finding.works else finding.command,
            "fixable": not finding.works and finding.repair is not None,
        }
        for finding in findings
    ]
    works = all(finding.works for finding in findings if finding.needed)
    lines = [*(f"fixed: {done}" for done in examination.fixed), *map(str, findings)]
    if works:
        optional = (
            "" if all(finding.works for finding in findings) else "; lines that begin with -- are optional"
        )
        lines.append(f"everything that is needed works{optional}")
    return CommandAnswer(
        text="\n".join(lines),
        document=new_document("doctor", works=works, findings=listed, fixed=list(examination.fixed)),
    )


def require(findings: Sequence[Finding], purposes: Sequence[str] = ()) -> None:
    """Raises EngineError where something that is needed does not work."""
    failing = [finding for finding in findings if finding.needed and not finding.works]
    if failing:
        alternative = "" if purposes else "; `dibo convert` needs none of that"
        raise EngineError(_problem(failing, purposes), hint=f"see the lines that begin with NO{alternative}")


def _problem(failing: Sequence[Finding], purposes: Sequence[str]) -> str:
    if all(finding.title.startswith(_BASE) for finding in failing):
        return f"this machine cannot build the {failing[0].title}"
    return (
        "this machine cannot build yet"
        if not purposes
        else f"this machine is not ready for {', '.join(purposes)}"
    )


def _conversion() -> Iterator[Finding]:
    def make_disk() -> str:
        with tempfile.TemporaryDirectory(prefix="dibo-doctor-") as directory:
            size, identity = 16 << 20, UUID(int=1)
            with RawFile(Path(directory) / "disk", size) as target:
                parameters = ext4.Parameters(size=size, uuid=identity, hash_seed=identity)
                ext4.Writer(target, parameters).finish(Node(stat.S_IFDIR | 0o755))
        return "no privilege and no program is needed"

    yield from try_check("converting, by dibo convert", make_disk)
    import google_crc32c

    if google_crc32c.implementation != "c":
        yield Finding(
            title="checksums in C",
            works=False,
            needed=False,
            detail="google-crc32c has none for this Python, so that writing ext4 takes several times as long",
            advice="a Python for which PyPI has a wheel of google-crc32c, or a C compiler while it is installed",
        )


def _user_directories(settings: Settings) -> Iterator[Finding]:
    yield from repairs.runtime_directory()
    if settings.engine in (AUTO, "buildah"):
        yield from repairs.storage_configuration()


def _loop(*, asked_for: bool) -> Iterator[Finding]:
    """Root alone can have it, and is asked for it by --loop alone."""
    if os.geteuid() != 0:
        if asked_for:
            advice = "run dibo with sudo; disks of most layouts need no --loop"
            yield Finding(
                title="loop devices, for --loop", works=False, detail="only root has them", advice=advice
            )
        return
    from dibo.system.loop.device import LoopDevice
    from dibo.system.loop.namespace import private_mounts

    def try_it() -> str:
        with tempfile.TemporaryDirectory(prefix="dibo-doctor-") as directory:
            file = Path(directory) / "disk"
            with RawFile(file, 4 << 20):
                pass
            with LoopDevice(file) as device, private_mounts():
                device.add_partitions([(1, 1 << 20, 2 << 20)])
        return "with partitions, and private mounts"

    for finding in try_check("loop devices, for --loop", try_it):
        yield replace(finding, needed=False)


def _base(settings: Settings, report: Report) -> Iterator[Finding]:
    title = f"{_BASE}{settings.base}"
    with tempfile.TemporaryDirectory(prefix="dibo-doctor-") as directory:
        workspace = Workspace(Path(directory) if not settings.cache.is_dir() else settings.cache)
        try:
            base = choose_base(
                settings.base, settings=base_settings(settings), workspace=workspace, report=report
            )
        except DiboError as error:
            yield Finding(title=title, works=False, detail=error.message, advice=error.hint)
            return
        for tool in base.tools:
            yield Finding(title=tool, works=process.find(tool) is not None, advice=how_to_install(tool))

        def identify() -> str:
            base.ingredients()
            return base.name

        for finding in try_check(title, identify):
            alternative = "" if finding.works else _another_base(settings)
            yield replace(finding, advice=f"{finding.advice}\n{alternative}".strip())


def _another_base(settings: Settings) -> str:
    """What to say of the other base that dibo makes, where this machine can make that one."""
    if settings.base.partition(":")[0] == "debian":
        return ""
    try:
        Debian(NEWEST_DEBIAN_STABLE, settings=base_settings(settings)).require_tools()
    except DiboError:
        return ""
    return "--base debian works on this machine"


def _cache(settings: Settings) -> Iterator[Finding]:
    yield from repairs.cache_directory(settings.cache)
    existing = settings.cache
    while not existing.exists():
        existing = existing.parent
    writable = os.access(existing, os.W_OK)
    free = shutil.disk_usage(existing).free
    yield Finding(
        title="cache",
        works=writable,
        detail=f"{settings.cache}, {human_size(free)} free",
        advice="set IMG_PATH or --cache-dir to a directory you may write to",
    )
    if free < 5 * GIB:
        yield Finding(
            title="room",
            works=False,
            needed=False,
            detail=human_size(free),
            advice="an image needs about 5 GiB",
        )


def _types(settings: Settings, *, listed: bool) -> Iterator[Finding]:
    """Of the types that were asked for; with `listed` of all."""
    uses_mke2fs = settings.filesystem in ("ext3", "ext2")
    if listed or uses_mke2fs:
        yield Finding(
            title="FS_TYPE=ext3, ext2: mke2fs",
            works=process.find("mke2fs") is not None,
            needed=uses_mke2fs,
            advice=how_to_install("mke2fs"),
        )
    for converter in Converters((*settings.converters_path, resources.shared("converters"))):
        for tool in converter.tools:
            works = process.find(tool) is not None
            needed = converter.type in settings.types
            if not listed and not needed:
                continue
            yield Finding(
                title=f"type {converter.type}: {tool}",
                works=works,
                needed=needed,
                advice=how_to_install(tool),
            )


def _boot_server() -> Iterator[Finding]:
    """Machines whose method is iscsi need the driver, and no others."""
    message, _, advice = driver_problem().partition(": ")
    yield Finding(
        title="dibo boot-server, method iscsi: qemu-img",
        works=not message,
        needed=False,
        detail=message,
        advice=advice,
    )
