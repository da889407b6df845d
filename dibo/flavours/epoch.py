"""The moment that an epoch names.

It is the latest time that anything in a layer of that epoch has, and SOURCE_DATE_EPOCH while its step runs
(https://reproducible-builds.org/specs/source-date-epoch/). An epoch that is no date, `build-7` say, names no moment.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_FORMS: Final = ("%Y-%m-%d", "%Y%m%d", "%Y-%m", "%Y-%m-%dT%H:%M:%SZ", "%Y%m%dT%H%M%SZ")


def start_of(epoch: str) -> int | None:
    """In seconds since 1970, UTC: of 2026-11, 2026-11-01, 20261101, 2026-11-01T12:00:00Z, 20261101T120000Z. Or None."""
    for form in _FORMS:
        try:
            moment = datetime.strptime(epoch, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        if moment.strftime(form) == epoch:  # 202611 is not the first of January
            return int(moment.timestamp())
    return None
