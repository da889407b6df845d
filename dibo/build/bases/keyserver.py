"""Public keys by fingerprint from a keyserver, and the copies that are kept.

    https://HOST/pks/lookup?op=get&options=mr&search=0xFINGERPRINT      HKP (draft-gallagher-openpgp-hkp)
    bases/keys/FINGERPRINT.gpg                                          the certificate, binary, 0600

The server is not trusted: what it sends counts only where it is the key with the fingerprint that was asked for. A copy
is held to the same each time it is read, so that the cache need not be trusted either.
"""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from dibo.build.bases.openpgp import certificate
from dibo.errors import BaseError, Unreachable, UsageError, VerificationFailed
from dibo.settings.settings import NONE
from dibo.system import http as fetch
from dibo.system.report import Report
from dibo.system.retry import RetryPolicy

LARGEST_ANSWER: Final = 1 << 20
"""Bytes. Keys that many have signed have a few hundred KiB."""
_SCHEMES: Final = {
    "https": ("https", None),
    "hkps": ("https", None),
    "http": ("http", None),
    "hkp": ("http", 11371),
}

_NEVER: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]|//[^/]*/.*[^!-~]")
"""What no address has: spaces, controls, and letters beyond ASCII after the host (RFC 3986, 2)."""


def lookup_address(keyserver: str, fingerprint: str) -> str:
    """Where a keyserver has a key. `keyserver` is HOST[:PORT], or that with https, hkps, http or hkp before it.
    Raises UsageError."""
    no_address = UsageError(
        f"{keyserver!r} is no address of a keyserver",
        hint="such as https://keyserver.ubuntu.com, or hkp://keys.example; none asks no keyserver",
    )
    text = keyserver if "://" in keyserver else f"https://{keyserver}"
    try:
        parts = urlsplit(text)
        scheme, default_port = _SCHEMES[parts.scheme]
        port = parts.port or default_port
    except (KeyError, ValueError) as error:
        raise no_address from error
    if not parts.hostname or parts.query or parts.fragment or _NEVER.search(text):
        raise no_address
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = f"{scheme}://{host}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
    return f"{place}/pks/lookup?op=get&options=mr&search=0x{fingerprint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyserver:
    """A keyserver, or `none`, and the directory that keeps what it sent."""

    address: str
    directory: Path
    offline: bool
    policy: RetryPolicy
    report: Report

    def keyring(self, fingerprint: str) -> Path:
        """A file with the key alone: the kept one, or from the server. Raises BaseError, Unreachable,
        VerificationFailed, UsageError."""
        path = self._path(fingerprint)
        try:
            certificate(path.read_bytes(), fingerprint)
        except (OSError, VerificationFailed):  # as good as none: the server has it
            return self.renewed(fingerprint)
        return path

    def renewed(self, fingerprint: str) -> Path:
        """The same, from the server in any case. Raises as `keyring`."""
        if self.address == NONE or self.offline:
            why = "dibo is told to stay offline" if self.offline else "--keyserver none forbids to ask for it"
            raise BaseError(f"the key {fingerprint} is not on this machine, and {why}")
        url = lookup_address(self.address, fingerprint)
        self.report.say(f"key {fingerprint} from {self.address}")
        try:
            answer = fetch.get(url, limit=LARGEST_ANSWER, policy=self.policy)
            assert answer is not None
            key = certificate(answer.body, fingerprint)
        except VerificationFailed as error:
            raise VerificationFailed(f"{url}: {error.message}", hint=error.hint) from error
        except Unreachable as error:
            raise Unreachable(_one_line(error.message), hint=error.hint) from error
        except BaseError as error:
            hint = (
                "the keyserver does not have the key: name another by --keyserver"
                if error.status == 404
                else ""
            )
            raise BaseError(_one_line(error.message), hint=hint or error.hint) from error
        return self._keep(fingerprint, key)

    def _path(self, fingerprint: str) -> Path:
        return self.directory / f"{fingerprint}.gpg"

    def _keep(self, fingerprint: str, key: bytes) -> Path:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(fingerprint)
        part = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.part")
        part.unlink(missing_ok=True)
        part.touch(mode=0o600, exist_ok=False)
        part.write_bytes(key)
        part.replace(path)
        return path


def _one_line(text: str) -> str:
    """urllib's reason for a redirect that leads in a circle has several."""
    return " ".join(text.split())
