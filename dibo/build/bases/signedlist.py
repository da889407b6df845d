"""A signed list of files on a server, the last good one of which is kept.

    bases/lists/<sha256 of its address>     JSON: address, list, signature, validators

List and signature are one file, written whole, so they always match; the signature is verified again
each time it is read, so the cache need not be trusted. A server that does not answer leaves dibo with the
last list; one that answers with a bad signature does not.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dibo.errors import Unreachable, VerificationFailed
from dibo.system import http as fetch
from dibo.system.report import Report
from dibo.system.retry import RetryPolicy

Check = Callable[[bytes, bytes], None]  # text, signature; raises VerificationFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    text: bytes
    signature: bytes
    validators: fetch.Validators


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedList:
    """The list at `url`, its signature at `url`.gpg. `directory` is where the last one is kept."""

    url: str
    directory: Path
    check: Check
    policy: RetryPolicy
    report: Report

    def current(self, *, offline: bool) -> bytes:
        """The list of now, or the last good one where the server does not answer.

        Raises Unreachable where there is none, VerificationFailed, BaseError.
        """
        kept = self._kept()
        if offline:
            if kept is None:
                raise Unreachable(f"{self.url} was never read, and dibo is told to stay offline", hint=_ONCE)
            return kept.text
        try:
            return self._ask(kept)
        except Unreachable as error:
            if kept is None:
                raise
            self.report.warn(f"{error.message}; going on with the list that was verified last")
            return kept.text

    def _ask(self, kept: _Kept | None) -> bytes:
        try:
            return self._renew(kept)
        except (
            VerificationFailed
        ):  # the server may have been renewed between the two files: once more, from nothing
            self.policy.sleep(1.0)
            return self._renew(None)

    def _renew(self, kept: _Kept | None) -> bytes:
        new = fetch.get(self.url, known=kept.validators if kept else None, policy=self.policy)
        if new is None:
            assert kept is not None
            return kept.text
        if kept is not None and new.body == kept.text:
            return kept.text
        signature = fetch.get(f"{self.url}.gpg", limit=1 << 16, policy=self.policy)
        assert signature is not None
        self.check(new.body, signature.body)
        self._keep(_Kept(text=new.body, signature=signature.body, validators=new.validators))
        return new.body

    def _path(self) -> Path:
        return self.directory / hashlib.sha256(self.url.encode()).hexdigest()

    def _kept(self) -> _Kept | None:
        try:
            note = json.loads(self._path().read_text())
            kept = _Kept(
                text=base64.b64decode(note["list"]),
                signature=base64.b64decode(note["signature"]),
                validators=fetch.Validators(etag=str(note["etag"]), modified=str(note["modified"])),
            )
            self.check(kept.text, kept.signature)
        except (OSError, ValueError, KeyError, TypeError, VerificationFailed):
            return None  # as good as never read: the server has it
        return kept

    def _keep(self, kept: _Kept) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        note = {
            "url": self.url,
            "list": base64.b64encode(kept.text).decode(),
            "signature": base64.b64encode(kept.signature).decode(),
            "etag": kept.validators.etag,
            "modified": kept.validators.modified,
        }
        part = self._path().with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(note))
        part.replace(self._path())


_ONCE = "run once without --offline"
