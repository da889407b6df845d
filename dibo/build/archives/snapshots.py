"""Where archives keep what they once had: addresses of snapshots, as the signed state of an archive names them.

`Snapshots` of a Release file is an address with @SNAPSHOTID@ in it, which stands for a moment. Debian's archives have
such a service and do not name it. A day is added to the date of the state: a snapshot is taken after what it shows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from dibo.build.archives.archive import PackageArchive
from dibo.errors import BaseError
from dibo.system import http
from dibo.system.retry import RetryPolicy

_FIELD: Final = re.compile(r"^(Date|Snapshots): *(.+)$", re.MULTILINE)
_OF_DEBIAN: Final = re.compile(
    r"https?://(?:[a-z.]+\.)?(?:deb|security|ftp)\.(?:[a-z]+\.)?debian\.org/(debian|debian-security)/?"
)
_ADDRESS: Final = "https://snapshot.debian.org/archive/{}/@SNAPSHOTID@"
_MARK: Final = "@SNAPSHOTID@"


def snapshot_addresses(archives: Sequence[PackageArchive], policy: RetryPolicy) -> tuple[str, ...]:
    """Where files of the archives stay, as far as there are snapshots. Raises Unreachable, BaseError."""
    addresses = []
    for archive in archives:
        answer = http.get(archive.release_address, policy=policy)
        assert answer is not None
        address = snapshot_address(archive, answer.body.decode("utf-8", "replace"))
        if address is not None:
            addresses.append(address)
    return tuple(dict.fromkeys(addresses))


def snapshot_address(archive: PackageArchive, release: str) -> str | None:
    """That of one archive, by its Release file. None where it has no snapshots. Raises BaseError for no date."""
    fields = {match[1]: match[2].strip() for match in _FIELD.finditer(release)}
    template = fields.get("Snapshots")
    if template is None and (match := _OF_DEBIAN.fullmatch(archive.address)):
        template = _ADDRESS.format(match[1])
    if template is None or _MARK not in template or not template.startswith(("http://", "https://")):
        return None
    try:
        date: datetime = parsedate_to_datetime(fields["Date"]) + timedelta(days=1)
    except (KeyError, ValueError, TypeError) as error:
        raise BaseError(f"{archive.release_address} has no date") from error
    return template.replace(_MARK, f"{date:%Y%m%dT%H%M%SZ}").rstrip("/")
