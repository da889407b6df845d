"""The boot server: reads the machines file, again whenever it was changed, and serves."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import yaml

from dibo.deploy.machines import Machine, Method, parse_machines
from dibo.deploy.server import BootServer, Settings
from dibo.errors import BootServerError, DiboError, ToolMissing
from dibo.flavours import strict_yaml
from dibo.ramdisk.make import kernel_path
from dibo.system import process
from dibo.system.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class BootServerRequest:
    """What was asked for."""

    machines: Path
    listen: str
    port: int
    ramdisk: Path | None
    state: Path | None
    workers: int
    patience: int
    boot_patience: int


def serve(report: Report, request: BootServerRequest) -> None:
    """Serve until a signal comes."""
    machines = MachinesFile(request.machines, report)
    settings = _settings(request)
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


def _settings(request: BootServerRequest) -> Settings:
    kernel = None
    if request.ramdisk is not None:
        kernel = kernel_path(request.ramdisk)
        for path in (request.ramdisk, kernel):
            if not path.is_file():
                raise BootServerError(
                    f"there is no {path}",
                    hint="ramdisk-image-create makes a ramdisk, with its kernel beside it",
                )
    return Settings(
        listen=request.listen,
        port=request.port,
        state_file=request.state or request.machines.with_name(f"{request.machines.name}.state"),
        kernel=kernel,
        ramdisk=request.ramdisk,
        workers=request.workers,
        patience=request.patience,
        pull_seconds=request.patience,
        boot_seconds=request.boot_patience,
    )


def _need_iscsi() -> None:
    """Raises ToolMissing. QEMU's drivers are files of their own in some distributions."""
    help_text = process.run(["qemu-img", "--help"], capture=True, check=False).stdout
    formats = help_text.partition("Supported formats:")[2].split()
    if "iscsi" not in formats:
        raise ToolMissing("qemu-img has no iSCSI", hint="sudo apt-get install qemu-block-extra")
