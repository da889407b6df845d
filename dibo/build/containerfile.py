"""A plan as a Containerfile that stock `buildah build` turns into the same tree, and flavours as text for people."""

from __future__ import annotations

import shlex
import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dibo.build import context
from dibo.build.build import Job
from dibo.build.engines.base_layer import prepared
from dibo.build.engines.image_names import LAYERS
from dibo.errors import OutputError, UsageError
from dibo.flavours.loader import CatalogueEntry
from dibo.flavours.model import Flavour
from dibo.images.sources.containers_storage import as_typed
from dibo.plan.base import ContainerBuild, OciImage, SquashFs, TarCommand, TarFile
from dibo.system import process, resources
from dibo.system.report import Report
from dibo.system.workspace import Run

_WITHOUT_NETWORK: Final = (
    " (dibo runs it without network; buildah build --network none does so with all steps)"
)


def write(job: Job, held: Mapping[str, float], *, target: Path, run: Run, report: Report) -> None:
    """Write `target`/Containerfile and beside it what it copies. Raises OutputError, BaseError.

    The base is taken from the store when it is there; else it is fetched or built into a tar in `target`.
    """
    outside = next((planned.step for planned in job.plan.steps if planned.step.is_outside), None)
    if outside is not None:
        raise UsageError(
            f"no Containerfile can say the step {outside.title!r}, which runs outside of the image",
            hint="dibo plan without --containerfile shows the layers",
        )
    try:
        target.mkdir(parents=True)
    except FileExistsError:
        raise OutputError(f"{target} exists already", hint="name a directory that does not exist") from None
    except OSError as error:
        raise OutputError(f"cannot make {target}: {error.strerror}") from error
    template = (resources.shared("containerfiles") / "step.containerfile").read_text()
    parts = [_base(job, held, target=target, run=run, report=report)]
    for number, planned in enumerate(job.plan.steps, start=1):
        name = f"step-{number:02}"
        (target / name).mkdir()
        job.stage(planned.step, target / name)
        parts.append(
            template.format(
                title=planned.step.title,
                key=planned.key,
                source=name,
                target=context.mount_point(planned.step),
                network="" if planned.step.network else _WITHOUT_NETWORK,
                secrets="".join(f"--mount=type=secret,id={s.name},mode=0400 " for s in planned.step.secrets),
                command=" ".join(context.command(planned.step)),
            )
        )
    parts.append((resources.shared("containerfiles") / "end.containerfile").read_text())
    (target / "Containerfile").write_text("\n".join(parts))
    command = as_typed(f"buildah build --layers {shlex.quote(str(target))}")
    report.say(f"wrote {target}/Containerfile; build it with: {command}")


def _base(job: Job, held: Mapping[str, float], *, target: Path, run: Run, report: Report) -> str:
    comment = f"# base {job.plan.base_name}\n"
    if job.plan.base_key in held:
        return f"{comment}FROM {LAYERS}:k-{job.plan.base_key}\n"
    template = (resources.shared("containerfiles") / "base-tar.containerfile").read_text()
    source = job.base.source()
    match source:
        case OciImage(reference=reference):
            return f"{comment}FROM {reference.removeprefix('docker://')}\n"
        case TarFile(path=path):
            shutil.copyfile(path, target / path.name)
            return comment + template.format(tar=path.name)
        case TarCommand():
            with (target / "base.tar").open("wb") as tar, run.scratch() as scratch:
                process.run(
                    source.argv,
                    env={**process.proxies(), **prepared(source, scratch)},
                    streams=process.Streams(stdout=tar, on_output=report.line),
                )
            return comment + template.format(tar="base.tar")
        case SquashFs() | ContainerBuild():
            kind = "a squashfs image" if isinstance(source, SquashFs) else "built from another Containerfile"
            raise OutputError(
                f"the base {job.plan.base_name} is {kind}, which no Containerfile can add",
                hint="build it once with `dibo build`; the Containerfile then begins with the layer in the store",
            )


def describe_flavour(flavour: Flavour, entry: CatalogueEntry) -> str:
    """A flavour in full."""
    lines = [
        f"{flavour.name}: {flavour.summary}" if flavour.summary else flavour.name,
        f"  from      {entry.path}",
    ]
    lines += [f"  shadows   {path}" for path in entry.shadows]
    for title, values in (
        ("needs", flavour.needs),
        ("clashes", flavour.clashes),
        ("for", flavour.architectures),
    ):
        lines += [f"  {title:9} {', '.join(values)}"] if values else []
    for distribution, words in flavour.packages:
        lines += textwrap.wrap(
            f"{distribution}: {' '.join(words)}",
            100,
            initial_indent="  packages  ",
            subsequent_indent=" " * 14,
        )
    lines += [f"  variable  {name}={value}" for name, value in flavour.environment]
    for file in flavour.fetch:
        architectures = f", for {', '.join(file.architectures)}" if file.architectures else ""
        lines.append(f"  fetch     {file.name} from {file.urls[0]}{architectures}")
    if flavour.network is not None:
        lines.append(f"  network   {', '.join(flavour.network) or 'none'}")
    lines += [
        f"  secret    {secret.name}" + (", builds again when it changes" if secret.rebuild else "")
        for secret in flavour.secrets
    ]
    lines += ["  local     its layers hold data of this user or machine"] if flavour.local else []
    lines += [f"  hook      {hook.path}" for hook in flavour.hooks]
    lines += [f"  host      its hooks of {phase} run on this machine" for phase in flavour.host_phases]
    lines += [f"  data      {path}" for path in flavour.data]
    lines += [f"  ramdisk   {file.path}" for file in flavour.ramdisk]
    if flavour.disk is not None:
        lines.append(f"  disk      {', '.join(partition.name for partition in flavour.disk.partitions)}")
    return "\n".join(lines)
