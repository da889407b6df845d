"""The functions of `dibo.api`: each turns its options into those of a command, and carries that out.

Nothing is printed, and nothing ends the process: answers are values, and failures are errors of `dibo.errors`, with a
hint and the exit code of the command. `progress` gets, line by line, what a command would print to standard error.

One call at a time in a process: what runs belongs to a run of its own, and children are reaped by their process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from io import StringIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from dibo.api.settings import current_settings
from dibo.api.values import (
    BuildOptions,
    BuildPlan,
    BuildResult,
    Conversion,
    ConversionResult,
    ConvertOptions,
    DiskOptions,
    MachineOptions,
    StrPath,
)
from dibo.errors import UsageError
from dibo.inspect.contents import DiskContents
from dibo.settings.option_types import check_options, check_type
from dibo.settings.settings import Options, Settings
from dibo.system.report import Report
from dibo.system.resources import processors
from dibo.units import parse_gib

if TYPE_CHECKING:
    from dibo.api.conversion import ConvertRequest
    from dibo.api.machines.boot import BootResult

Progress = Callable[[str], None]
"""Gets a line of progress or a warning, without the line break."""


def plan(
    flavours: Sequence[str], *, options: BuildOptions | None = None, progress: Progress | None = None
) -> BuildPlan:
    """The layers that a build of `flavours` would make, and which exist. Builds nothing; hooks on the host
    (`extra-data.d`) run, as they do for a build. Raises errors of `dibo.errors`."""
    from dibo.api.planning import make_build_plan

    options = _checked_build(flavours, options)
    return make_build_plan(_build_settings(flavours, options, {}), _report(progress))


def build(
    flavours: Sequence[str],
    output: StrPath | None = None,
    *,
    options: BuildOptions | None = None,
    disk: DiskOptions | None = None,
    progress: Progress | None = None,
) -> BuildResult:
    """Build the layers of `flavours` that do not exist. Without `output`, the result is a container image; with it,
    the artefacts OUTPUT.TYPE of `disk.types`, each whole or not there. Raises errors of `dibo.errors`."""
    options, report = _checked_build(flavours, options), _report(progress)
    if disk is not None:
        check_options("disk", disk, DiskOptions)
    if output is None:
        return _build_image(_build_settings(flavours, options, {}), options, disk, report)
    if options.tag is not None or options.push is not None:
        raise UsageError(
            "artefacts have no tag and are not pushed as images", hint="leave out output, or build twice"
        )
    from dibo.api.create import planned_disk

    check_type("output", output, StrPath)
    disk = disk or DiskOptions()
    settings = _build_settings(flavours, options, _disk_options(output, disk))
    with planned_disk(settings, report, layout_file=_path(disk.layout)) as planned:
        return BuildResult(key=planned.job.plan.image_key, artefacts=planned.make())


def convert(
    image: str,
    output: StrPath,
    *,
    options: ConvertOptions | None = None,
    disk: DiskOptions | None = None,
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Make the artefacts OUTPUT.TYPE of a container image, with no privileges; their paths. `image` is a reference,
    as of `dibo convert`: `registry.example/web:1`, `oci:DIRECTORY:TAG`. Raises errors of `dibo.errors`."""
    from dibo.api.conversion import convert as convert_image

    given = Conversion(
        image=image,
        output=output,
        options=ConvertOptions() if options is None else options,
        disk=DiskOptions() if disk is None else disk,
    )
    return convert_image(*_conversion(given), _report(progress))


def convert_many(
    conversions: Sequence[Conversion], *, jobs: int | None = None, progress: Progress | None = None
) -> tuple[ConversionResult, ...]:
    """Convert several images, `jobs` at a time (as many as this process has processors), each as `convert` does; a
    layer that several of them have is read once. The results in the same order: one that fails stops no other. Raises
    UsageError where two would write the same file, or an option is invalid."""
    from dibo.api.conversions.many import convert_all
    from dibo.api.conversions.messages import ImageConversion

    if not conversions or not all(isinstance(conversion, Conversion) for conversion in conversions):
        raise UsageError(f"expected a sequence of Conversion, got {conversions!r}")
    check_type("jobs", jobs, int | None)
    if jobs is not None and jobs < 1:
        raise UsageError(f"jobs: expected a number from 1 on, got {jobs!r}")
    pairs = [_conversion(conversion) for conversion in conversions]
    outcomes = convert_all(
        [ImageConversion(settings=settings, request=request) for settings, request in pairs],
        _report(progress),
        workers=jobs or processors(),
    )
    return tuple(
        ConversionResult(
            conversion=conversion,
            artefacts=outcome.artefacts,
            error=outcome.error,
            seconds=outcome.seconds,
        )
        for conversion, outcome in zip(conversions, outcomes, strict=True)
    )


def _conversion(conversion: Conversion) -> tuple[Settings, ConvertRequest]:
    """Raises UsageError."""
    from dibo.api.conversion import ConvertRequest, limits

    options, disk = conversion.options, conversion.disk
    check_type("image", conversion.image, str)
    check_type("output", conversion.output, StrPath)
    check_options("options", options, ConvertOptions)
    check_options("disk", disk, DiskOptions)
    settings = _settings(
        {
            **_disk_options(conversion.output, disk),
            "architecture": options.architecture,
            "engine": options.engine,
            "cache_dir": _text(options.cache_dir),
            "verify_keys": _texts(options.verify_keys),
            "policy": _text(options.policy),
        },
        options.environment,
    )
    return settings, ConvertRequest(
        reference=conversion.image,
        layout_file=_path(disk.layout),
        bare=options.bare,
        prepare=options.prepare,
        checksums=options.checksums,
        loader=options.boot,
        limits=limits(
            entries=options.max_entries,
            size=None if options.max_size is None else parse_gib(f"{options.max_size:g}", name="max_size"),
            ratio=options.max_ratio,
        ),
    )


def inspect(
    image: StrPath, *, cache_dir: StrPath | None = None, progress: Progress | None = None
) -> DiskContents:
    """What a disk image holds: partitions, kernels, the operating system and its packages. Nothing is mounted, and no
    program runs, but qemu-img for formats other than raw and qcow2. Raises DiskImageError, ToolMissing."""
    from dibo.inspect.contents import contents_of
    from dibo.inspect.open_image import opened
    from dibo.inspect.volumes import volumes
    from dibo.system.workspace import Workspace

    check_type("image", image, StrPath)
    check_type("cache_dir", cache_dir, StrPath | None)
    settings = _settings({"cache_dir": _text(cache_dir)}, {})
    with (
        Workspace(settings.cache).run() as run,
        opened(Path(image), run=run, report=_report(progress)) as (source, _, image_format),
    ):
        return contents_of(volumes(source), image_format=image_format, size=source.size)


def boot(
    image: StrPath | None,
    *,
    steps: Sequence[Mapping[str, str]] = (),
    options: MachineOptions | None = None,
    progress: Progress | None = None,
) -> BootResult:
    """Boot an image in QEMU, carry out the steps, and end the machine. Each step is a mapping of one key: `expect`,
    `type`, `run`, `wait` or `screenshot`; without any, until the machine ends by itself. A command that fails is no
    error: it is the last step, with its code. `image` may be None if the options name a kernel. Raises MachineError,
    MachineDied, MachineTimeout, and what `convert` and `inspect` raise."""
    from dibo.api.machines.boot import BootOutputs
    from dibo.api.machines.boot import boot as boot_machine
    from dibo.api.machines.request import request_of

    check_type("image", image, StrPath | None)
    if isinstance(steps, str | Mapping) or not isinstance(steps, Sequence):
        raise UsageError(f"steps: expected a sequence of mappings, got {steps!r}")
    options = MachineOptions() if options is None else options
    check_options("options", options, MachineOptions)
    settings = _settings(
        {"architecture": options.architecture, "cache_dir": _text(options.cache_dir)}, options.environment
    )
    request = request_of(_text(image) if isinstance(image, PathLike) else image, steps, options)
    return boot_machine(settings, request, _report(progress), BootOutputs())


def _build_image(
    settings: Settings, options: BuildOptions, disk: DiskOptions | None, report: Report
) -> BuildResult:
    from dibo.api.image import build_image, push_built

    if disk is not None:
        raise UsageError("the options of a disk work only with an output")
    if options.push is None:
        if options.include_local:
            raise UsageError("include_local works only with push")
        return build_image(settings, report, tag=options.tag)
    return push_built(
        settings, report, tag=options.tag, push=options.push, include_local=options.include_local
    )


def _checked_build(flavours: Sequence[str], options: BuildOptions | None) -> BuildOptions:
    """Raises UsageError."""
    if isinstance(flavours, str) or not flavours:
        raise UsageError(f"expected names of flavours, got {flavours!r}", hint='such as ["vm", "web-server"]')
    options = BuildOptions() if options is None else options
    check_type("flavours", flavours, Sequence[str])
    check_options("options", options, BuildOptions)
    return options


def _build_settings(flavours: Sequence[str], options: BuildOptions, more: Mapping[str, object]) -> Settings:
    return _settings(
        {
            "flavours": tuple(flavours),
            "base": options.base,
            "release": options.release,
            "architecture": options.architecture,
            "with_base": options.with_base,
            "packages": options.packages,
            "flavours_path": _texts(options.flavours_path),
            "cache_dir": _text(options.cache_dir),
            "engine": options.engine,
            "isolation": options.isolation,
            "network": options.network,
            "host_hooks": options.host_hooks,
            "mirror": options.mirror,
            "epoch": options.epoch,
            "lock": _text(options.lock),
            "sha256": options.sha256,
            "keyring": _text(options.keyring),
            "keyserver": options.keyserver,
            "offline": options.offline,
            "refresh": options.refresh,
            "caches": options.cache,
            "caches_from": options.cache_from,
            "caches_to": options.cache_to,
            "cache_files": "1" if options.cache_files else None,
            "layer_compression": options.layer_compression,
            "sign_key": _text(options.sign_key),
            "verify_keys": _texts(options.verify_keys),
            "policy": _text(options.policy),
            "secrets": options.secrets,
            **more,
        },
        options.environment,
    )


def _disk_options(output: StrPath, disk: DiskOptions) -> dict[str, object]:
    return {
        "name": _text(output),
        "types": ",".join(disk.types),
        "image_size": None if disk.size is None else f"{disk.size:g}",
        "filesystem": disk.filesystem,
        "loop": disk.loop,
        "provenance": disk.provenance,
        "converters_path": _texts(disk.converters_path),
    }


def _settings(options: Mapping[str, object], environment: Mapping[str, str]) -> Settings:
    return current_settings(Options(**options), environment)  # type: ignore[arg-type]  # names and types as above


def _text(path: StrPath | None) -> str | None:
    return None if path is None else str(Path(path))


def _texts(paths: Iterable[StrPath]) -> tuple[str, ...]:
    return tuple(str(Path(path)) for path in paths)


def _path(path: StrPath | None) -> Path | None:
    return None if path is None else Path(path)


def _report(progress: Progress | None) -> Report:
    """Raises UsageError."""
    if progress is not None and not callable(progress):
        raise UsageError(f"progress: expected a function of a line, got {progress!r}")
    return Report(_Lines(progress or (lambda _: None)), environment={})


class _Lines(StringIO):
    """A stream that hands each line over when it is complete."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress, self._begun = progress, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._progress(line)
        return len(text)
