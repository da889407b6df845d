"""The disk that hooks of block-device.d lay out: on a plain file, or with --loop on a loop device.

Hooks are given the whole of it, as IMAGE_BLOCK_DEVICE, and say where the root file system goes: to a partition of it,
by the name that the kernel would give that, `<path>p1`; or, with --loop, to a device that they mapped on it. What they
wrote is read back, never evaluated.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final

from dibo.build import host_hooks
from dibo.build.engine import Setup
from dibo.build.host_hooks import HookAnswer, HostRun
from dibo.disk import partitioned as disks
from dibo.disk.loop.fill import data_of
from dibo.disk.partitioned import PartitionedDisk
from dibo.disk.request import DiskRequest, check_disk
from dibo.errors import DiskImageError, HookFailed, LayoutError, LoopError, OutputError
from dibo.flavours.stack import Stack
from dibo.formats.open_target import copy_raw
from dibo.formats.partitions.reader import PartitionPlace, Table, table
from dibo.formats.sparse import is_zero
from dibo.formats.target import Target
from dibo.inspect.open_image import FileSource
from dibo.system.loop.device import LoopDevice
from dibo.system.loop.holders import lies_on, remove_mappings
from dibo.system.workspace import Run
from dibo.units import OnBytes

_PARTITION: Final = re.compile(r"p?([0-9]{1,3})")
_PIECE: Final = 1 << 20
_PRINT: Final = "IMAGE_BLOCK_DEVICE=${IMAGE_BLOCK_DEVICE}p1"


@dataclass(frozen=True, slots=True, kw_only=True)
class HookedDisk:
    """A disk as hooks left it, in `file`."""

    file: Path
    hook: Path
    """Which of them said where the root goes."""
    disk: PartitionedDisk
    mapped: Path | None = None
    """What the root goes to when that is no partition: a mapped device of as many bytes as `found.root` says."""
    device: LoopDevice | None = None
    """With --loop: what stands for the file, until `release`."""

    def release(self) -> None:
        """Take down what hooks mapped on the loop device, and the device. Raises LoopError."""
        if self.device is not None and self.device.attached:
            remove_mappings(self.device.number)
            self.device.close()


@contextmanager
def hooked_disk(
    stack: Stack, request: DiskRequest, setup: Setup, *, loop: bool, host: HostRun
) -> Iterator[HookedDisk | None]:
    """Run the hooks on a disk as large as `request` says; None where they left it alone. With `loop` its file is beside
    the raw disk.

    Raises HookFailed, LayoutError, LoopError, OutputError, ToolMissing.
    """
    run, size = setup.run, request.size
    if not host_hooks.has_block_device(stack):
        yield None
        return
    with ExitStack() as undo:
        file = (
            undo.enter_context(run.beside(request.path("raw")))
            if loop
            else run.subdirectory("device") / "disk"
        )
        with file.open("wb") as opened:
            opened.truncate(size)
        device = None
        if loop:
            run.loop_device(file)
            device = LoopDevice(file)
            undo.push(_Release(device, run))
        answer = host_hooks.block_device(
            stack,
            device=device.path if device is not None else file,
            host=host,
            after=lambda: _tell_kernel(device, file),
        )
        made = _judge(answer, file, device, size)
        if made is None:
            undo.close()
        else:
            if request.layout is not None:
                setup.report.say(
                    f"{made.hook} laid out the disk: what flavours say about partitions is not used"
                )
            check_disk(request, None, loop=loop)
        yield made


def take_over(
    file: Path, path: Path, make: Callable[[], AbstractContextManager[Target]], *, on_bytes: OnBytes
) -> None:
    """Have the finished disk in `file` at `path`: by its name where that goes, else by a copy to what `make` opens
    there. Raises OutputError."""
    try:
        file.replace(path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        with file.open("rb") as source, make() as target:
            copy_raw(source, target, on_bytes=on_bytes)


class _Release:
    """Takes the loop device away, whatever ends the `with`: what hooks mapped on it would hold it for ever."""

    def __init__(self, device: LoopDevice, run: Run) -> None:
        self._device, self._run = device, run

    def __call__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if not self._device.attached:
            return
        try:
            remove_mappings(self._device.number)
        except BaseException:
            self._run.leave_to_next()
            raise
        finally:
            self._device.__exit__(_kind, error, _trace)


def _tell_kernel(device: LoopDevice | None, file: Path) -> None:
    if device is not None:
        device.sync()
        table = _read_table(file)
        if table is not None:
            device.add_partitions((place.number, place.offset, place.size) for place in table.places)


def _read_table(file: Path) -> Table | None:
    try:
        with closing(FileSource(file)) as source:
            return table(source)
    except DiskImageError as error:
        raise LayoutError(f"what the hooks of block-device.d left: {error.message}") from error


def _judge(answer: HookAnswer, file: Path, device: LoopDevice | None, size: int) -> HookedDisk | None:
    """What the hooks made of the disk. Raises HookFailed for an answer that cannot be, LayoutError for the disk."""
    path = device.path if device is not None else file
    table = _read_table(file)
    hook, text = answer.hook, answer.text
    if text is None or text == str(path):
        if table is not None:
            raise LayoutError(
                f"the hook {hook} made partitions, and does not say which of them the root file system goes to",
                hint=f'let it print that last: echo "{_PRINT}"',
            )
        if _has_data(file, 0, size):
            raise LayoutError(
                f"the hook {hook} wrote to the disk something that is no partition table dibo can read",
                hint="dibo reads GPT and MBR; a hook that makes no partitions leaves the disk as it is",
            )
        return None
    number = _PARTITION.fullmatch(text.removeprefix(str(path))) if text.startswith(str(path)) else None
    if number is None:
        return _on_mapping(answer, file, device, size, table)
    if table is None:
        raise HookFailed(
            f"{hook} printed IMAGE_BLOCK_DEVICE={text}, and there is no partition table on the disk",
            hint="it has to make one first: sfdisk, sgdisk and parted do",
        )
    try:
        made = disks.find(table, size=size, number=int(number[1]))
    except LayoutError as error:
        raise LayoutError(f"the disk that {hook} made: {error.message}", hint=error.hint) from error
    return HookedDisk(file=file, hook=hook, disk=_with_empty_esp(made, file), device=device)


def _on_mapping(
    answer: HookAnswer, file: Path, device: LoopDevice | None, size: int, table: Table | None
) -> HookedDisk:
    text, hook = answer.text or "", answer.hook
    printed = f"{hook} printed IMAGE_BLOCK_DEVICE={text}"
    if device is None:
        raise HookFailed(
            f"{printed}, which is neither the disk it was given nor a partition of it",
            hint=f'partitions are named as the kernel does: echo "{_PRINT}"\n'
            "with --loop, as root, a hook is given a loop device, and may map devices on it",
        )
    path = Path(text)
    try:
        status = path.stat()
    except OSError as error:
        raise HookFailed(f"{printed}: {error.strerror}") from error
    if not stat.S_ISBLK(status.st_mode):
        raise HookFailed(f"{printed}, which is no block device")
    if not lies_on(status.st_rdev, device.number):
        raise HookFailed(
            f"{printed}, which does not lie on {device.path}",
            hint="dibo makes a file system there, so it takes nothing but what lies on the disk it gave",
        )
    whole = PartitionPlace(number=0, offset=0, size=_size_of(path))
    checked = table if table is not None else Table(is_gpt=False, places=(), free_until=0)
    disks.check_table(checked, size)
    made = PartitionedDisk(size=size, table=checked, root=whole, esp=disks.esp_of(checked, None))
    return HookedDisk(file=file, hook=hook, disk=_with_empty_esp(made, file), mapped=path, device=device)


def _with_empty_esp(made: PartitionedDisk, file: Path) -> PartitionedDisk:
    """An EFI system partition in which a hook wrote something is the hook's."""
    if made.esp is not None and _has_data(file, made.esp.offset, made.esp.size):
        return replace(made, esp=None)
    return made


def _has_data(file: Path, offset: int, size: int) -> bool:
    """Whether anything but zeros was written there."""
    with file.open("rb") as opened:
        descriptor = opened.fileno()
        for start, end in data_of(descriptor, offset + size):
            for at in range(max(start, offset), end, _PIECE):
                if not is_zero(os.pread(descriptor, min(_PIECE, end - at), at)):
                    return True
    return False


def _size_of(device: Path) -> int:
    try:
        with device.open("rb") as opened:
            return os.lseek(opened.fileno(), 0, os.SEEK_END)
    except OSError as error:
        raise LoopError(f"cannot open {device}: {error.strerror}") from error
