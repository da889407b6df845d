"""The name by which buildah takes an image from a directory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from dibo.system.workspace import Run


@contextlib.contextmanager
def named_by_buildah(reference: str, run: Run, forget: Callable[[str], None]) -> Iterator[str]:
    """buildah calls what it takes from a directory by the path, and refuses paths that cannot be names of images, with
    capitals or hidden directories. So it gets another path, and the name goes again."""
    transport, _, path = reference.partition(":")
    if transport != "oci":
        yield reference
        return
    directory, _, tag = path.partition(":")
    with run.scratch() as scratch:
        (scratch / "image").symlink_to(directory)
        place = f"{scratch / 'image'}:{tag}" if tag else str(scratch / "image")
        yield f"oci:{place}"
        forget(f"localhost{place}")
