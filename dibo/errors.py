"""Every way dibo can fail, each with its own exit code.

A message says what failed and what was wanted; the hint says what to do next. Exit codes are part of the
interface: docs/reference/exit-codes.md lists them, and a test compares that page with this module.
Codes 1 and 2 are left to Python and argparse, 126 and above to the shell.
"""

from __future__ import annotations


class DiboError(Exception):
    """Something dibo can explain. `hint` is what to do next, one or more lines, or empty."""

    exit_code = 3
    meaning = "dibo failed in a way that has no code of its own"
    blob = ""
    """The digest of the blob whose reading failed, where it was that."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DiboError):
    exit_code = 2
    meaning = "the command line or a variable makes no sense"


class FlavourError(DiboError):
    exit_code = 10
    meaning = "a flavour is not well formed"


class UnknownFlavour(DiboError):
    exit_code = 11
    meaning = "a flavour that was asked for or needed is nowhere on the search path"


class StackError(DiboError):
    exit_code = 12
    meaning = "the flavours do not go together: a circle of needs, a clash, an architecture"


class HookFailed(DiboError):
    exit_code = 20
    meaning = "a hook ran and failed, or printed what dibo cannot use"


class BaseError(DiboError):
    exit_code = 30
    meaning = "the base root file system could not be had, or is not what it claims to be"


class VerificationFailed(BaseError):
    exit_code = 31
    meaning = "a digest or a signature does not match"


class SignatureError(VerificationFailed):
    exit_code = 62
    meaning = "an image in a registry is not signed, or by no key that is trusted for it"


class Unreachable(BaseError):
    exit_code = 32
    meaning = "a server that bases come from does not answer"


class ImageError(BaseError):
    exit_code = 33
    meaning = "a container image cannot be read, or is not what it claims to be"


class LayerError(BaseError):
    exit_code = 34
    meaning = "a layer is no well-formed archive, or goes beyond the limits"


class EngineError(DiboError):
    exit_code = 40
    meaning = "the container engine failed, or cannot work on this machine"


class ToolMissing(DiboError):
    exit_code = 41
    meaning = "a program that is needed is missing or too old"


class LayoutError(DiboError):
    exit_code = 50
    meaning = "the disk layout makes no sense, or does not fit the image size"


class ImageTooSmall(LayoutError):
    exit_code = 51
    meaning = "the root file system does not fit the image"

    def __init__(self, message: str, *, hint: str = "", enough: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.enough = enough
        """Bytes of an image that it does fit; 0 where nobody knows."""


class RootNotBootable(LayoutError):
    exit_code = 54
    meaning = "the disk is to boot, and the root has no kernel, no boot loader, or no boot files"

    def __init__(self, message: str, *, hint: str = "", preparable: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.preparable = preparable
        """Whether the boot files alone are missing."""


class OutputError(DiboError):
    exit_code = 52
    meaning = "the artefact could not be written"


class ConverterError(DiboError):
    exit_code = 53
    meaning = "a converter failed"


class RamdiskError(DiboError):
    exit_code = 55
    meaning = "a ramdisk cannot be made: something it needs is not in the root, or its init is wrong"


class DiskImageError(DiboError):
    exit_code = 56
    meaning = "a disk image cannot be read, or holds no kernel of the kind that was asked for"


class LoopError(DiboError):
    exit_code = 57
    meaning = "loop devices or mounts are needed, and this machine or this user has them not, or they failed"


class BootServerError(DiboError):
    exit_code = 58
    meaning = "the boot server cannot start: its machines file, its port or what it is to serve"


class RegistryError(DiboError):
    exit_code = 60
    meaning = "a registry did not give or take what was wanted"

    def __init__(self, message: str, *, hint: str = "", status: int = 0) -> None:
        """`status` is that of HTTP where an answer was the reason, else 0."""
        super().__init__(message, hint=hint)
        self.status = status


class LocalLayers(DiboError):
    exit_code = 61
    meaning = "an image with local layers was about to leave this machine"


class ManifestError(DiboError):
    exit_code = 64
    meaning = "there is no manifest of the image, it is none, or what it names is not what is here"


class Differs(DiboError):
    exit_code = 65
    meaning = "what was built again is not the same, or a file is not what its manifest says"


class CommandFailed(DiboError):
    """A process ended badly. Doors raise it; whoever knows what the process was for gives it a better name."""

    exit_code = 70
    meaning = "a command that dibo ran failed"

    def __init__(
        self, message: str, *, hint: str = "", returncode: int = -1, tail: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.returncode = returncode
        self.tail = tail


class Defect(DiboError):
    """An exception that nobody expected: the last resort, where a program ends."""

    exit_code = 71
    meaning = "a defect of dibo: please report it"


class Interrupted(BaseException):
    """A signal asked dibo to stop. Not an Exception, so that no handler of errors swallows it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
