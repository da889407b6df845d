"""Detached OpenPGP signatures, checked by gpgv against one pinned key.

gpgv is content with any key of its keyring; dibo is not. Its status lines (GnuPG, doc/DETAILS, "General
status codes") tell which key made each signature:

    [GNUPG:] NEWSIG
    [GNUPG:] GOODSIG <long key id> <user id>        or EXPKEYSIG, REVKEYSIG, EXPSIG, BADSIG, ERRSIG
    [GNUPG:] VALIDSIG <fingerprint> <date> … <fingerprint of the primary key>

VALIDSIG follows EXPKEYSIG and REVKEYSIG too, so both lines must be there, for the same signature. Since the
fingerprint is pinned here, it does not matter where the keyring came from.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from dibo.errors import UsageError, VerificationFailed
from dibo.system import process

_STATUS: Final = "[GNUPG:] "


def verify(text: bytes, signature: bytes, *, keyring: Path, fingerprint: str, description: str) -> None:
    """Return when `signature` is the pinned key's, for `text`. Raises VerificationFailed, ToolMissing."""
    with tempfile.TemporaryDirectory(prefix="dibo-") as name:
        signed, detached = Path(name) / "text", Path(name) / "text.gpg"
        signed.write_bytes(text)
        detached.write_bytes(signature)
        argv = ("gpgv", "--homedir", name, "--status-fd", "1", "--keyring", str(keyring.absolute()))
        ended = process.run(
            [*argv, str(detached), str(signed)],
            capture=True,
            check=False,
            options=process.ProcessOptions(timeout=60),
        )
    signatures = _signatures(ended.stdout)
    signer = normal_fingerprint(fingerprint)
    if any("BADSIG" in status for status in signatures):
        raise VerificationFailed(
            f"{description} has a bad signature: it was changed after it was signed", hint=_DO_NOT_USE
        )
    if any("GOODSIG" in status and signer in status.get("VALIDSIG", ()) for status in signatures):
        return
    problem = _describe(signatures) or " ".join(ended.tail[-1:]) or "gpgv found none"
    raise VerificationFailed(
        f"{description} is not signed by the key {signer}: {problem}",
        hint=f"the keyring used was {keyring}\n{_DO_NOT_USE}",
    )


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
