"""The one way in which a kernel cannot be unpacked."""

from __future__ import annotations


class KernelImageError(Exception):
    """The message continues a sentence that begins with the kernel's path."""
