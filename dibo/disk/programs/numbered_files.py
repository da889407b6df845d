"""The bytes of files in numbered files of a directory, for programs that need a path for each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dibo.formats.raw import write_all
from dibo.tree.node import Buffer

_MANY: Final = 512


class Numbered:
    """Contents (dibo.tree.node) in `directory`, which is empty. What stands for a file is its path. Raises
    OSError, as the
    file system says it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._next = 0
        self._file = -1
        self._at = 0
        self._pending: list[Buffer] = []

    def begin(self, size: int) -> Path:
        self.close()
        path = self._directory / str(self._next)
        self._next += 1
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._file, size)
        self._at = 0
        return path

    def write(self, data: Buffer) -> None:
        self._pending.append(data)
        if len(self._pending) >= _MANY:
            self.flush()

    def skip(self, size: int) -> None:
        self.flush()
        self._at += size

    def flush(self) -> None:
        pending: Sequence[Buffer] = self._pending
        self._pending = []
        if pending:
            write_all(self._file, self._at, pending)
            self._at += sum(map(len, pending))

    def release(self, content: object) -> None:
        assert isinstance(content, Path)
        self.flush()
        content.unlink(missing_ok=True)

    def close(self) -> None:
        """Again is no error."""
        if self._file >= 0:
            self.flush()
            os.close(self._file)
            self._file = -1
