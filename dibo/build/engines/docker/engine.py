"""Docker, through its API: on this machine or on any other.

A step is a container that is made of its parent's image, runs the runner, and is committed. No path of this machine
is ever named to the daemon: the step's context goes into a volume, through the API, and the volume is mounted
read-only where buildah would mount the directory, so nothing of it stays in the layer. Measured, that costs 0.07 s
a step; a bind mount would save them, and work only where the daemon shares our files.

Layers and failed states have the same names as buildah's, the same labels, and trees that are equal.
"""

from __future__ import annotations

import contextlib
import os
import re
import tarfile
import tempfile
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from dibo.build.context import command, mount_point
from dibo.build.engine import SECRETS, Root, Setup, StepRun, StoredImage
from dibo.build.engines import private_input
from dibo.build.engines.base_layer import base_layer
from dibo.build.engines.docker import terminal as docker_terminal
from dibo.build.engines.docker.image import Blob, archive, config_on, new_config
from dibo.build.engines.docker.store import DockerStore
from dibo.build.engines.image_names import FAILED, LAYERS, failed, image_of, layer
from dibo.build.engines.listener import MARK, BuildListener
from dibo.build.engines.step_log import StepLog
from dibo.build.sandbox import HOST_NAME
from dibo.errors import BaseError, CommandFailed, DiboError, EngineError
from dibo.images.image import Image
from dibo.images.platforms import PLATFORMS, Platform
from dibo.plan.base import ContainerBuild, OciImage, Source, SquashFs, TarCommand, TarFile
from dibo.settings.settings import NONE
from dibo.system import process
from dibo.system.docker_api import Daemon, connected
from dibo.system.docker_container import ContainerRequest

OLDEST: Final = (20, 10)
UNFINISHED: Final = "localhost/dibo/unfinished"
_SWEEP_SECONDS: Final = 5
_SECRETS_OPTIONS: Final = "mode=0700,size=64m,noexec,nosuid,nodev"
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127  # as a shell says it (POSIX sh, 2.8.2)


class Docker:
    """An engine, on a daemon that stays connected."""

    name = "docker"
    gives_directory = False
    reads_beside = False
    runs_outside = False

    def __init__(self, daemon: Daemon, setup: Setup) -> None:
        self._daemon = daemon
        self._run = setup.run
        self._report = setup.report
        self._network = setup.confinement.network
        self._store = DockerStore(daemon, setup.run.directory)

    def check(self) -> None:
        require_version(self._daemon)

    def held(self) -> Mapping[str, float]:
        return {
            tag.removeprefix("k-"): created
            for tag, created in self._daemon.images(LAYERS).items()
            if tag.startswith("k-")
        }

    def identities(self, keys: Collection[str]) -> Mapping[str, str]:
        identities = ((key, self._daemon.identity(layer(key))) for key in keys)
        return {key: identity for key, identity in identities if identity is not None}

    def names(self) -> Sequence[str]:
        return sorted([*self.held(), *(f"failed-{key}" for key in self._daemon.images(FAILED))])

    def import_base(self, source: Source, *, key: str, labels: Mapping[str, str], architecture: str) -> None:
        try:
            match source:
                case TarFile() | TarCommand():
                    self._import_tar(source, key, labels, architecture)
                case SquashFs(path=path):
                    command = TarCommand(argv=("sqfs2tar", str(path)))
                    self._import_tar(command, key, labels, architecture)
                case ContainerBuild():
                    raise BaseError(
                        "the engine docker does not build Containerfiles", hint="use --engine buildah"
                    )
                case OciImage():
                    self._import_image(source, key, labels, architecture)
        except (CommandFailed, EngineError) as error:
            tail = error.tail if isinstance(error, CommandFailed) else ()
            raise BaseError(
                f"the base could not be made into a layer: {error.message}",
                hint="\n".join(
                    [error.hint or "`dibo doctor` tries what a build needs", *(f"| {x}" for x in tail)]
                ),
            ) from error

    def _import_tar(
        self, source: TarFile | TarCommand, key: str, labels: Mapping[str, str], architecture: str
    ) -> None:
        with base_layer(source, self._run, self._report.line) as (written, file):
            blob = Blob(diff_id=written.diff_id, open=lambda: contextlib.nullcontext((written.size, file)))
            config = new_config(
                architecture=PLATFORMS.get(architecture, (architecture, ""))[0],
                diff_ids=[written.diff_id],
                labels=labels,
            )
            self._store.load(archive(config, name=layer(key), layers=[blob]), layer(key))

    def _import_image(self, source: OciImage, key: str, labels: Mapping[str, str], architecture: str) -> None:
        """The daemon pulls what is in a registry; what it cannot read, or reach, is sent to it, and so is what is for
        another architecture: of an image for several, the daemon pulls its own."""
        is_native = Platform(os="linux", architecture=self._daemon.architecture).debian == architecture
        if not is_native or not source.reference.startswith("docker://"):
            self._send(source.reference, key, labels, architecture)
            return
        name = source.reference.removeprefix("docker://")
        before = self._daemon.identity(name)
        try:
            self._daemon.pull(name, self._report.line)
        except EngineError as error:
            self._report.line(f"docker cannot pull {name}, so it is sent to it: {error.message}")
            self._send(source.reference, key, labels, architecture)
            return
        self._store.name(self._daemon.inspect(name), layer(key), labels)
        if before is None:
            self._daemon.untag(name)

    def _send(self, reference: str, key: str, labels: Mapping[str, str], architecture: str) -> None:
        from dibo.images.sources.choose import choose_image

        with choose_image(reference, architecture=architecture, scratch=self._run.directory) as image:
            about = {
                "Config": image.config.get("config"),
                "Architecture": image.config.get("architecture"),
                "Os": image.config.get("os"),
                "Variant": image.config.get("variant"),
            }
            diff_ids = [str(image_layer.diff_id) for image_layer in image.layers]
            config = config_on(about, diff_ids=diff_ids, labels=labels)
            self._store.take(image, config=config, name=layer(key))

    def store(self, *, architecture: str) -> Docker:  # noqa: ARG002 (the daemon's images say theirs)
        return self

    def image(self, key: str) -> Image:
        """The image that ends with the layer `key`. Raises ImageError."""
        return self._store.image(layer(key))

    def take(self, image: Image, *, key: str) -> None:
        """Keep `image` as the one that ends with the layer `key`, each layer that is new here checked before it counts.
        Raises VerificationFailed, LayerError, and what opening a layer raises."""
        self._store.take(image, config=dict(image.config), name=layer(key))

    def run_step(self, step: StepRun) -> None:
        planned = step.planned
        parent = layer(step.parent)
        listener = BuildListener(step)
        with self._container() as name, StepLog(step.log) as log:
            volume = self._volume(name, parent, step.context, mount_point(planned.step))
            argv = command(planned.step)
            request = ContainerRequest(
                name=name,
                image=parent,
                argv=argv,
                volume=volume,
                network=self._network if planned.step.network else NONE,
                hostname=HOST_NAME,
            )
            with self._made(request, step):
                code = self._attend(name, listener, log)
            if code != 0:
                listener.handle(f"{MARK}failed {code}", log)
            self._keep(name, parent, layer(planned.key) if code == 0 else failed(planned.key), step.labels)
            if code != 0:
                raise listener.failed()
        step.log.unlink(missing_ok=True)  # a build of the same step at the same time has the same log

    def _volume(self, name: str, image: str, context: Path, place: str) -> tuple[str, str, bool]:
        """Fill a volume with a step's context. A container that never runs stands between, since only containers
        take files."""
        self._daemon.make_volume(name)
        self._daemon.make_container(
            ContainerRequest(name=name, image=image, argv=["true"], volume=(name, place, False))
        )
        with tempfile.TemporaryFile(dir=self._run.directory) as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                tar.add(context, ".", filter=_of_root)
            file.seek(0)
            self._daemon.put(name, place, file)
        self._daemon.remove_container(name)
        return name, place, True

    @contextlib.contextmanager
    def _made(self, request: ContainerRequest, step: StepRun) -> Iterator[None]:
        """Make a step's container. Secrets, and proxies, which may have passwords, reach it on its standard input: the
        daemon writes the environment of a container into its databases, and what goes by there nowhere."""
        if not step.secrets and step.environment.keys().isdisjoint(process.PROXIES):
            self._daemon.make_container(replace(request, environment=step.environment))
            yield
            return
        tmpfs = {SECRETS: _SECRETS_OPTIONS} if step.secrets else {}
        argv = (*private_input.READER, *request.argv)
        self._daemon.make_container(replace(request, argv=argv, terminal=False, tmpfs=tmpfs))
        socket = self._daemon.attach_input(request.name)

        def send() -> None:
            with contextlib.suppress(OSError):  # a container that ends early says itself why
                socket.sendall(private_input.private_input(step.environment, step.secrets))

        with contextlib.closing(socket):
            threading.Thread(target=send, daemon=True).start()
            yield

    def _attend(self, container: str, listener: BuildListener, log: StepLog) -> int:
        """Run a container to its end; its exit code."""
        try:
            for line in lines(self._daemon.start(container)):
                listener.handle(line, log)
        except EngineError as error:
            code = _never_ran(error)
            if code is None:
                raise
            listener.handle(error.message, log)
            return code
        return self._daemon.wait(container)

    def _keep(self, container: str, parent: str, name: str, labels: Mapping[str, str]) -> None:
        """Make a layer of what is in a container, and an image `name` that ends with it."""
        self._daemon.commit(container, UNFINISHED, container)
        made = self._daemon.inspect(f"{UNFINISHED}:{container}")
        below = self._daemon.inspect(parent)
        self._store.name({**below, "Id": made["Id"], "RootFS": made["RootFS"]}, name, labels)

    def tag(self, key: str, name: str) -> None:
        self._daemon.tag(layer(key), name)

    def reference(self, key: str) -> str:
        return layer(key)

    @contextlib.contextmanager
    def root(self, key: str, *, architecture: str) -> Iterator[Root]:  # noqa: ARG002 (a layer is for one only)
        image = self.image(key)
        yield Root(name=image.name, layers=image.layers, built=True)

    def shell(self, name: str, *, context: Path | None, mount_point: str, argv: Sequence[str]) -> int:
        image = image_of(name)
        terminal = os.isatty(0)
        with self._container() as container:
            volume = self._volume(container, image, context, mount_point) if context else None
            self._daemon.make_container(
                ContainerRequest(
                    name=container,
                    image=image,
                    argv=argv,
                    volume=volume,
                    environment={"TERM": os.environ.get("TERM", "dumb")} if terminal else {},
                    terminal=terminal,
                    network=self._network,
                    hostname=HOST_NAME,
                )
            )
            return docker_terminal.run(self._daemon, container, terminal=terminal)

    def stored(self) -> Sequence[StoredImage]:
        return self._store.images()

    def remove(self, name: str) -> None:
        self._daemon.untag(image_of(name))

    def discard(self, identity: str) -> None:
        self._daemon.discard(identity)

    @contextlib.contextmanager
    def _container(self) -> Iterator[str]:
        """A name for a container, a volume and an unfinished image; all three go, whatever ends the body."""
        name = self._run.docker(self._daemon.host)
        try:
            yield name
            forget(self._daemon, name)
        except BaseException:
            try:
                forget(self._daemon, name)
            except DiboError:
                self._run.leave_to_next()
            raise


def forget(daemon: Daemon, name: str) -> None:
    """Remove all that is called `name`."""
    daemon.remove_container(name)
    daemon.remove_volume(name)
    daemon.untag(f"{UNFINISHED}:{name}")


def sweep(value: str) -> None:
    """Remove what a killed run left: `value` is what its journal says, a daemon and a name there.

    Raises EngineError when that daemon does not answer.
    """
    host, _, name = value.rpartition(" ")
    with (
        tempfile.TemporaryDirectory(prefix="dibo-") as scratch,
        connected(scratch=Path(scratch), host=host, seconds=_SWEEP_SECONDS) as daemon,
    ):
        forget(daemon, name)


def require_version(daemon: Daemon) -> str:
    """The daemon's version. Raises EngineError when it is too old."""
    text = daemon.version()
    numbers = tuple(int(number) for number in re.findall(r"\d+", text)[:2])
    if numbers < OLDEST:
        raise EngineError(
            f"docker {text} at {daemon.host} is too old: expected {'.'.join(map(str, OLDEST))} or newer",
            hint="install a newer one, or use --engine buildah",
        )
    return text


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """A stream of output as lines, each as soon as it ends; what is longer than LONGEST_LINE comes in pieces."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").rstrip("\r")
        while len(rest) > process.LONGEST_LINE:
            yield rest[: process.LONGEST_LINE].decode(errors="replace")
            rest = rest[process.LONGEST_LINE :]
    if rest:
        yield rest.decode(errors="replace").rstrip("\r")


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _never_ran(error: EngineError) -> int | None:
    """What a shell would say of a command that could not be started; None where the error is the engine's."""
    if "OCI runtime" not in error.message and "failed to create task" not in error.message:
        return None
    if "no such file or directory" in error.message or "not found" in error.message:
        return _NOT_FOUND
    return _NOT_EXECUTABLE if "permission denied" in error.message or "exec format" in error.message else None
