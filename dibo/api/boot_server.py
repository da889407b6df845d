"""The boot server: reads the machines file, again whenever it was changed, and serves."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from dibo.deploy.iscsi import driver_problem
from dibo.deploy.machines import Machine, Method, parse_machines
from dibo.deploy.server import BootServer, ServerSettings
from dibo.deploy.tls import ServerCertificate
from dibo.errors import BootServerError, DiboError, ToolMissing
from dibo.flavours import strict_yaml
from dibo.ramdisk.make import kernel_path
from dibo.system.report import Report
from dibo.system.resources import read_whole

_FORMAT: Final = "docs/reference/boot-server.md of the source shows a machines file"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootServerRequest:
    """The options of `dibo boot-server`."""

    machines: Path
    listen: str
    port: int
    ramdisk: Path | None
    state: Path | None
    workers: int
    patience: int
    boot_patience: int
    token_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None


def serve(report: Report, request: BootServerRequest) -> None:
    """Serve until a signal comes."""
    machines = MachinesFile(request.machines, report)
    settings = _settings(request)
    _check_methods(machines().values(), settings)
    lock = threading.Lock()

    def say(text: str) -> None:
        with lock:
            report.say(text)

    with BootServer(settings, machines, say) as server:
        say(f"boot server: port {server.port} of {settings.listen}; machines: {', '.join(machines())}")
        if settings.ramdisk is not None:
            scheme = "http" if settings.tls is None else "https"
            say(f"iPXE: {scheme}://ADDRESS:{server.port}/boot.ipxe")
        say(f"GET /machines: with the token in {_token_file(request)}")
        server.wait()


class MachinesFile:
    """The machines in the file, read again when the file changes. A changed file that is invalid is reported, and the
    machines read before stay in use."""

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
            data = strict_yaml.load_texts(read_whole(self._path).decode())
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise BootServerError(f"cannot read {self._path}: {reason}", hint=_FORMAT) from error
        except yaml.YAMLError as error:
            # Not as PyYAML says it: it shows the line, which may have a key.
            mark = getattr(error, "problem_mark", None)
            position = f", line {mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or "it cannot be read"
            raise BootServerError(f"{self._path}{position}: no YAML: {problem}", hint=_FORMAT) from None
        self._machines = parse_machines(data, origin=str(self._path), directory=self._path.absolute().parent)


def _settings(request: BootServerRequest) -> ServerSettings:
    kernel = None
    if request.ramdisk is not None:
        kernel = kernel_path(request.ramdisk)
        for path in (request.ramdisk, kernel):
            if not path.is_file():
                raise BootServerError(
                    f"there is no {path}",
                    hint="ramdisk-image-create makes a ramdisk, with its kernel beside it",
                )
    return ServerSettings(
        listen=request.listen,
        port=request.port,
        state_file=request.state or request.machines.with_name(f"{request.machines.name}.state"),
        token=_token(_token_file(request)),
        tls=_tls(request),
        kernel=kernel,
        ramdisk=request.ramdisk,
        workers=request.workers,
        patience=request.patience,
        pull_seconds=request.patience,
        boot_seconds=request.boot_patience,
    )


def _check_methods(machines: Iterable[Machine], settings: ServerSettings) -> None:
    """Raises ToolMissing and BootServerError for machines that cannot be deployed by their method."""
    exports = [machine.id for machine in machines if machine.method is Method.ISCSI]
    if exports and settings.tls is not None:
        raise BootServerError(
            f"with --tls-cert machines fetch their images, but these have method iscsi: {', '.join(exports)}",
            hint="say method: pull; over iSCSI everything goes in the clear",
        )
    if exports and (problem := driver_problem()):
        message, _, hint = problem.partition(": ")
        raise ToolMissing(message, hint=hint)


def _token_file(request: BootServerRequest) -> Path:
    return request.token_file or request.machines.with_name(f"{request.machines.name}.token")


def _token(path: Path) -> str:
    """The token in the file, which is made where there is none, for its owner alone. Raises BootServerError."""
    try:
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(f"{secrets.token_hex(32)}\n")
        token = read_whole(path).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BootServerError(f"cannot read or make {path}: {error}", hint="--token-file") from error
    if re.fullmatch(r"[!-~]{16,}", token) is None:
        raise BootServerError(
            f"{path} has no token: expected at least 16 printable characters without blanks"
        )
    return token


def _tls(request: BootServerRequest) -> ServerCertificate | None:
    """Raises BootServerError."""
    if request.tls_cert is None:
        if request.tls_key is not None:
            raise BootServerError("--tls-key goes with --tls-cert")
        return None
    return ServerCertificate(request.tls_cert, request.tls_key)
