"""What image formats say about a disk besides its bytes. It derives from the image, never from chance or a clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageIdentity:
    """`time` in seconds since 1970."""

    uuid: UUID
    time: int


NO_IDENTITY: Final = ImageIdentity(uuid=UUID(int=1), time=0)
"""Where no identity is given."""
