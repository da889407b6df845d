"""Detached OpenPGP signatures, checked by gpgv against pinned keys.

gpgv is content with any key of its keyring; dibo is not. Its status lines (GnuPG, doc/DETAILS, "General
status codes") tell which key made each signature:

    [GNUPG:] NEWSIG
    [GNUPG:] GOODSIG <long key id> <user id>        or EXPKEYSIG, REVKEYSIG, EXPSIG, BADSIG, ERRSIG
    [GNUPG:] VALIDSIG <fingerprint> <date> … <fingerprint of the primary key>

VALIDSIG follows EXPKEYSIG and REVKEYSIG too, so both lines must be there, for the same signature. Since the
fingerprints are pinned, it does not matter where the keyring came from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dibo.build.bases.openpgp import without_armour
from dibo.errors import BaseError, UsageError, VerificationFailed
from dibo.system import process
from dibo.system.resources import read_whole

_STATUS: Final = "[GNUPG:] "


class ExpiredKey(VerificationFailed):
    """The signature is right, but it or its key has expired or was revoked."""


class UnknownSigner(VerificationFailed):
    """A key made the signature that is not in the keyring, or is not pinned."""


def verify(
    text: bytes, signature: bytes, *, keyring: Path, fingerprints: Sequence[str], description: str
) -> None:
    """Return when `signature` is by a key of `fingerprints`, for `text`. Raises VerificationFailed, ToolMissing."""
    with tempfile.TemporaryDirectory(prefix="dibo-") as name:
        signed, detached = Path(name) / "text", Path(name) / "text.gpg"
        signed.write_bytes(text)
        detached.write_bytes(signature)
        keys = Path(name) / "keyring.gpg"  # gpgv reads no armour
        keys.write_bytes(_read_keyring(keyring))
        argv = ("gpgv", "--homedir", name, "--status-fd", "1", "--keyring", str(keys))
        ended = process.run(
            [*argv, str(detached), str(signed)],
            capture=True,
            check=False,
            options=process.ProcessOptions(timeout=60),
        )
    signatures = _signatures(ended.stdout)
    if any("BADSIG" in status for status in signatures):
        raise VerificationFailed(
            f"{description} has a bad signature: it was changed after it was signed", hint=_DO_NOT_USE
        )
    pinned = [status for status in signatures if set(fingerprints) & set(status.get("VALIDSIG", ()))]
    if any("GOODSIG" in status for status in pinned):
        return
    problem = _describe(signatures) or " ".join(ended.tail[-1:]) or "gpgv found none"
    by_another = any("VALIDSIG" in status or "NO_PUBKEY" in status for status in signatures)
    kind = ExpiredKey if pinned else UnknownSigner if by_another else VerificationFailed
    raise kind(
        f"{description} is not signed by the key {' or '.join(fingerprints)}: {problem}",
        hint=f"the keyring used was {keyring}\n{_DO_NOT_USE}",
    )


def _read_keyring(keyring: Path) -> bytes:
    try:
        return without_armour(read_whole(keyring))
    except OSError as error:
        raise BaseError(f"cannot read the keyring {keyring}: {error.strerror}") from error
    except VerificationFailed as error:
        raise VerificationFailed(f"{keyring}: {error.message}") from error


def normal_fingerprint(text: str) -> str:
    """A fingerprint as gpgv prints it: 40 or 64 capital hex digits. Raises UsageError."""
    digits = text.replace(" ", "").upper().removeprefix("0X")
    if len(digits) not in (40, 64) or set(digits) - set("0123456789ABCDEF"):
        raise UsageError(
            f"{text!r} is not the fingerprint of a key",
            hint="it has 40 hexadecimal digits; gpg --fingerprint prints it",
        )
    return digits


def _signatures(status: str) -> list[dict[str, tuple[str, ...]]]:
    """For each signature: its status words, each with its arguments."""
    signatures: list[dict[str, tuple[str, ...]]] = []
    for line in status.splitlines():
        word, *arguments = line.removeprefix(_STATUS).split()
        if word == "NEWSIG" or not signatures:
            signatures.append({})
        signatures[-1][word] = tuple(arguments)
    return signatures


def _describe(signatures: list[dict[str, tuple[str, ...]]]) -> str:
    descriptions = []
    for status in signatures:
        if "EXPKEYSIG" in status or "REVKEYSIG" in status or "EXPSIG" in status:
            descriptions.append("a signature, or the key that made it, has expired or was revoked")
        elif "VALIDSIG" in status:
            descriptions.append(f"signed by {status['VALIDSIG'][0]}")
        elif "NO_PUBKEY" in status:
            descriptions.append(f"signed by {status['NO_PUBKEY'][0]}, which is not in the keyring")
    return "; ".join(descriptions)


_DO_NOT_USE: Final = "try again, or another server; do not use what it sent"
