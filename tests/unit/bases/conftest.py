"""Parts that tests of bases share: a cache, a report that can be read, keys, a server."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dibo.bases.settings import BaseSettings
from dibo.fetch import Http
from dibo.report import Report
from dibo.workspace import Workspace
from tests.support.parts import need
from tests.support.web import Web


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


@pytest.fixture(scope="session")
def keys() -> Iterator[Keys]:
    need("gpg", "gpgv")
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


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        yield server


@pytest.fixture
def said() -> io.StringIO:
    """What the report said."""
    return io.StringIO()


@pytest.fixture
def report(said: io.StringIO) -> Report:
    return Report(said)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "cache")


@pytest.fixture
def settings() -> BaseSettings:
    return BaseSettings(architecture="amd64", http=Http(timeout=5, sleep=lambda _: None))
