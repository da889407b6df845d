"""What the files of an element beside its scripts say: lists, maps, sources, disks, and names that never run."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from dibo.elements.block_devices.devices import check_devices
from dibo.elements.block_devices.graph import parse_nodes
from dibo.elements.block_devices.model import RootOptions
from dibo.elements.block_devices.to_layout import to_layout
from dibo.elements.checks.findings import ElementFinding, Severity
from dibo.elements.checks.scripts import ScriptText, script_findings
from dibo.elements.name_maps import parse_package_map, parse_service_map
from dibo.elements.package_installs import (
    FILE_NAMES,
    LEGACY_PREFIX,
    parse_legacy_packages,
    parse_package_installs,
)
from dibo.elements.source_repositories import FILE_PREFIX, parse_source_repositories
from dibo.errors import DiboError, FlavourError
from dibo.units import GIB

PHASES: Final = (
    *(
        "root.d",
        "extra-data.d",
        "pre-install.d",
        "install.d",
        "post-install.d",
        "post-root.d",
        "block-device.d",
    ),
    *("pre-finalise.d", "finalise.d", "cleanup.d"),
)
"""Directories of scripts, in the order in which they run."""
_ENVIRONMENT: Final = "environment.d"
_RAMDISK: Final = ("binary-deps.d", "init.d", "ramdisk-install.d", "udev.d", "dracut-drivers.d")
_SCRIPT_NAME: Final = re.compile(r"[0-9A-Za-z_-]+")
ELEMENT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_DEAD_INIT: Final = ("upstart", "sysv")
_LARGEST: Final = 1 << 20
"""Bytes of a file that are read."""


def element_scripts(directory: Path) -> Iterator[ScriptText]:
    """The scripts of an element that run, or are sourced, and text programs in bin/."""
    for top in (*PHASES, _ENVIRONMENT, "bin"):
        for path in _files(directory / top, deep=top == "install.d"):
            text = _text(path)
            name = path.relative_to(directory).as_posix()
            runs = os.access(path, os.X_OK) and _SCRIPT_NAME.fullmatch(path.name)
            if text is not None and (runs or top == _ENVIRONMENT):
                yield ScriptText(path=name, text=text, executable=os.access(path, os.X_OK))


def file_findings(directory: Path) -> Iterator[ElementFinding]:
    """The findings of all files of an element, scripts too."""
    for script in element_scripts(directory):
        yield from script_findings(script)
    yield from _never_run(directory)
    yield from _malformed(directory)
    for path in sorted(directory.glob(f"{FILE_PREFIX}*")):
        yield from _sources(path)
    for path in sorted(directory.glob("block-device-*.yaml")):
        yield from _disk(path)
    yield from _old_ways(directory)


def _files(directory: Path, *, deep: bool = False) -> list[Path]:
    if not directory.is_dir():
        return []
    paths = sorted(directory.iterdir())
    below = [path for one in paths if deep and one.is_dir() for path in sorted(one.iterdir())]
    return [path for path in (*paths, *below) if path.is_file()]


def _text(path: Path) -> str | None:
    """None for what is no text, or cannot be read."""
    try:
        data = path.read_bytes()[:_LARGEST]
    except OSError:
        return None
    return None if b"\0" in data else data.decode(errors="replace")


def _never_run(directory: Path) -> Iterator[ElementFinding]:
    for phase in PHASES:
        for path in _files(directory / phase):
            name = f"{phase}/{path.name}"
            is_script = (_text(path) or "").startswith("#!")
            if path.name.startswith(LEGACY_PREFIX) or not (is_script and path.name[0].isdecimal()):
                continue  # data beside scripts, which read it
            if not _SCRIPT_NAME.fullmatch(path.name):
                yield ElementFinding(
                    severity=Severity.WARNING,
                    code="never-runs",
                    message="its name has other characters than letters, digits, - and _, so it never runs",
                    advice="rename it, or move data to another directory",
                    path=name,
                )
            elif not os.access(path, os.X_OK):
                yield ElementFinding(
                    severity=Severity.WARNING,
                    code="never-runs",
                    message="it is not executable, so it never runs",
                    advice=f"chmod +x {name}",
                    path=name,
                )


def _malformed(directory: Path) -> Iterator[ElementFinding]:
    def packages(text: str) -> object:
        return parse_package_installs(text, element=directory.name, origin="file")

    readers: list[tuple[str, Callable[[str], object]]] = [
        *((name, packages) for name in FILE_NAMES),
        ("pkg-map", lambda text: parse_package_map(text, origin="file")),
        ("svc-map", lambda text: parse_service_map(text, origin="file")),
        ("element-deps", _check_names),
        ("element-provides", _check_names),
    ]
    for phase in PHASES:
        for path in _files(directory / phase):
            if path.name.startswith(LEGACY_PREFIX):
                readers.append((f"{phase}/{path.name}", _legacy_reader(phase)))
    for name, reader in readers:
        path = directory / name
        text = _text(path) if path.is_file() else None
        if text is None:
            continue
        try:
            reader(text)
        except DiboError as error:
            yield _refused("malformed", error, name)


def _legacy_reader(phase: str) -> Callable[[str], object]:
    return lambda text: parse_legacy_packages(text, element="", phase=phase, origin="file")


def _check_names(text: str) -> None:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not ELEMENT_NAME.fullmatch(line.strip()):
            raise FlavourError(
                f"file:{number}: expected the name of an element, got {line.strip()!r}",
                hint="write one name a line, without comments",
            )


def _refused(
    code: str, error: DiboError, path: str, severity: Severity = Severity.OBSTACLE
) -> ElementFinding:
    message = error.message
    line = 0
    if match := re.match(r"file:(?P<line>\d+): ", message):
        line, message = int(match["line"]), message[match.end() :]
    return ElementFinding(
        severity=severity,
        code=code,
        message=message.removeprefix("file: "),
        advice=error.hint,
        path=path,
        line=line,
    )


class _AnyVariable(dict[str, str]):
    """Each variable has some value: which one is known only in a build."""

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]
        return (
            default
            if name.startswith(("DIB_REPO", "DIB_GITREPO", "DIB_INSTALLTYPE", "NO_SOURCE"))
            or (name == "DIB_DEFAULT_INSTALLTYPE")
            else f"/{name}"
        )


def _sources(path: Path) -> Iterator[ElementFinding]:
    text = _text(path)
    try:
        file = parse_source_repositories(text or "", origin="file", environment=_AnyVariable())
    except DiboError as error:
        yield _refused("malformed", error, path.name)
        return
    if file.needs_shell:
        number = int(file.needs_shell.split(":")[1])
        yield ElementFinding(
            severity=Severity.WARNING,
            code="computed-source",
            message="a line runs a command, so only the element's own hook can fetch it",
            advice="write variables only: then it is fetched once, and its digest is in the key",
            path=path.name,
            line=number,
        )


def _disk(path: Path) -> Iterator[ElementFinding]:
    try:
        nodes = parse_nodes(_text(path) or "", origin="file")
        devices = check_devices(nodes, origin="file", root=RootOptions(), environment={})
        layout = to_layout(devices, size=64 * GIB, bootable=True)
    except DiboError as error:
        yield _refused("disk", error, path.name)
        return
    for note in layout.notes:
        yield ElementFinding(
            severity=Severity.WARNING,
            code="disk",
            message=note.removeprefix("file: "),
            advice="`dibo plan --layout` shows what comes of it",
            path=path.name,
        )


def _old_ways(directory: Path) -> Iterator[ElementFinding]:
    if any(_files(directory / "block-device.d")):
        yield ElementFinding(
            severity=Severity.OBSTACLE,
            code="block-device-hook",
            message="scripts of block-device.d make devices on the build machine, which needs root",
            advice="describe the disk in block-device-default.yaml, as the element block-device-efi does",
            path="block-device.d",
        )
    parts = [name for name in _RAMDISK if (directory / name).is_dir()]
    if parts:
        others = any(_files(directory / phase) for phase in PHASES)
        yield ElementFinding(
            severity=Severity.WARNING if others else Severity.OBSTACLE,
            code="ramdisk",
            message=f"{', '.join(parts)}: for ramdisks of diskimage-builder, whose builder fails in its own release 3",
            advice="use the ramdisks of dibo: the flavours deploy, hwdiscovery and hwburnin",
            path=parts[0],
        )
    scripts = directory / "init-scripts"
    kinds = [path.name for path in sorted(scripts.iterdir())] if scripts.is_dir() else []
    if kinds and all(kind in _DEAD_INIT for kind in kinds):
        yield ElementFinding(
            severity=Severity.WARNING,
            code="init-scripts",
            message=f"its services are for {', '.join(kinds)} alone, so nothing starts them",
            advice="add units to init-scripts/systemd",
            path="init-scripts",
        )
