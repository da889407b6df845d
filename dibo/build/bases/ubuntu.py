"""The base `ubuntu`: a release's cloud root file system, as Ubuntu publishes it.

    $CLOUD_IMAGES/$RELEASE/current/SHA256SUMS        sha256 and name of each file
    $CLOUD_IMAGES/$RELEASE/current/SHA256SUMS.gpg    its detached signature
    $CLOUD_IMAGES/$RELEASE/current/$RELEASE-server-cloudimg-$ARCH-root.tar.xz

Which of the three forms a release has changed over the years (newer ones have `-root.tar.xz` and
`.squashfs`), so the list decides. Trust begins at the fingerprints in dibo/build/bases/ubuntu_keys.py; https is not
needed for it.
"""

from __future__ import annotations

import re
from typing import Final

from dibo.build.bases import releases
from dibo.build.bases.root_base import RootBase
from dibo.build.bases.settings import BaseSettings
from dibo.build.bases.signedlist import SignedList
from dibo.build.bases.tarball import bring, kept_file, root_file
from dibo.build.bases.ubuntu_keys import UbuntuKeys
from dibo.errors import BaseError, Unreachable, UsageError
from dibo.plan.base import Ingredients, SquashFs, TarFile
from dibo.system.report import Report
from dibo.system.workspace import Workspace

FORMS: Final = ("-root.tar.xz", "-root.tar.gz", ".squashfs")  # the first that the list has

_LINE: Final = re.compile(r"([0-9a-f]{64}) [ *]([A-Za-z0-9][A-Za-z0-9._+-]*)")  # sha256sum(1)


class Ubuntu(RootBase):
    """A release of Ubuntu."""

    _is_signed = True

    def __init__(self, release: str, *, settings: BaseSettings, workspace: Workspace, report: Report) -> None:
        self._release = release_name(release)
        super().__init__(settings=settings, workspace=workspace, report=report)
        self._bases = workspace.bases
        self._keys = UbuntuKeys(settings, workspace, report)
        self._chosen: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        return f"ubuntu:{self._release}"

    @property
    def tools(self) -> tuple[str, ...]:
        return ("gpgv",)

    def ingredients(self) -> Ingredients:
        file, sha256 = self._choose()
        return (("kind", "ubuntu"), ("release", self._release), ("file", file), ("sha256", sha256))

    def source(self) -> TarFile | SquashFs:
        file, sha256 = self._choose()
        target = kept_file(self._bases, sha256, file)
        url = f"{self._location}/{file}"
        return root_file(bring(url, target, sha256, settings=self._settings, report=self._report))

    def _choose(self) -> tuple[str, str]:
        """Name and sha256 of the file, by the list of the first time that it was asked for."""
        if self._chosen is None:
            self._chosen = choose(
                self._current_list(),
                release=self._release,
                architecture=self.architecture,
                file_name=self._settings.base_image_file,
                location=self._location,
            )
        return self._chosen

    def _current_list(self) -> bytes:
        try:
            return self._list().current(offline=self._settings.offline)
        except Unreachable as error:
            if "--base debian" not in error.hint:
                error.hint = f"{error.hint}\nor build Debian: --base debian"
            raise

    @property
    def _location(self) -> str:
        return f"{self._settings.cloud_images.rstrip('/')}/{self._release}/current"

    def _list(self) -> SignedList:
        url = f"{self._location}/SHA256SUMS"

        def check(text: bytes, signature: bytes) -> None:
            self._keys.verify(text, signature, description=url)

        lists = self._bases / "lists"
        return SignedList(
            url=url, directory=lists, check=check, policy=self._settings.policy, report=self._report
        )


def choose(
    text: bytes, *, release: str, architecture: str, file_name: str | None, location: str
) -> tuple[str, str]:
    """Name and sha256 of the root in a SHA256SUMS: `file_name`, or the first of FORMS. Raises BaseError."""
    lines = text.decode(errors="replace").splitlines()
    files = {match[2]: match[1] for line in lines if (match := _LINE.fullmatch(line.rstrip()))}
    stem = f"{release}-server-cloudimg-{architecture}"
    names = [file_name] if file_name else [f"{stem}{form}" for form in FORMS]
    for name in names:
        if name in files:
            return name, files[name]
    roots = sorted(name for name in files if name.endswith(FORMS))
    raise BaseError(
        f"{location}/SHA256SUMS lists none of {', '.join(names)}",
        hint=f"it has {', '.join(roots)}"
        if roots
        else "it lists no root file system at all; check CLOUD_IMAGES",
    )


def release_name(text: str) -> str:
    """The code name of a release given by that or by its number. Raises UsageError."""
    name = releases.UBUNTU.get(text, text)
    if name in (*releases.DEBIAN.values(), *releases.DEBIAN_TOO_OLD):
        raise UsageError(f"{name} is a release of Debian, not of Ubuntu", hint=f"write --base debian:{name}")
    if re.fullmatch(r"[a-z]+", name) is None:
        known = ", ".join(f"{code} ({number})" for number, code in releases.UBUNTU.items())
        raise UsageError(
            f"{text!r} is no release of Ubuntu that dibo knows", hint=f"it knows {known}; others by name"
        )
    return name
