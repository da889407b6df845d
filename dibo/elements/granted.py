"""Files of the user's that scripts outside the image see: those that variables name, and the public ssh keys.

Scripts of diskimage-builder read whatever the user can. Here they see what a variable of theirs names by an absolute
path, and of the home directory `.ssh/authorized_keys` and public keys, where they speak of them; the key of the step
covers the bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dibo.errors import FlavourError

_LIMIT: Final = 64 << 20  # bytes of one file
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
            path = Path(value.removeprefix("file://"))
            if path.is_absolute() and _is_file(path):
                local = "KEY" in name.upper()
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


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
