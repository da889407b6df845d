"""Every error of dibo, each with its own exit code.

A message says what failed, what was expected and what was found; the hint says what to do. Exit codes are part of the
interface: docs/reference/exit-codes.md lists them, and a test compares that page with this module.
Codes 1 and 2 are left to Python and argparse, 126 and above to the shell.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence


class DiboError(Exception):
    """An error that dibo can explain. `hint` says what to do, in one or more lines, or is empty."""

    exit_code = 3
    meaning = "dibo failed for a reason without an exit code of its own"
    blob = ""
    """The digest of the blob that could not be read, if that is the cause."""
    details: tuple[str, ...] = ()
    """Single findings, such as the files that differ, where there are several."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DiboError):
    exit_code = 2
    meaning = "the command line or an environment variable is invalid"


class FlavourError(DiboError):
    exit_code = 10
    meaning = "a flavour is malformed"


class UnknownFlavour(DiboError):
    exit_code = 11
    meaning = "a requested or required flavour is not on the search path"


class StackError(DiboError):
    exit_code = 12
    meaning = "the flavours are incompatible: circular dependency, conflict, or architecture"


class ProjectError(DiboError):
    exit_code = 13
    meaning = "the project file is missing or invalid, or has no such image"


class ElementError(DiboError):
    exit_code = 14
    meaning = "an element of diskimage-builder does not run unchanged"


class HookFailed(DiboError):
    exit_code = 20
    meaning = "a hook failed, or printed invalid output"


class BaseError(DiboError):
    exit_code = 30
    meaning = "the base root file system is not available or is invalid"
    status = 0
    """The HTTP status if a response caused the error, else 0."""


class VerificationFailed(BaseError):
    exit_code = 31
    meaning = "a digest or a signature does not match"


class SignatureError(VerificationFailed):
    exit_code = 62
    meaning = "an image in a registry has no signature by a key trusted for it"


class Unreachable(BaseError):
    exit_code = 32
    meaning = "a registry or another server does not respond"


class ImageError(BaseError):
    exit_code = 33
    meaning = "a container image cannot be read or is invalid"


class LayerError(BaseError):
    exit_code = 34
    meaning = "a layer is a malformed archive or exceeds a limit"


class EngineError(DiboError):
    exit_code = 40
    meaning = "the container engine failed or does not work on this machine"


class ToolMissing(DiboError):
    exit_code = 41
    meaning = "a required program is missing or too old"


class LayoutError(DiboError):
    exit_code = 50
    meaning = "the disk layout is invalid or does not fit the image size"


class ImageTooSmall(LayoutError):
    exit_code = 51
    meaning = "the root file system does not fit the image"

    def __init__(self, message: str, *, hint: str = "", enough: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.enough = enough
        """Bytes of an image that would be large enough; 0 if unknown."""


class RootNotBootable(LayoutError):
    exit_code = 54
    meaning = "the disk should boot, but the root has no kernel, boot loader or boot files"

    def __init__(
        self, message: str, *, hint: str = "", preparable: bool = False, lacks_kernel: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.preparable = preparable
        """Whether only the boot files are missing."""
        self.lacks_kernel = lacks_kernel
        """Whether a kit can bring what is missing."""
        self.of_type = ""
        """The type that alone needs it; empty for what a disk needs."""
        self.disk = ""
        """The path of a disk in the root, which is there only to hold it (containerDisk of KubeVirt)."""


class OutputError(DiboError):
    exit_code = 52
    meaning = "an artefact cannot be written"
    full = False
    """Whether the disk is full, and the message does not say which file system that is."""


class ConverterError(DiboError):
    exit_code = 53
    meaning = "a converter failed"


class RamdiskError(DiboError):
    exit_code = 55
    meaning = "a ramdisk cannot be made: the root lacks a file it needs, or its /init is invalid"


class DiskImageError(DiboError):
    exit_code = 56
    meaning = "a disk image cannot be read or does not contain the requested kernel"


class LoopError(DiboError):
    exit_code = 57
    meaning = "loop devices or mounts failed, or are not available on this machine or to this user"


class BootServerError(DiboError):
    exit_code = 58
    meaning = "the boot server cannot start: machines file, port, or files to serve"


class RegistryError(DiboError):
    exit_code = 60
    meaning = "a registry refused or failed a request"

    def __init__(self, message: str, *, hint: str = "", status: int = 0) -> None:
        """`status` is the HTTP status if a response caused the error, else 0."""
        super().__init__(message, hint=hint)
        self.status = status


class LocalLayers(DiboError):
    exit_code = 61
    meaning = "an image with local layers must not leave this machine"


class ManifestError(DiboError):
    exit_code = 64
    meaning = "the manifest is missing, invalid, or does not match the files present"


class Differs(DiboError):
    exit_code = 65
    meaning = "two images differ, or a rebuilt one, or a file does not match its manifest"


class SomeFailed(DiboError):
    """`details` has a line for each image."""

    exit_code = 66
    meaning = "some of several images could not be made, or failed their tests; the others were"

    @classmethod
    def of(
        cls,
        errors: Sequence[tuple[str, DiboError]],
        count: int,
        *,
        failed: int | None = None,
        failure: str = "could not be converted",
    ) -> SomeFailed:
        """For `errors`, each with the name of its image, of `count` images, of which `failed` are concerned. What
        several share is said once."""
        reasons: dict[tuple[str, str], list[str]] = {}
        for name, its in errors:
            reasons.setdefault((its.message, its.hint), []).append(name)
        lines = [
            line
            for (message, hint), names in reasons.items()
            for line in (
                *(f"{name}," for name in names[:-1]),
                f"{names[-1]}: {message}",
                *(f"  {line}" for line in hint.splitlines()),
            )
        ]
        number = len(errors) if failed is None else failed
        error = cls(f"{number} of {count} images {failure}", hint="\n".join(lines))
        error.details = tuple(f"{name}: {its.message}" for name, its in errors)
        return error


class CommandFailed(DiboError):
    """A process failed. dibo.system.process raises it; callers translate it into an error that names their task."""

    exit_code = 70
    meaning = "a command that dibo ran failed"

    def __init__(
        self, message: str, *, hint: str = "", returncode: int = -1, tail: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.returncode = returncode
        self.tail = tail


class MachineError(DiboError):
    exit_code = 80
    meaning = "a virtual machine cannot start: firmware, accelerator, port, or a disk image in use"


class MachineDied(MachineError):
    exit_code = 81
    meaning = "a virtual machine ended, or its kernel died, before all steps were done"


class MachineTimeout(MachineError):
    exit_code = 82
    meaning = "a virtual machine did not do in time what a step expects"


class Defect(DiboError):
    """An unexpected exception, reported where a program ends."""

    exit_code = 71
    meaning = "a defect in dibo: please report it"


class Interrupted(BaseException):
    """A signal asked dibo to stop. Not an Exception, so that no handler of errors swallows it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    def __str__(self) -> str:
        return f"interrupted by {signal.Signals(self.signum).name}"
