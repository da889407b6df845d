"""A kernel and its ramdisk out of a disk image, to boot machines with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dibo.api.documents import CommandAnswer, new_document
from dibo.errors import DiskImageError, OutputError, UsageError
from dibo.formats.filesystem import FileSystem
from dibo.inspect.cmdline import cmdline
from dibo.inspect.kernels import File, Kernel, choose, kernels
from dibo.inspect.open_image import opened
from dibo.inspect.volumes import FOREIGN, Volume, volumes
from dibo.settings.settings import Settings
from dibo.system.report import Report
from dibo.system.workspace import Run, Workspace
from dibo.units import human_size


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRequest:
    """The options of `dibo get-kernel`."""

    image: Path
    directory: Path | None
    prefix: str
    version: str | None
    with_cmdline: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenKernel:
    """What was written, and the command line where one was asked for."""

    kernel: Path
    ramdisk: Path
    cmdline: str | None

    def answer(self) -> CommandAnswer:
        files = f"{self.kernel},{self.ramdisk}"
        return CommandAnswer(
            text=files if self.cmdline is None else f"{self.cmdline}\n{files}",
            document=new_document(
                "kernel", kernel=str(self.kernel), ramdisk=str(self.ramdisk), cmdline=self.cmdline
            ),
        )


def list_kernels(settings: Settings, report: Report, image: Path) -> CommandAnswer:
    """The kernels, the newest first; a line for each."""
    with (
        Workspace(settings.cache).run() as run,
        _looked_into(image, run=run, report=report) as (present, _),
    ):
        newest_first = present[::-1]
    listed = [
        {
            "version": kernel.version,
            "volume": kernel.volume.name,
            "filesystem": kernel.volume.kind,
            "kernel": str(kernel.kernel.path),
            "ramdisks": [str(file.path) for file in kernel.ramdisks],
        }
        for kernel in newest_first
    ]
    return CommandAnswer(
        text="\n".join(map(_line, newest_first)), document=new_document("kernels", kernels=listed)
    )


def get_kernel(settings: Settings, report: Report, request: KernelRequest) -> TakenKernel:
    """Write the kernel and its ramdisk to files."""
    outputs = _outputs(request)
    with (
        Workspace(settings.cache).run() as run,
        _looked_into(request.image, run=run, report=report) as (present, disk_volumes),
    ):
        kernel = choose(present, request.version)
        if request.version is None and kernel is not present[-1]:
            report.warn(f"kernel {present[-1].version} is newer, but has no ramdisk")
        if kernel.volume.needs_recovery:
            report.warn(
                f"{kernel.volume.name} was not unmounted; what its journal alone has is not seen: "
                "the kernel may be older than the machine's, or incomplete"
            )
        if kernel.missing and request.with_cmdline:
            names = ", ".join(f"${name}" for name in kernel.missing)
            report.warn(
                f"the boot loader gives the kernel {names} as well, which nothing in the image defines"
            )
        words = cmdline(kernel, disk_volumes) if request.with_cmdline else None
        _write(kernel, outputs, run=run)
    report.say(f"kernel {kernel.version} of {kernel.volume.name} ({kernel.volume.kind})")
    return TakenKernel(kernel=outputs[0], ramdisk=outputs[1], cmdline=words)


def one_image(*names: str | None) -> Path:
    """The image that was named, in whichever way. Raises UsageError unless it is one."""
    named = [name for name in names if name is not None]
    if len(named) != 1:
        raise UsageError(
            "expected one disk image, as FILE or with -i FILE", hint="disk-image-get-kernel web.qcow2"
        )
    return Path(named[0])


def _outputs(request: KernelRequest) -> tuple[Path, Path]:
    if not request.prefix:
        raise UsageError("the prefix is empty", hint="leave out -o for `baremetal`")
    directory = request.directory or Path()
    if not directory.is_dir():
        raise OutputError(f"there is no directory {directory}", hint="name one that exists with -d")
    return directory / f"{request.prefix}-vmlinuz", directory / f"{request.prefix}-initrd"


@contextmanager
def _looked_into(
    image: Path, *, run: Run, report: Report
) -> Iterator[tuple[tuple[Kernel, ...], tuple[Volume, ...]]]:
    """The kernels, at least one, and the volumes; files can be read as long as the context lasts."""
    with opened(image, run=run, report=report) as (disk, file, kind):
        disk_volumes = volumes(disk)
        present = kernels(disk_volumes)
        if not present and any(volume.kind in FOREIGN for volume in disk_volumes):
            from dibo.inspect import guestfish

            disk_volumes = guestfish.copied(disk_volumes, file, kind, run=run, report=report)
            present = kernels(disk_volumes)
        if not present:
            raise DiskImageError(
                f"{image} has no kernel: no vmlinuz-VERSION in /boot, nor at the top of a volume,"
                " and no unified kernel image",
                hint="it has " + "; ".join(map(str, disk_volumes)),
            )
        yield present, disk_volumes


def _line(kernel: Kernel) -> str:
    files = (kernel.kernel, *kernel.ramdisks) if kernel.ramdisks else (kernel.kernel,)
    named = "  ".join(f"{file.path} ({human_size(file.entry.size)})" for file in files)
    lacking = "" if kernel.ramdisks else "  no ramdisk"
    return f"{kernel.version}  {kernel.volume.name}, {kernel.volume.kind}: {named}{lacking}"


def _write(kernel: Kernel, outputs: tuple[Path, Path], *, run: Run) -> None:
    """Both or none: each is whole before either gets its name."""
    with ExitStack() as stack:
        for path, files in zip(outputs, ((kernel.kernel,), kernel.ramdisks), strict=True):
            part = stack.enter_context(run.output(path))
            _copy(kernel.system, files, part)


def _copy(system: FileSystem, files: tuple[File, ...], path: Path) -> None:
    with path.open("wb") as target:
        for file in files:
            for piece in system.content(file.entry):
                target.write(piece)
    path.chmod(path.stat().st_mode | 0o444)
