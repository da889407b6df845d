"""The keys that Ubuntu signs lists of cloud images with, and where they come from.

Two keys count, by their fingerprints, which are pinned here; so it does not matter where a key came from:

    --keyring FILE              that file and no other
    ubuntu-cloudimage-keyring.gpg       where the package ubuntu-keyring (Debian from trixie on) or
                                ubuntu-cloudimage-keyring (Ubuntu) is installed
    a keyserver                 otherwise, or where the package is older than the key; dibo keeps the key

UEC Image Automatic Signing Key <cdimage@ubuntu.com> signs server images, Ubuntu Cloud Image Builder
<ubuntu-cloudbuilder-noreply@canonical.com> minimal ones. Ubuntu's archive keyring holds neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from dibo.build.bases.keyserver import Keyserver
from dibo.build.bases.settings import BaseSettings
from dibo.build.bases.signature import ExpiredKey, UnknownSigner, normal_fingerprint, verify
from dibo.errors import BaseError, VerificationFailed
from dibo.system.report import Report
from dibo.system.workspace import Workspace

FINGERPRINTS: Final = (
    "D2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81",  # UEC Image Automatic Signing Key
    "4A3CE3CD565D7EB5C810E2B97FF3F408476CF100",  # Ubuntu Cloud Image Builder
)
KEYRING: Final = Path("/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg")
HINT: Final = (
    "the key is also in the package ubuntu-keyring (Debian 13 and newer: sudo apt-get install ubuntu-keyring)\n"
    "or ubuntu-cloudimage-keyring (Ubuntu); --keyring FILE names a file with it, --keyserver another server;\n"
    "or build Debian: --base debian (`dibo doctor --base debian` tries whether this machine can)"
)


class UbuntuKeys:
    """Checks signatures of lists. Raises UsageError for a pin that is no fingerprint."""

    def __init__(self, settings: BaseSettings, workspace: Workspace, report: Report) -> None:
        named = settings.fingerprint
        self._fingerprints = (normal_fingerprint(named),) if named else FINGERPRINTS
        self._named = settings.keyring
        self._keyserver = Keyserver(
            address=settings.keyserver,
            directory=workspace.bases / "keys",
            offline=settings.offline,
            policy=settings.policy,
            report=report,
        )

    @staticmethod
    def are_kept(settings: BaseSettings, cache: Path) -> bool:
        """Whether a build needs no keyserver. Makes nothing in the `cache`."""
        if settings.keyring is not None or KEYRING.is_file():
            return True
        names = (normal_fingerprint(settings.fingerprint),) if settings.fingerprint else FINGERPRINTS
        return all((cache / "bases" / "keys" / f"{name}.gpg").is_file() for name in names)

    def fetch(self) -> None:
        """Have all keys. Raises BaseError where one is not available."""
        try:
            for fingerprint in self._fingerprints:
                self._keyserver.keyring(fingerprint)
        except BaseError as error:
            error.hint = f"{error.hint}\n{HINT}".strip()
            raise

    def verify(self, text: bytes, signature: bytes, *, description: str) -> None:
        """Return when one of the keys made `signature` for `text`. Raises VerificationFailed, ToolMissing, and
        BaseError where no key is available."""

        def check(keyring: Path) -> None:
            pins = self._fingerprints
            verify(text, signature, keyring=keyring, fingerprints=pins, description=description)

        try:
            self._try_each(check)
        except BaseError as error:
            error.hint = f"{error.hint}\n{HINT}".strip()
            raise

    def _try_each(self, check: Callable[[Path], None]) -> None:
        problem: VerificationFailed | None = None
        for keyring in self._keyrings():
            try:
                try:
                    return check(keyring())
                except ExpiredKey as error:
                    return check(self._renewed(keyring(), error))
            except UnknownSigner as error:
                problem = error
            except BaseError as error:
                if problem is None or isinstance(error, VerificationFailed):
                    raise
                break  # the key that might have been it is not available: what is known of the signature says more
        assert problem is not None
        raise problem

    def _keyrings(self) -> Iterator[Callable[[], Path]]:
        """Where the key may be, each to be asked for in turn."""
        if self._named is not None:
            yield self._named_file
            return
        if KEYRING.is_file():
            yield lambda: KEYRING
        for fingerprint in self._fingerprints:
            yield partial(self._keyserver.keyring, fingerprint)

    def _named_file(self) -> Path:
        assert self._named is not None
        if not self._named.is_file():
            raise BaseError(f"no keyring to check Ubuntu's signatures with: {self._named} is missing")
        return self._named

    def _renewed(self, keyring: Path, error: ExpiredKey) -> Path:
        """The same key from the keyserver once more: its owner may have prolonged it."""
        if keyring.stem not in self._fingerprints:
            raise error
        try:
            return self._keyserver.renewed(keyring.stem)
        except BaseError:
            raise error from None
