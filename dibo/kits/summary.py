"""What a kit and an image have in common, in a line: which kernel boots, and what it runs."""

from __future__ import annotations

from typing import Final

from dibo.images.layers.limits import Limits
from dibo.images.layers.load import LoadOptions, load
from dibo.kits.attach import Attachment
from dibo.tree.sinks import Nowhere

_KERNEL: Final = b"boot/vmlinuz-"


class _Seen(Exception):
    """The kernel came by; the rest of the layer does not count. Has its version."""


def kernel_of(attachment: Attachment, limits: Limits) -> str:
    """The version of the kit's kernel, by the name of its file; empty where it has none. The kit is read up to there.
    Raises what reading layers raises."""

    def keep(path: bytes) -> bool:
        if path.startswith(_KERNEL):
            raise _Seen(path.removeprefix(_KERNEL).decode(errors="replace"))
        return False

    try:
        load(attachment.kit.layers, Nowhere(), LoadOptions(limits=limits, keep=keep))
    except _Seen as seen:
        return str(seen)
    return ""


def summary(attachment: Attachment, limits: Limits) -> str:
    """Such as `Linux 6.12.48+deb13-cloud-amd64, runs /usr/sbin/nginx`."""
    kernel = kernel_of(attachment, limits)
    words = [f"Linux {kernel}" if kernel else "no kernel"]
    if program := attachment.program:
        words.append(f"runs {program}")
    return ", ".join(words)
