"""The program that carries out one task on a worker: brings the bundle, makes what the order says, and sends artefacts.

It is a process of its own, since a run owns the processes that it starts, and a worker of Dask is no run. It ends with
the worker that started it: when the other end of the pipe is closed, it stops as on SIGTERM, and cleans up.
"""

from __future__ import annotations

import getpass
import os
import platform
import select
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from dibo import __version__
from dibo.api.baking.run_task import run_task
from dibo.api.baking.spec import TaskKind, TaskOutcome, TaskSpec
from dibo.api.fleet import parcel
from dibo.api.fleet.bundle import BundledImage, WorkerPlaces, load_image
from dibo.api.fleet.orders import FactsOrder, FleetOrder, FleetOutcome, ParcelName, WorkerFacts
from dibo.api.workers.forward import ForwardSink
from dibo.api.workers.serve import Send, defect_of, serve
from dibo.build import foreign
from dibo.build.context import Runner
from dibo.build.engines import choose
from dibo.build.engines.sweeping import sweepers
from dibo.cache.entry import tag_of
from dibo.errors import DiboError, RegistryError
from dibo.images.reference import ImageName, parse_repository
from dibo.images.registry import api
from dibo.settings.settings import Settings
from dibo.system import process, resources
from dibo.system.exclusive import exclusive
from dibo.system.report import Report
from dibo.system.workspace import Run, Workspace

_BUNDLES: Final = "bundles"
_KEPT_BUNDLES: Final = 4
"""Of other bakes: those that are in use meanwhile are the youngest."""
_QEMU: Final = "qemu-system-x86_64"


def main() -> int:
    """The program; its exit code."""
    threading.Thread(target=_end_with_the_worker, daemon=True).start()
    return serve(_carry_out)


def _end_with_the_worker() -> None:
    poll = select.poll()
    poll.register(int(sys.argv[1]), select.POLLHUP | select.POLLRDHUP)
    while not any(events & (select.POLLHUP | select.POLLRDHUP) for _, events in poll.poll()):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _carry_out(order: FleetOrder | FactsOrder, send: Send) -> FleetOutcome | WorkerFacts:
    if isinstance(order, FactsOrder):
        return facts_of(order, dict(os.environ))
    report = Report(sink=ForwardSink(send, verbose=False), environment={})
    try:
        return _task(order, dict(os.environ), report)
    except DiboError as error:
        return FleetOutcome(id=order.id, seconds=0.0, error=error)
    except Exception as error:
        return FleetOutcome(id=order.id, seconds=0.0, error=defect_of(error))


def _task(order: FleetOrder, environment: Mapping[str, str], report: Report) -> FleetOutcome:
    if order.file is not None:
        places = WorkerPlaces(files=order.file, output=Path(), cache=Path())
        outcome = _run(order, load_image(places, order.image, environment), report)
        return FleetOutcome(
            id=order.id,
            seconds=outcome.seconds,
            layers=outcome.layers,
            artefacts=outcome.artefacts,
            error=outcome.error,
        )
    assert order.bundle is not None
    cache = resources.expanded(environment.get("IMG_PATH") or resources.home() / ".cache" / "dibo").absolute()
    workspace = Workspace(cache)
    with workspace.run(sweepers=sweepers()) as run, _bundle(order.bundle, workspace, run) as files:
        output = run.subdirectory("artefacts")
        places = WorkerPlaces(files=files, output=output, cache=cache)
        image = load_image(places, order.image, environment)
        if order.artefacts is not None:
            parcel.receive(_repository(order.artefacts), order.artefacts.digest, output)
        outcome = _run(order, image, report)
        if outcome.error is None and order.kind is TaskKind.LAYERS:
            _require_stored(image.spec.settings, order.keys[-1])
        sent = None
        if outcome.error is None and order.kind is TaskKind.ARTEFACTS:
            sent = _send(order, output, run, report)
        return FleetOutcome(
            id=order.id,
            seconds=outcome.seconds,
            layers=outcome.layers,
            artefacts=tuple(path.relative_to(output) for path in outcome.artefacts if sent is not None),
            parcel=sent,
            error=outcome.error,
        )


def _run(order: FleetOrder, image: BundledImage, report: Report) -> TaskOutcome:
    spec = TaskSpec(id=order.id, kind=order.kind, image=image.spec, keys=order.keys, test=order.test)
    return run_task(spec, report, decided=image.decided)


def _repository(name: ParcelName) -> ImageName:
    return parse_repository(name.repository).tagged(name.tag)


@contextmanager
def _bundle(name: ParcelName, workspace: Workspace, run: Run) -> Iterator[Path]:
    """The files of the bundle, which stay for the next tasks of the bake. Those of the last bakes are removed."""
    kept = workspace.root / _BUNDLES
    kept.mkdir(exist_ok=True)
    target = kept / name.digest.replace(":", "-")
    with exclusive(workspace.locks, target.name, on_wait=lambda _: None):
        if not target.exists():
            others = sorted(kept.iterdir(), key=lambda path: path.stat().st_mtime)
            for old in others[:-_KEPT_BUNDLES]:
                shutil.rmtree(old, ignore_errors=True)
            part = run.subdirectory("bundle")
            parcel.receive(_repository(name), name.digest, part)
            part.rename(target)
    yield target


def _require_stored(settings: Settings, key: str) -> None:
    """Raises RegistryError where a layer that others build on is in no cache: the reason was a warning."""
    for name in settings.caches_to:
        if api.head(name.tagged(tag_of(key))) is None:
            raise RegistryError(
                f"the layer {key[:12]} was built, and is not in {name}, where other workers look for it",
                hint="a warning of the worker says why: a registry that does not respond, or a secret in the layer",
            )


def _send(order: FleetOrder, output: Path, run: Run, report: Report) -> ParcelName:
    assert order.bundle is not None
    name = parse_repository(order.bundle.repository).tagged(order.reply_tag)
    with report.task(f"send artefacts of {order.image}"), run.scratch() as scratch:
        contents = {path.name: path for path in sorted(output.iterdir())}
        digest = parcel.send(name, contents, scratch=scratch)
    return ParcelName(repository=order.bundle.repository, tag=order.reply_tag, digest=digest)


def facts_of(order: FactsOrder, environment: Mapping[str, str]) -> WorkerFacts:
    """What this machine and user have."""
    engine = environment.get("DIBO_ENGINE") or order.engine
    isolation = environment.get("DIBO_ISOLATION") or order.confinement.isolation
    confinement = replace(order.confinement, isolation=isolation)
    failing = [
        finding for finding in choose.examine(engine, confinement) if finding.needed and not finding.works
    ]
    return WorkerFacts(
        version=__version__,
        python=platform.python_version(),
        runner=Runner().digest,
        user=getpass.getuser(),
        builds="; ".join(
            f"{finding.title}{f': {finding.detail}' if finding.detail else ''}" for finding in failing
        ),
        reaches=_reaches(order.repository),
        boots=process.find(_QEMU) is not None,
        architectures=frozenset(name for name in order.architectures if _builds_for(name)),
    )


def _reaches(repository: str | None) -> str:
    if repository is None:
        return ""
    try:
        api.tags(parse_repository(repository))
    except DiboError as error:
        return error.message
    return ""


def _builds_for(architecture: str) -> bool:
    if foreign.is_native(architecture):
        return True
    try:
        foreign.emulation(architecture)
    except DiboError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
