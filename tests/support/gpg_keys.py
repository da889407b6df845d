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

    def sign(self, text: bytes, *, armour: bool = True, at: str = "") -> bytes:
        """A detached signature, armoured as Ubuntu's are. `at` is the time of making, YYYYMMDDTHHMMSS."""
        argv = [
            *_gpg(self.home, at),
            "--local-user",
            self.fingerprint,
            *("--armor",) * armour,
            "--detach-sign",
        ]
        return subprocess.run(argv, input=text, capture_output=True, check=True).stdout

    def export(self, *, armour: bool = True, secret: bool = False) -> bytes:
        """The key alone, armoured as keyservers send it."""
        what = "--export-secret-keys" if secret else "--export"
        argv = [*_gpg(self.home), *("--armor",) * armour, what, self.fingerprint]
        return subprocess.run(argv, capture_output=True, check=True).stdout

    def prolong(self) -> None:
        """Let the key never expire."""
        argv = [*_gpg(self.home), "--quick-set-expire", self.fingerprint, "0"]
        subprocess.run(argv, capture_output=True, check=True)


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
        made = [make_key(home, name) for name in ("pinned", "other")]
        keyring = home / "keyring.gpg"
        export = [*_gpg(home), "--output", str(keyring), "--export"]
        subprocess.run(export, check=True, capture_output=True)
        yield Keys(pinned=made[0], other=made[1], keyring=keyring)
    finally:
        subprocess.run(
            ["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=False, capture_output=True
        )
        shutil.rmtree(home, ignore_errors=True)


def make_key(home: Path, name: str, *, expires: str = "never", at: str = "") -> Key:
    """A key that signs, made at the time `at`, YYYYMMDDTHHMMSS."""
    argv = [*_gpg(home, at), "--status-fd", "1", "--passphrase", "", "--quick-generate-key"]
    done = subprocess.run(
        [*argv, f"{name}@example", "ed25519", "sign", expires], capture_output=True, check=True
    )
    fingerprint = next(
        line.split()[-1] for line in done.stdout.decode().splitlines() if "KEY_CREATED" in line
    )
    return Key(home=home, fingerprint=fingerprint)


def _gpg(home: Path, at: str = "") -> list[str]:
    return ["gpg", "--homedir", str(home), "--batch", *(("--faked-system-time", f"{at}!") if at else ())]
