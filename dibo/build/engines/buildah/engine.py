"""Buildah, through its commands: rootless, native overlay. It keeps images and commits; steps run in dibo's sandbox.

A step is `from`, `config`, a run in the sandbox, `commit` in one shell (containerfiles/buildah) inside one
`buildah unshare`: the user namespace is entered once for all, which halves what a layer costs. As root there is no
user namespace to enter; a private mount namespace takes its place, so that no mount of the store is ever seen on the
host. With --isolation chroot buildah runs the step itself, which shuts nothing off.

Layers are images `localhost/dibo/layer:k-KEY`, each complete. When a hook fails, what it left is committed as
`localhost/dibo/failed:KEY`, so that a shell can be opened in that very state although no container is left behind.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from dibo.build import foreign, sandbox
from dibo.build.context import command, mount_point
from dibo.build.engine import SECRETS, Root, Setup, StepRun, StoredImage
from dibo.build.engines import image_names, private_input
from dibo.build.engines.base_layer import base_layer
from dibo.build.engines.buildah import checks
from dibo.build.engines.buildah.container_build import build_container
from dibo.build.engines.buildah.image_config import ImageConfig
from dibo.build.engines.buildah.lookup import StoreLookup
from dibo.build.engines.buildah.named_layout import named_by_buildah
from dibo.build.engines.buildah.options import bind_option, label_options
from dibo.build.engines.buildah.store import BuildahStore, image_of_base, stored_image
from dibo.build.engines.image_names import LAYERS, image_of, name_of
from dibo.build.engines.listener import MARK, BuildListener
from dibo.build.engines.step_log import StepLog
from dibo.build.namespace import enter_namespace
from dibo.build.outside import OutsideSandbox
from dibo.build.sandbox import Mount, Sandbox
from dibo.errors import BaseError, CommandFailed, DiboError, EngineError, ToolMissing, UsageError
from dibo.images.sources.buildah_environment import engine_environment
from dibo.images.sources.containers_storage import directories, store_image, where_to_find
from dibo.images.sources.layer_reader import LayerReader
from dibo.plan.base import ContainerBuild, OciImage, Source, SquashFs, TarCommand, TarFile
from dibo.settings.settings import CHROOT, NONE
from dibo.system import disk_space, process, resources
from dibo.system.process import OnOutput, Process, ProcessOptions, Streams

# What buildah says after a command that failed; hooks, too, write lines that begin with `Error: `.
_OF_BUILDAH = re.compile(r'subprocess exited with status \d+$|Error: .*exit status \d+$|time="')
_STEP_FAILED, _NO_SANDBOX = 100, 101  # containerfiles/buildah/step.sh
_SCRIPTS: Final = resources.shared("containerfiles") / "buildah"


class Buildah:
    """The default engine."""

    name = "buildah"
    gives_directory = True
    reads_beside = True
    runs_outside = True

    def __init__(self, setup: Setup, reader: LayerReader) -> None:
        self._run = setup.run
        self._reader = reader
        self._report = setup.report
        self._confinement = setup.confinement
        self._lookup = StoreLookup(self._buildah)
        self._configs: dict[str, ImageConfig] = {}
        """Of the images with these keys."""
        # buildah keeps files of its own in TMPDIR, and leaves them there when it is interrupted.
        self._environment = {**engine_environment(), "TMPDIR": str(setup.run.subdirectory("buildah"))}

    def check(self) -> None:
        checks.require_version()
        if os.geteuid() != 0:
            checks.require_subordinate_ids()
        if checks.require_driver(self._lookup.known_driver) == "vfs":
            self._report.warn(checks.VFS)
        checks.require_sandbox(self._confinement)

    def held(self) -> Mapping[str, float]:
        return {
            name: created
            for image, created in self._images().items()
            if (name := name_of(image)) and not name.startswith("failed-")
        }

    def identities(self, keys: Collection[str]) -> Mapping[str, str]:
        return {
            name: record.identity
            for record in self._lookup.records()
            for name in map(name_of, record.names)
            if name in keys
        }

    def names(self) -> Sequence[str]:
        return sorted(name for image in self._images() if (name := name_of(image)))

    def _images(self) -> Mapping[str, float]:
        """When each image with a name was made, by name."""
        try:
            return self._lookup.times()
        except CommandFailed:
            self.check()  # what is wrong may have a better name
            raise

    def import_base(self, source: Source, *, key: str, labels: Mapping[str, str], architecture: str) -> None:
        try:
            if isinstance(source, TarFile | TarCommand):
                with base_layer(source, self._run, self._report.line) as (written, file):
                    image = image_of_base(written, file, architecture=architecture, labels=labels)
                    self.store(architecture=architecture).take(image, key=key)
            else:
                with self._container() as container:
                    self._import(source, [container, f"{LAYERS}:k-{key}", *label_options(labels)])
        except (CommandFailed, EngineError) as error:
            tail = error.tail if isinstance(error, CommandFailed) else ()
            if disk_space.says_full((*tail, error.message)):
                raise self._no_room("the base", [*tail, error.message]) from error
            raise BaseError(
                f"the base could not be made into a layer: {error.message}",
                hint="\n".join(
                    [error.hint or "`dibo doctor` tries what a build needs", *(f"| {x}" for x in tail)]
                ),
            ) from error

    def _import(self, source: SquashFs | OciImage | ContainerBuild, arguments: list[str]) -> None:
        if isinstance(source, ContainerBuild):
            directory = self._run.subdirectory("containerfile")
            source = build_container(
                source, directory, environment=self._environment, on_output=self._report.line
            )
        match source:
            case SquashFs(path=path):
                self._inside("import-squashfs", [*arguments[:2], str(path), *arguments[2:]])
            case OciImage(reference=reference, plain_http=plain):
                verify = f"--tls-verify={'false' if plain else 'true'}"
                with named_by_buildah(reference, self._run, self._forget) as named:
                    self._inside("import-image", [*arguments[:2], named, verify, *arguments[2:]])

    def run_step(self, step: StepRun) -> None:
        listener = BuildListener(step, noise=_OF_BUILDAH)
        with self._container() as container, StepLog(step.log) as log:
            with Process(
                self._step_argv(step, container, label_options(step.labels)),
                env=self._environment,
                streams=Streams(
                    stdin=process.PIPE,  # ends when dibo does, whatever ends it
                    on_output=lambda line: listener.handle(line, log),
                ),
            ) as running:
                if self._confinement.isolation == CHROOT:
                    _feed(running, private_input.private_input(step.environment, {}))
                code = running.wait()
            if code != 0:
                lines = [step.mask(line) for line in running.tail if not line.startswith(MARK)]
                raise self._failure(step, code, listener, lines)
        step.log.unlink(missing_ok=True)  # a build of the same step at the same time has the same log

    def _failure(self, step: StepRun, code: int, listener: BuildListener, output: Sequence[str]) -> DiboError:
        """The error for a step, `code` and its output. What it wrote is still there, so that a full disk shows. Raises
        as `check`."""
        title = step.planned.step.title
        begun = self._confinement.isolation != CHROOT or not listener.failed_to_start
        of_hook = code == _STEP_FAILED and begun
        if disk_space.says_full(output) and (not of_hook or disk_space.full(self._places())):
            return self._no_room(title, output)
        if of_hook:
            return listener.failed()
        if code == _NO_SANDBOX:
            checks.require_sandbox(self._confinement)  # it may be this machine that has none
            return sandbox.refused_for_root(output)
        return EngineError(
            f"buildah failed at {title}: {' '.join(output[-2:])}",
            hint=f"the log is {step.log}\n`dibo doctor` tries what a build needs",
        )

    def _no_room(self, title: str, output: Sequence[str]) -> EngineError:
        lines = [f"| {line}" for line in output[-2:]]
        return EngineError(
            f"the disk is full, so {title} failed: {disk_space.describe(self._places())}",
            hint="\n".join(["make room there; `dibo cache prune` removes layers", *lines]),
        )

    def _places(self) -> list[Path]:
        """Where a build writes."""
        places = [self._run.directory, disk_space.temporary_directory()]
        with contextlib.suppress(CommandFailed, ToolMissing, ValueError, KeyError):
            places[:0] = directories()
        return places

    def _step_argv(self, step: StepRun, container: str, labels: Sequence[str]) -> list[str]:
        """The command that runs a step."""
        planned = step.planned
        target = mount_point(planned.step)
        images = [image_names.layer(key) for key in (step.parent, planned.key)]
        arguments = [container, *images, image_names.failed(planned.key)]
        config = self._config_of(step.parent)
        self._configs[planned.key] = config
        if planned.step.is_outside:
            return self._outside_argv(step, [*arguments, *labels], config)
        if self._confinement.isolation == CHROOT:
            options = [bind_option(step.context, target)]
            options += [bind_option(path.parent, SECRETS) for path in list(step.secrets.values())[:1]]
            argv = (*private_input.READER, *command(planned.step))
            arguments += [self._network_of(step), *options, "--", *labels, "--", *argv]
            return self._emulated_argv("step-chroot", arguments, config.debian)
        mounts = [Mount(source=step.context, target=target)]
        mounts += [Mount(source=path.parent, target=SECRETS) for path in list(step.secrets.values())[:1]]
        directory = self._sandbox(config, step.environment, mounts, self._network_of(step))
        arguments += [str(directory), *labels, "--", *command(planned.step)]
        return self._emulated_argv("step", arguments, config.debian)

    def _network_of(self, step: StepRun) -> str:
        return self._confinement.network if step.planned.step.network else NONE

    def _outside_argv(self, step: StepRun, words: Sequence[str], config: ImageConfig) -> list[str]:
        """The command that runs a step of elements outside of the image. Raises UsageError."""
        if self._confinement.isolation == CHROOT:
            raise UsageError(
                "elements need the sandbox: their scripts outside of the image run in it",
                hint="use it: --isolation bwrap",
            )
        directory = self._run.subdirectory("sandbox")
        OutsideSandbox(
            network=self._confinement.network, context=step.context, environment=step.environment
        ).write(directory)
        arguments = [*words[:4], str(directory), *words[4:], "--", *command(step.planned.step)]
        return self._emulated_argv("outside", arguments, config.debian)

    def _sandbox(
        self, config: ImageConfig, environment: Mapping[str, str], mounts: Sequence[Mount], network: str
    ) -> Path:
        """A directory that describes a sandbox to the scripts."""
        directory = self._run.subdirectory("sandbox")
        Sandbox(
            network=network,
            mounts=mounts,
            environment={**config.variables, **environment},
            architecture=config.architecture,
        ).write(directory)
        return directory

    def _config_of(self, name: str) -> ImageConfig:
        """Of an image; layers that a run made have that of their parent. Raises ImageError."""
        if name not in self._configs:
            self._configs[name] = self._lookup.config(image_of(name))
        return self._configs[name]

    def tag(self, key: str, name: str) -> None:
        self._buildah("tag", f"{LAYERS}:k-{key}", name)
        if setting := where_to_find():
            self._report.say(
                f"`buildah` and `podman` find {name} with {setting}: nothing configures their store"
            )

    def reference(self, key: str) -> str:
        return f"{LAYERS}:k-{key}"

    @contextlib.contextmanager
    def root(self, key: str, *, architecture: str) -> Iterator[Root]:
        name = self.reference(key)
        scratch = self._run.subdirectory("root")
        image = store_image(
            name,
            self._reader,
            reference=name,
            architecture=architecture,
            scratch=scratch,
            place=self._lookup.place(),
        )
        yield Root(
            name=name, layers=image.layers, built=True, directory=lambda: self._directory(f"{LAYERS}:k-{key}")
        )

    @contextlib.contextmanager
    def _directory(self, image: str) -> Iterator[BuildahDirectory]:
        with self._container() as container:
            self._inside("prepare-root", [container, image])
            yield BuildahDirectory(self, container)
            remove_container(container)

    def start_in_root(
        self,
        container: str,
        argv: Sequence[str],
        *,
        stdin: int | IO[bytes] | None,
        stdout: int | IO[bytes] | None,
        pass_fds: Sequence[int],
        on_output: OnOutput | None,
    ) -> Process:
        return Process(
            self._inside_argv("in-root", [container, *argv]),
            env=self._environment,
            streams=Streams(stdin=stdin, stdout=stdout, on_output=on_output),
            options=ProcessOptions(pass_fds=pass_fds),
        )

    def shell(self, name: str, *, context: Path | None, mount_point: str, argv: Sequence[str]) -> int:
        image = image_of(name)
        config = self._config_of(name)
        with self._container() as container:
            if self._confinement.isolation == CHROOT:
                options = [bind_option(context, mount_point)] if context else []
                options += ["--tty"] if os.isatty(0) else []
                script, arguments = "shell-chroot", [container, image, *options, "--", *argv]
            else:
                checks.require_sandbox(self._confinement)
                environment = {"TERM": os.environ.get("TERM", "dumb")}
                mounts = [Mount(source=context, target=mount_point)] if context else []
                directory = self._sandbox(config, environment, mounts, self._confinement.network)
                script, arguments = "shell", [container, image, str(directory), *argv]
            argv = self._emulated_argv(script, arguments, config.debian)
            return process.run_in_terminal(argv, env=self._environment)

    def store(self, *, architecture: str) -> BuildahStore:
        directory = self._run.subdirectory("images")
        return BuildahStore(self.reference, self._reader, architecture=architecture, directory=directory)

    def stored(self) -> Sequence[StoredImage]:
        return [image for record in self._lookup.records() if (image := stored_image(record)) is not None]

    def remove(self, name: str) -> None:
        self._forget(image_of(name))

    def discard(self, identity: str) -> None:
        self._forget(identity)

    @contextlib.contextmanager
    def _container(self) -> Iterator[str]:
        """A name for a container that the body removes when all goes well; here when it does not."""
        name = self._run.container()
        try:
            yield name
        except BaseException:
            remove_container(name)
            raise

    def _forget(self, image: str) -> None:
        self._buildah("rmi", image, check=False)

    def _buildah(self, *arguments: str, check: bool = True) -> process.Completed:
        return process.run(["buildah", *arguments], env=self._environment, capture=True, check=check)

    def _inside(self, script: str, arguments: Sequence[str]) -> None:
        process.run(
            self._inside_argv(script, arguments),
            env={**process.proxies(), **self._environment},
            streams=process.Streams(on_output=self._report.line),
        )

    def _inside_argv(self, script: str, arguments: Sequence[str]) -> list[str]:
        return [*enter_namespace(), "bash", str(_SCRIPTS / f"{script}.sh"), *arguments]

    def _emulated_argv(self, script: str, arguments: Sequence[str], architecture: str) -> list[str]:
        """The same for a script that runs programs of a root for `architecture`, Debian's word. Raises as
        `foreign.emulation`."""
        prefix = foreign.emulation(architecture).prefix
        return [*enter_namespace(), *prefix, "bash", str(_SCRIPTS / f"{script}.sh"), *arguments]


def _feed(running: Process, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # a step that ended early says itself why
        running.stdin.write(data)
        running.stdin.flush()


class BuildahDirectory:
    """A throw-away container's tree, mounted anew for each command in that command's own mount namespace."""

    def __init__(self, engine: Buildah, container: str) -> None:
        self._engine = engine
        self._container = container

    def process(
        self,
        argv: Sequence[str],
        *,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] | None = None,
        pass_fds: Sequence[int] = (),
        on_output: OnOutput | None = None,
    ) -> Process:
        return self._engine.start_in_root(
            self._container, argv, stdin=stdin, stdout=stdout, pass_fds=pass_fds, on_output=on_output
        )


def remove_container(name: str) -> None:
    """Remove a container that a killed run left, if it is there."""
    with contextlib.suppress(CommandFailed, ToolMissing):
        process.run(["buildah", "rm", name], env=engine_environment(), capture=True)
