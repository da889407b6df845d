"""Keys made for a test, in a keyring of their own."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Key:
    home: Path
    fingerprint: str

    def sign(self, text: bytes, *, armour: bool = True) -> bytes:
        """A detached signature, armoured as Ubuntu's are."""
        argv = [*_gpg(self.home), "--local-user", self.fingerprint, *("--armor",) * armour, "--detach-sign"]
        return subprocess.run(argv, input=text, capture_output=True, check=True).stdout


@dataclass(frozen=True)
class Keys:
    """Two keys in one keyring: one that is pinned, one that is not."""

    pinned: Key
    other: Key
    keyring: Path


@contextlib.contextmanager
def two_keys() -> Iterator[Keys]:
    """Needs gpg. The keyring is gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="gpg-"))  # a short path: the agent's socket lies in it
    try:
        made = [_make_key(home, name) for name in ("pinned", "other")]
        keyring = home / "keyring.gpg"
        export = [*_gpg(home), "--output", str(keyring), "--export"]
        subprocess.run(export, check=True, capture_output=True)
        yield Keys(pinned=made[0], other=made[1], keyring=keyring)
    finally:
        subprocess.run(
            ["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=False, capture_output=True
        )
        shutil.rmtree(home, ignore_errors=True)


def _gpg(home: Path) -> list[str]:
    return ["gpg", "--homedir", str(home), "--batch"]


def _make_key(home: Path, name: str) -> Key:
    argv = [*_gpg(home), "--status-fd", "1", "--passphrase", "", "--quick-generate-key"]
    done = subprocess.run(
        [*argv, f"{name}@example", "ed25519", "sign", "never"], capture_output=True, check=True
    )
    fingerprint = next(
        line.split()[-1] for line in done.stdout.decode().splitlines() if "KEY_CREATED" in line
    )
    return Key(home=home, fingerprint=fingerprint)
