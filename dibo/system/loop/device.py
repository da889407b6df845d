"""The door to loop devices: a file as a block device, with the partitions that a placement or a hook made.

    LOOP_CTL_GET_FREE      which number is free
    LOOP_CONFIGURE         file and flags, in one step: there is no moment in which a device is set up and would stay
      LO_FLAGS_AUTOCLEAR   it detaches itself when the last one who has it open closes it, or dies
      LO_FLAGS_PARTSCAN    the kernel can be told to read a new table; its partitions go with the device
    BLKPG                  add partitions one by one, for kernels that know no tables, and tables that lie elsewhere

    struct loop_config         struct loop_info64                    struct blkpg_partition
      0 u32 file                 0 u64 × 5 device … offset, limit      0 s64 start, 8 s64 length, in bytes
      4 u32 block size          40 u32 × 4 number … flags (at 52)     16 s32 number
      8 loop_info64 (232)       56 64 bytes of name, and more         20 names, not used; 152 bytes in all
    240 64 bytes, zero

linux/loop.h, linux/blkpg.h; LOOP_CONFIGURE is in Linux since 5.8.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dibo.errors import Interrupted, LoopError
from dibo.formats.raw import unwritable, write_all
from dibo.tree.node import Buffer
from dibo.units import SECTOR

CONTROL: Final = Path("/dev/loop-control")
SYSFS: Final = Path("/sys/block")
MAJOR: Final = 7
_GET_FREE: Final = 0x4C82
_CONFIGURE: Final = 0x4C0A
_CLEAR: Final = 0x4C01
_BLKPG: Final = 0x1269
_BLKPG_ADD: Final = 1
_AUTOCLEAR: Final = 4
_PARTSCAN: Final = 8
_CONFIG: Final = struct.Struct("<II 5Q 4I 64s 64s 32s 2Q 64x")
_PARTITION: Final = struct.Struct("<qqi 64s 64s 4x")
_ARGUMENT: Final = struct.Struct("@iiiP")
_TRIES: Final = 32
_ZEROS: Final = 1 << 20
_SECONDS: Final = 10.0


class LoopDevice:
    """`file` as a block device, until `close`, the end of `with`, or of the process. Raises LoopError."""

    def __init__(self, file: Path, *, sector: int = SECTOR) -> None:
        """`sector` is the size of its logical sectors in bytes, of which `file` has a whole number."""
        self.file = file
        self._fd, self.number = _attach(file, sector)

    @property
    def path(self) -> Path:
        return Path(f"/dev/loop{self.number}")

    @property
    def attached(self) -> bool:
        """Whether it was not closed yet."""
        return self._fd >= 0

    def partition(self, number: int) -> Path:
        return Path(f"/dev/loop{self.number}p{number}")

    @property
    def partitions(self) -> tuple[int, ...]:
        """The numbers of those that the kernel has."""
        return partitions_of(SYSFS / self.path.name)

    def add_partitions(self, places: Iterable[tuple[int, int, int]]) -> None:
        """Have the kernel know these (number, offset, size; in bytes); those it knows already are left."""
        known = self.partitions
        places = tuple(places)
        for number, offset, size in places:
            if number not in known:
                part = ctypes.create_string_buffer(_PARTITION.pack(offset, size, number, b"", b""))
                argument = _ARGUMENT.pack(_BLKPG_ADD, 0, _PARTITION.size, ctypes.addressof(part))
                try:
                    fcntl.ioctl(self._fd, _BLKPG, argument)
                except OSError as error:
                    if (
                        error.errno == errno.EBUSY and number in self.partitions
                    ):  # it has read the table itself
                        continue
                    raise LoopError(
                        f"the kernel does not take partition {number} of {self.path}: {error.strerror}"
                    ) from error
        for number, _, _ in places:
            _ensure_node(self.partition(number), SYSFS / self.path.name / self.partition(number).name)

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        """As dibo.formats.target has it: a loop device is a Target. Raises OutputError."""
        try:
            write_all(self._fd, offset, buffers)
        except OSError as error:
            raise unwritable(self.file, error) from error

    def discard(self, offset: int, size: int) -> None:
        """As dibo.formats.target has it, by zeros."""
        for start in range(offset, offset + size, _ZEROS):
            self.write(start, [bytes(min(_ZEROS, offset + size - start))])

    def sync(self) -> None:
        """Have everything that was written to the device in the file. Raises LoopError."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise LoopError(f"cannot write {self.file} through {self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Detach, and wait until the kernel has done so. Raises LoopError if another process holds the device."""
        if not self._let_go():
            return
        deadline = time.monotonic() + _SECONDS
        while is_on(self.number, self.file):
            if time.monotonic() > deadline:
                raise LoopError(
                    f"something still uses {self.path}, the loop device of {self.file}",
                    hint=f"it detaches itself when that ends; `lsof {self.path}` says what it is",
                )
            time.sleep(0.01)

    def _let_go(self) -> bool:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        return fd >= 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Interrupted):  # what else is open closes when the process ends, which is next
            self._let_go()
        else:
            self.close()


def _attach(file: Path, sector: int) -> tuple[int, int]:
    """An open loop device that stands for `file`, and its number."""
    try:
        backing = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise LoopError(f"cannot open {file}: {error.strerror}") from error
    try:
        control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        os.close(backing)
        raise LoopError(
            f"this machine gives no loop devices: {CONTROL}: {error.strerror}",
            hint="`modprobe loop`; in a container, run it with --privileged, or leave out --loop",
        ) from error
    try:
        for _ in range(_TRIES):  # others may take the one that was free a moment ago
            number = fcntl.ioctl(control, _GET_FREE)
            device = _open_device(number)
            try:
                fcntl.ioctl(device, _CONFIGURE, _configuration(backing, file, sector))
            except OSError as error:
                os.close(device)
                if error.errno == errno.EBUSY:
                    continue
                raise LoopError(f"{file} cannot be a loop device: {error.strerror}", hint=_OLD) from error
            return device, number
    except OSError as error:
        raise LoopError(f"cannot allocate a loop device: {error.strerror}") from error
    finally:
        os.close(control)
        os.close(backing)
    raise LoopError("cannot allocate a loop device: other processes take each free one first")


_OLD: Final = "Linux 5.8 or newer is needed, and a file on a disk or in memory, not on a network"


def _configuration(backing: int, file: Path, sector: int) -> bytes:
    name = os.fsencode(file)[:63]
    return _CONFIG.pack(
        backing, sector, 0, 0, 0, 0, 0, 0, 0, 0, _AUTOCLEAR | _PARTSCAN, name, b"", b"", 0, 0
    )  # fmt: skip


def _open_device(number: int) -> int:
    path = Path(f"/dev/loop{number}")
    _ensure_node(path, SYSFS / path.name)
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def _ensure_node(path: Path, sysfs: Path) -> None:
    """Make a missing node, where no udev keeps /dev (a container). Raises LoopError."""
    try:
        numbers = device_number(sysfs)
        if path.exists() and path.stat().st_rdev == numbers:
            return
        path.unlink(missing_ok=True)
        os.mknod(path, stat.S_IFBLK | 0o600, numbers)
    except FileExistsError:  # somebody does keep it, and was quicker
        return
    except OSError as error:
        raise LoopError(f"{path} is not there, and cannot be made: {error.strerror}") from error


def device_number(sysfs: Path) -> int:
    """Major and minor of a block device, as st_rdev has them. Raises OSError."""
    major, _, minor = (sysfs / "dev").read_text().strip().partition(":")
    return os.makedev(int(major), int(minor))


def partitions_of(sysfs: Path) -> tuple[int, ...]:
    """The numbers of a disk's partitions, by its directory in sysfs."""
    try:
        paths = [path / "partition" for path in sysfs.iterdir() if path.name.startswith(f"{sysfs.name}p")]
    except OSError:
        return ()
    return tuple(sorted(int(path.read_text()) for path in paths if path.exists()))


def is_on(number: int, file: Path, *, sysfs: Path = SYSFS) -> bool:
    """Whether loop device `number` stands for `file`, which may be deleted by now."""
    try:
        backing = (sysfs / f"loop{number}" / "loop" / "backing_file").read_text().rstrip("\n")
    except OSError:
        return False
    return backing.removesuffix(" (deleted)") == str(file)


def devices_on(file: Path, *, sysfs: Path = SYSFS) -> tuple[int, ...]:
    """The numbers of all loop devices that stand for `file`."""
    numbers = (path.name.removeprefix("loop") for path in sysfs.glob("loop*"))
    return tuple(
        sorted(
            int(number) for number in numbers if number.isdecimal() and is_on(int(number), file, sysfs=sysfs)
        )
    )


def detach(number: int) -> None:
    """Have a device go that some other process set up; at once, or when its last user goes. Raises LoopError."""
    try:
        device = os.open(f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(device, _CLEAR)
        finally:
            os.close(device)
    except OSError as error:
        if error.errno not in (errno.ENXIO, errno.ENOENT):  # it is gone
            raise LoopError(f"cannot detach /dev/loop{number}: {error.strerror}") from error
