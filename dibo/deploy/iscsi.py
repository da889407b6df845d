"""Writes an image to a disk that a machine offers over iSCSI, by qemu-img, whose driver needs no root and no device.

qemu-img tries to reach a target that is gone for ever. So each of its commands is watched: one that shows no progress
for `patience` seconds is ended. Options of images are QEMU's words (qemu-img(1), --image-opts), where a comma in a
value is doubled. A format is told by the first bytes of a file, as everywhere in dibo, not by qemu-img.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dibo.deploy.machines import MachinePlace
from dibo.deploy.write_plan import HEAD, DeploymentFailed, Ends, Range, Writes, plan_writes
from dibo.errors import CommandFailed, DiskImageError, ToolMissing
from dibo.inspect.open_image import FileSource, image_format, image_info
from dibo.system import process
from dibo.units import MIB

PATIENCE: Final = 120.0
_PIECE: Final = (
    256 * MIB
)  # each ends with a flush, which shows no progress; and a machine has memory for gigabytes
_PROGRESS: Final = re.compile(rb"\((\d+\.\d+)/100%\)")

Node = dict[str, str]
"""Options of a node of QEMU's block layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IscsiTarget:
    """A LUN. `iqn` is a checked name."""

    portal: MachinePlace
    iqn: str
    lun: int

    @property
    def node(self) -> Node:
        return {
            "driver": "iscsi",
            "transport": "tcp",
            "portal": str(self.portal),
            "target": self.iqn,
            "lun": str(self.lun),
            "timeout": "30",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedImage:
    path: Path
    format: str
    size: int
    """Bytes of the disk in it."""

    @property
    def node(self) -> Node:
        return {"driver": self.format, **_below(_file(self.path))}


class Cancelled(Exception):
    """Another deployment needs the target, or the server ends."""


class IscsiWriter:
    """One deployment. `progress` is told how many bytes of the image are on the disk, and of how many."""

    def __init__(
        self,
        *,
        patience: float = PATIENCE,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._patience, self._told = patience, progress
        self._cancelled = threading.Event()
        self.finished = threading.Event()
        """Set by the thread that runs it, once nothing of it is left."""

    def cancel(self) -> None:
        """From another thread: ends what is under way within a second; `write` then raises Cancelled."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def write(self, image: ServedImage, target: IscsiTarget, *, wipe: bool) -> Writes:
        """Raises DeploymentFailed, Cancelled, and ToolMissing."""
        with tempfile.TemporaryDirectory(prefix="dibo-boot-server-") as name:
            scratch = Path(name) / "bytes"
            size = self._size(target)
            disk = self._ends(target.node, size, scratch)
            writes = plan_writes(image=self._ends(image.node, image.size, scratch), disk=disk, wipe=wipe)
            for offset, data in writes.interim:
                self._put(data, target, offset, scratch)
            done = 0
            for part in _pieces(writes.body):
                self._copy(
                    _part(image.node, part),
                    _part(target.node, part),
                    on_progress=self._said(done, part, writes.total),
                )
                done += part.size
                self._progress(done, writes.total)
            for offset, data in writes.final:
                self._put(data, target, offset, scratch)
        return writes

    def _progress(self, written: int, total: int) -> None:
        if self._told is not None:
            self._told(written, total)

    def _said(self, done: int, part: Range, total: int) -> Callable[[float], None]:
        return lambda fraction: self._progress(done + int(part.size * fraction), total)

    def _size(self, target: IscsiTarget) -> int:
        argv = ["qemu-img", "info", "--output=json", "--image-opts", _options(target.node)]
        return int(json.loads(self._run(argv))["virtual-size"])

    def _ends(self, node: Node, size: int, scratch: Path) -> Ends:
        length = min(HEAD, size)
        ends = []
        for offset in (0, size - length):
            with scratch.open("wb") as file:
                file.truncate(length)
            self._copy(_part(node, Range(offset, length)), _raw(scratch))
            ends.append(scratch.read_bytes())
        return Ends(size=size, head=ends[0], tail=ends[1])

    def _put(self, data: bytes, target: IscsiTarget, offset: int, scratch: Path) -> None:
        scratch.write_bytes(data)
        self._copy(_raw(scratch), _part(target.node, Range(offset, len(data))))

    def _copy(
        self, source: Node, target: Node, *, on_progress: Callable[[float], None] | None = None
    ) -> None:
        argv = ["qemu-img", "convert", "-n", "-p", "-W", "-t", "writeback", "--image-opts", _options(source)]
        self._run([*argv, "--target-image-opts", _options(target)], on_progress=on_progress)

    def _run(self, argv: list[str], *, on_progress: Callable[[float], None] | None = None) -> bytes:
        """What it prints."""
        kept = b""
        with process.Process(argv, streams=process.Streams(stdout=process.PIPE)) as running:
            quiet_since = time.monotonic()
            while True:
                if self._cancelled.is_set():
                    raise Cancelled
                if select.select([running.stdout], [], [], 0.5)[0]:
                    data = os.read(running.stdout.fileno(), 1 << 16)
                    if not data:
                        break
                    quiet_since = time.monotonic()
                    kept = (kept + data)[-(1 << 16) :]
                    if on_progress and (shown := _PROGRESS.findall(data)):
                        on_progress(float(shown[-1]) / 100)
                elif time.monotonic() - quiet_since > self._patience:
                    raise DeploymentFailed(
                        f"the target does not answer: no progress for {self._patience:.0f} s; is the cable still there?"
                    )
            try:
                code = running.wait(timeout=self._patience)
            except CommandFailed as error:
                raise DeploymentFailed(f"the target does not answer: {error.message}") from error
            if code != 0:
                raise DeploymentFailed(_reason(running.tail, code))
        return kept


def driver_problem() -> str:
    """Why qemu-img cannot write over iSCSI, or empty. `qemu-img --help` lists drivers that are in packages of their
    own, and perhaps not there: only one that is used shows."""
    node = IscsiTarget(
        portal=MachinePlace(host="127.0.0.1", port=1), iqn="iqn.2026-11.dibo:probe", lun=1
    ).node
    argv = ["qemu-img", "info", "--output=json", "--image-opts", _options({**node, "timeout": "1"})]
    try:
        process.run(argv, capture=True, options=process.ProcessOptions(timeout=30))
    except ToolMissing as error:
        return f"{error.message}: {error.hint}"
    except CommandFailed as error:  # nothing listens on that port
        if re.search(r"Unknown driver|module", "\n".join(error.tail)):
            return "qemu-img has no driver for iSCSI: sudo apt-get install qemu-block-extra"
    return ""


def probe(path: Path) -> ServedImage:
    """Look at an image file. Raises DeploymentFailed where it cannot be an image."""
    try:
        with closing(FileSource(path)) as file:
            kind = image_format(file, name=f"the image {path}")
        size = int(image_info(path, kind)["virtual-size"])
    except DiskImageError as error:
        hint = f"; {error.hint}" if error.hint else ""
        raise DeploymentFailed(f"{error.message}{hint}") from error
    if size < 512 or size % 512:
        raise DeploymentFailed(f"the image {path} has {size} bytes, which is no whole number of sectors")
    return ServedImage(path=path, format=kind, size=size)


def check_digest(path: Path, *, cancelled: Callable[[], bool] = lambda: False) -> str:
    """The image's sha256 where a file NAME.sha256 lies beside it and agrees, else empty. Raises DeploymentFailed
    where it does not, and Cancelled."""
    try:
        expected = path.with_name(f"{path.name}.sha256").read_text().split()[0].lower()
    except (OSError, UnicodeDecodeError, IndexError):
        return ""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                if cancelled():
                    raise Cancelled
                digest.update(piece)
    except OSError as error:
        raise DeploymentFailed(f"cannot read the image {path}: {error.strerror}") from error
    if digest.hexdigest() != expected:
        raise DeploymentFailed(f"the image {path} is damaged: its sha256 is not that of {path.name}.sha256")
    return f"sha256:{expected}"


def _file(path: Path) -> Node:
    return {"driver": "file", "filename": str(path)}


def _raw(path: Path) -> Node:
    return {"driver": "raw", **_below(_file(path))}


def _below(node: Node) -> Node:
    """As the `file` of another."""
    return {f"file.{name}": value for name, value in node.items()}


def _part(node: Node, part: Range) -> Node:
    return {"driver": "raw", "offset": str(part.offset), "size": str(part.size), **_below(node)}


def _options(node: Node) -> str:
    return ",".join(f"{name}={value.replace(',', ',,')}" for name, value in node.items())


def _pieces(parts: tuple[Range, ...]) -> Iterator[Range]:
    for part in parts:
        for offset in range(part.offset, part.end, _PIECE):
            yield Range(offset, min(_PIECE, part.end - offset))


def _reason(tail: tuple[str, ...], code: int) -> str:
    """The last thing that qemu-img said; of a target without its long address."""
    lines = [line.strip() for line in tail if line.strip()]
    if not lines:
        return f"qemu-img {process.describe_exit(code)}"
    return re.sub(r"^qemu-img: (?:Could not open '.*?': )?", "", lines[-1])
