"""The five programs, and where errors become exit codes.

Nothing slow is imported here: the parsers come when a program runs, what carries a command out when it is called.
"""

# PYTHON_ARGCOMPLETE_OK
from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence


def dibo(argv: Sequence[str] | None = None) -> int:
    """The program `dibo`."""
    return _main("dibo", argv)


def disk_image_create(argv: Sequence[str] | None = None) -> int:
    """The program `disk-image-create`."""
    return _main("disk-image-create", argv)


def ramdisk_image_create(argv: Sequence[str] | None = None) -> int:
    """The program `ramdisk-image-create`."""
    return _main("ramdisk-image-create", argv)


def disk_image_get_kernel(argv: Sequence[str] | None = None) -> int:
    """The program `disk-image-get-kernel`."""
    return _main("disk-image-get-kernel", argv)


def diskimage_builder(argv: Sequence[str] | None = None) -> int:
    """The program `diskimage-builder`."""
    return _main("diskimage-builder", argv)


def _main(program: str, argv: Sequence[str] | None) -> int:
    try:
        _open_standard_streams()
        from dibo.cli.run import run

        return run(program, argv)
    except KeyboardInterrupt:  # before, or after, signals are handled
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        from dibo.cli.run import interrupted_early

        return interrupted_early(sys.argv[1:] if argv is None else argv)


def _open_standard_streams() -> None:
    """Have something behind the descriptors 0, 1 and 2: where one is closed (`2>&-`), the next file that is opened
    would get its number, and whatever is printed would go there. Paths that are not UTF-8 are printed as they are."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 (it stays open)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="surrogateescape")


if __name__ == "__main__":
    sys.exit(dibo())
