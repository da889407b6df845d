"""What `dibo boot-server` does: reads the machines file, anew whenever it was changed, and runs the server."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import yaml

from dibo.deploy.machines import Machine, Method, parse_machines
from dibo.deploy.server import BootServer, Settings
from dibo.errors import BootServerError, DiboError, ToolMissing, UsageError
from dibo.flavours import strict_yaml
from dibo.ramdisk.make import kernel_path
from dibo.system import process
from dibo.system.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for; numbers as they were typed."""

    machines: Path
    listen: str
    port: str
    ramdisk: Path | None
    state: Path | None
    workers: str
    patience: str
    boot_patience: str


def run(report: Report, wanted: Wanted) -> int:
    """Serves until a signal comes."""
    machines = MachinesFile(wanted.machines, report)
    settings = _settings(wanted)
    if any(machine.method is Method.ISCSI for machine in machines().values()):
        _need_iscsi()
    lock = threading.Lock()

    def say(text: str) -> None:
        with lock:
            report.say(text)

    with BootServer(settings, machines, say) as server:
        say(f"boot server: port {server.port} of {settings.listen}; machines: {', '.join(machines())}")
        if settings.ramdisk is not None:
            say(f"iPXE: http://ADDRESS:{server.port}/boot.ipxe")
        server.wait()
    return 0


class MachinesFile:
    """The machines as the file says now. A file that was changed and makes no sense is told, and what it said before
    counts on."""

    def __init__(self, path: Path, report: Report) -> None:
        self._path, self._report = path, report
        self._stamp: tuple[int, int, int] | None = None
        self._machines: dict[str, Machine] = {}
        self._load()

    def __call__(self) -> dict[str, Machine]:
        try:
            self._load()
        except DiboError as error:
            self._report.warn(f"{error.message}; what the file said before counts on")
        return self._machines

    def _load(self) -> None:
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            data = strict_yaml.load_texts(self._path.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise BootServerError(f"cannot read {self._path}: {error}") from error
        except yaml.YAMLError as error:
            # Not as PyYAML says it: it shows the line, which may have a key.
            mark = getattr(error, "problem_mark", None)
            where = f", line {mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or "it cannot be read"
            raise BootServerError(f"{self._path}{where}: no YAML: {problem}") from None
        self._machines = parse_machines(data, origin=str(self._path), directory=self._path.absolute().parent)


def _settings(wanted: Wanted) -> Settings:
    kernel = None
    if wanted.ramdisk is not None:
        kernel = kernel_path(wanted.ramdisk)
        for path in (wanted.ramdisk, kernel):
            if not path.is_file():
                raise BootServerError(
                    f"there is no {path}",
                    hint="ramdisk-image-create makes a ramdisk, with its kernel beside it",
                )
    patience = _number("--patience", wanted.patience, most=86400)
    return Settings(
        listen=wanted.listen,
        port=_number("--port", wanted.port, least=0, most=65535),
        state_file=wanted.state or wanted.machines.with_name(f"{wanted.machines.name}.state"),
        kernel=kernel,
        ramdisk=wanted.ramdisk,
        workers=_number("--workers", wanted.workers, most=64),
        patience=patience,
        pull_seconds=patience,
        boot_seconds=_number("--boot-patience", wanted.boot_patience, most=86400),
    )


def _number(option: str, text: str, *, most: int, least: int = 1) -> int:
    if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
        raise UsageError(f"{option} is {text!r}, not a number from {least} to {most}")
    return int(text)


def _need_iscsi() -> None:
    """Raises ToolMissing. QEMU's drivers are files of their own in some distributions."""
    said = process.run(["qemu-img", "--help"], capture=True, check=False).stdout
    formats = said.partition("Supported formats:")[2].split()
    if "iscsi" not in formats:
        raise ToolMissing("qemu-img has no iSCSI", hint="sudo apt-get install qemu-block-extra")
