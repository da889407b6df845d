"""Files of the user's that scripts outside the image see: those that variables name, and the public ssh keys.

Scripts of diskimage-builder read whatever the user can. Here they see what a variable of theirs names by absolute
paths, one or several with blanks between, files or directories with all in them; and of the home directory
`.ssh/authorized_keys` and public keys, where they speak of them. The key of the step covers the bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dibo.errors import FlavourError

_LIMIT: Final = 64 << 20  # bytes of one file
_FILES: Final = 1000  # in one directory
_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/dev", "/sys")
"""Scripts see programs of this machine there, of which no key says anything; most such values are of the image."""
_OF_DIRECTORIES: Final = "DIB_"
"""How variables begin whose directories are seen; others, as TMP_DIR, name large ones of the machine."""
_OF_HOME: Final = ("authorized_keys", "id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub", "id_dsa.pub")
HOME: Final = "/root"
"""The home directory of scripts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedFile:
    """A file of the user's, and where scripts see it."""

    target: str
    digest: str
    local: bool
    """Whether it must not leave this machine."""
    origin: Path = field(compare=False)


class Grants:
    """Reads what is granted, once. `home` is the user's home directory."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._read: dict[Path, str] = {}

    def of(self, variables: Mapping[str, str], *, home: bool) -> tuple[GrantedFile, ...]:
        """What `variables` name; with `home`, the keys of the home directory, too. Raises FlavourError."""
        files = []
        for name, value in sorted(variables.items()):
            local = "KEY" in name.upper()
            for path in (path for word in value.split() for path in _files_at(word, variable=name)):
                files.append(self._granted(path, str(path), local=local))
        if home:
            for name in _OF_HOME:
                path = self._home / ".ssh" / name
                if _is_file(path):
                    files.append(self._granted(path, f"{HOME}/.ssh/{name}", local=True))
        return tuple({file.target: file for file in files}.values())

    def _granted(self, path: Path, target: str, *, local: bool) -> GrantedFile:
        if path not in self._read:
            try:
                if path.stat().st_size > _LIMIT:
                    raise FlavourError(f"{path}, which a variable names, is larger than {_LIMIT >> 20} MiB")
                self._read[path] = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                raise FlavourError(f"cannot read {path}: {error.strerror}") from error
        return GrantedFile(target=target, digest=self._read[path], local=local, origin=path)


def _files_at(word: str, *, variable: str) -> list[Path]:
    """The file that a word of a variable names by an absolute path, or those in the directory. Raises FlavourError."""
    path = Path(word.removeprefix("file://"))
    if not path.is_absolute() or any(path.is_relative_to(directory) for directory in _SYSTEM):
        return []
    if _is_file(path):
        return [path]
    if not variable.startswith(_OF_DIRECTORIES) or path.parent == path:
        return []
    files: list[Path] = []
    for directory, directories, names in os.walk(path):
        directories.sort()
        files += [file for name in sorted(names) if _is_file(file := Path(directory, name))]
        if len(files) > _FILES:
            raise FlavourError(
                f"the directory {path}, which {variable} names, has more than {_FILES} files",
                hint="scripts of elements see all that a variable names: name a smaller directory",
            )
    return files


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
