"""`dibo doctor`: try what a build and a conversion need here, change nothing, and say for each what to do.

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
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import UUID

from dibo.api import doctor_architectures
from dibo.api.documents import CommandAnswer, new_document
from dibo.artefacts.converter import Converters
from dibo.build.bases.choose import choose_base
from dibo.build.bases.debian import Debian
from dibo.build.bases.releases import NEWEST_DEBIAN_STABLE
from dibo.build.build import base_settings, confinement_of
from dibo.build.engines import choose
from dibo.build.finding import Finding, try_check
from dibo.deploy.iscsi import driver_problem
from dibo.errors import DiboError, EngineError
from dibo.formats import ext4
from dibo.formats.raw import RawFile
from dibo.settings.settings import Settings
from dibo.system import process, resources
from dibo.system.package_names import how_to_install
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from dibo.tree.node import Node
from dibo.units import GIB, human_size

_BASE: Final = "base "


def examine(settings: Settings, report: Report) -> list[Finding]:
    """Every finding, in the order that a build would meet them."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        _conversion,
        lambda: choose.examine(settings.engine, confinement_of(settings)),
        lambda: doctor_architectures.examine(settings.architecture),
        lambda: _base(settings, report),
        lambda: _cache(settings),
        lambda: _types(settings),
        _loop,
        _boot,
        _boot_server,
    ]
    return [finding for check in checks for finding in check()]


def findings_answer(findings: Sequence[Finding]) -> CommandAnswer:
    """What was tried; `works` is whether `require` raises nothing."""
    listed = [
        {
            "title": finding.title,
            "works": finding.works,
            "needed": finding.needed,
            "detail": finding.detail,
            "advice": "" if finding.works else finding.advice,
        }
        for finding in findings
    ]
    works = all(finding.works for finding in findings if finding.needed)
    return CommandAnswer(
        text="\n".join(map(str, findings)), document=new_document("doctor", works=works, findings=listed)
    )


def require(findings: Sequence[Finding]) -> None:
    """Raises EngineError where something that is needed does not work."""
    if any(finding.needed and not finding.works for finding in findings):
        raise EngineError(
            _problem([finding for finding in findings if finding.needed and not finding.works]),
            hint="see the lines that begin with NO; `dibo convert` needs none of that",
        )


def _problem(failing: Sequence[Finding]) -> str:
    if all(finding.title.startswith(_BASE) for finding in failing):
        return f"this machine cannot build the {failing[0].title}"
    return "this machine cannot build yet"


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


def _loop() -> Iterator[Finding]:
    """Root alone can have it, and is asked for it by --loop alone."""
    if os.geteuid() != 0:
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


def _types(settings: Settings) -> Iterator[Finding]:
    has_mke2fs = process.find("mke2fs") is not None
    yield Finding(
        title="FS_TYPE=ext3, ext2: mke2fs",
        works=has_mke2fs,
        needed=settings.filesystem in ("ext3", "ext2"),
        advice=how_to_install("mke2fs"),
    )
    for converter in Converters((*settings.converters_path, resources.shared("converters"))):
        for tool in converter.tools:
            works = process.find(tool) is not None
            needed = converter.type in settings.types
            yield Finding(
                title=f"type {converter.type}: {tool}",
                works=works,
                needed=needed,
                advice=how_to_install(tool),
            )


def _boot() -> Iterator[Finding]:
    tool = "qemu-system-x86_64"
    yield Finding(
        title=f"booting images: {tool}",
        works=process.find(tool) is not None,
        needed=False,
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
