"""The path in a reference, and the tag, name or digest that follows it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from dibo.errors import UsageError
from dibo.images.sources.table import POSSIBLE, ImageRequest
from dibo.system.resources import expanded


def split_path(request: ImageRequest, *, is_image: Callable[[Path], bool]) -> tuple[Path, str]:
    """A path, and a tag, `@…`, or nothing. Paths may contain colons: the shortest one that `is_image` accepts counts;
    if none does, the path ends at the first colon or digest. Raises UsageError."""
    text = request.name
    ends = [at for at, letter in enumerate(text) if letter in ":@"]
    for end in (*ends, len(text)):
        with contextlib.suppress(OSError, ValueError, UsageError):
            if end and is_image(expanded(text[:end])):
                return _path(text[:end], request.reference), text[end:].removeprefix(":")
    end = next((at for at in ends if text[at] == ":" or text[at : at + 5] == "@sha2"), len(text))
    return _path(text[:end], request.reference), text[end:].removeprefix(":")


def whole_path(request: ImageRequest) -> Path:
    """All that follows the prefix, as a path. Raises UsageError."""
    return _path(request.name, request.reference)


def _path(text: str, reference: str) -> Path:
    if not text or "\0" in text:
        raise UsageError(f"{reference!r} names no file or directory", hint=POSSIBLE)
    return expanded(text)
