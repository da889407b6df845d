"""The disk of the machine: a block device, or a file in its place. The numbers of ioctls are those of linux/fs.h."""

from __future__ import annotations

import array
import errno
import fcntl
import os
import stat
import struct

from pull.errors import PullError

_BLKRRPART = 0x125F
_BLKFLSBUF = 0x1261
_BLKSSZGET = 0x1268
_BLKZEROOUT = 0x127F
_BLKGETSIZE64 = 0x80081272
_ZEROS = bytes(1 << 20)


class Disk:
    """Opened for this process alone. Raises PullError for what does not work, here and in every method."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._is_block = stat.S_ISBLK(os.stat(path).st_mode)  # noqa: PTH116 (no pathlib in the ramdisk)
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_EXCL if self._is_block else 0))
        except OSError as error:
            why = (
                "is in use: something mounted it, or took it into an array"
                if error.errno == errno.EBUSY
                else ""
            )
            raise PullError(f"the disk {path} {why or f'cannot be opened: {error.strerror}'}") from error
        self.size = self._ask_size()
        self.sector = self._ask_sector()

    def _ask_size(self) -> int:
        if not self._is_block:
            return os.fstat(self._fd).st_size
        answer = array.array("Q", [0])
        fcntl.ioctl(self._fd, _BLKGETSIZE64, answer)
        return answer[0]

    def _ask_sector(self) -> int:
        if not self._is_block:
            return 512
        answer = array.array("i", [0])
        fcntl.ioctl(self._fd, _BLKSSZGET, answer)
        return answer[0]

    def read(self, offset: int, size: int) -> bytes:
        """Fewer at the end of the disk."""
        found = b""
        try:
            while len(found) < size and (piece := os.pread(self._fd, size - len(found), offset + len(found))):
                found += piece
        except OSError as error:
            raise self._broken("read", offset, error) from error
        return found

    def write(self, offset: int, data: bytes | memoryview) -> None:
        try:
            while data:
                done = os.pwrite(self._fd, data, offset)
                data, offset = data[done:], offset + done
        except OSError as error:
            raise self._broken("written", offset, error) from error

    def zero(self, offset: int, size: int) -> None:
        """Make those bytes zeros, in whatever way the disk does it fastest."""
        try:
            if self._is_block and size and not (offset | size) % self.sector:
                fcntl.ioctl(self._fd, _BLKZEROOUT, struct.pack("QQ", offset, size))
                return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL):
                raise self._broken("written", offset, error) from error
        while size:
            part = min(size, len(_ZEROS))
            if not self._is_hole(offset, part):
                self.write(offset, memoryview(_ZEROS)[:part])
            offset, size = offset + part, size - part

    def _is_hole(self, offset: int, size: int) -> bool:
        if self._is_block:
            return False
        try:
            return os.lseek(self._fd, offset, os.SEEK_DATA) >= offset + size
        except OSError as error:
            return error.errno == errno.ENXIO

    def flush(self) -> None:
        """All that was written is on the disk, or there is an error."""
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise PullError(f"the disk {self.path} cannot be written: {error.strerror}") from error

    def reread(self) -> bool:
        """Have the kernel read the partition table anew; whether it did."""
        if not self._is_block:
            return True
        try:
            fcntl.ioctl(self._fd, _BLKFLSBUF)
            fcntl.ioctl(self._fd, _BLKRRPART)
        except OSError:
            return False
        return True

    def close(self) -> None:
        os.close(self._fd)

    def _broken(self, what: str, offset: int, error: OSError) -> PullError:
        return PullError(f"the disk {self.path} cannot be {what} at byte {offset}: {error.strerror}")
