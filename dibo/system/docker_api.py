"""The door to docker: the only file that uses its SDK.

A daemon is found as docker's own command finds it: DOCKER_HOST, then the context that is chosen
(DOCKER_CONTEXT, `docker context use`), then the usual socket, then that of a rootless daemon.

Everything here goes over the API (https://docs.docker.com/reference/api/engine/), so the daemon may be on another
machine: no path of this one is ever named to it. `ssh://` is a forwarded socket (ssh(1), -L), not the SDK's own
transport, which needs a second implementation of ssh and cannot carry a terminal.

What the SDK raises becomes EngineError here; no other module knows its exceptions.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dibo.errors import EngineError
from dibo.system.disk_space import says_full
from dibo.system.docker_container import ContainerRequest
from dibo.system.process import OnOutput
from dibo.system.ssh_tunnel import forwarded

USUAL_SOCKET: Final = Path("/var/run/docker.sock")
_ANSWER_SECONDS: Final = 120
_NOBODY_THERE: Final = {
    errno.ECONNREFUSED,
    errno.ENOENT,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ETIMEDOUT,
}
_CONFLICT: Final = 409  # RFC 9110
_FULL: Final = (
    "the daemon's disk is full: `docker info` names its directory, `docker system df` what is in it"
)
_JUST_GONE: Final = "unrecognized image ID"  # moby, image/store.go: a 500 where two remove one image
_BROKEN: Final = (BrokenPipeError, ConnectionResetError, ConnectionAbortedError)


def seems_there() -> bool:
    """Whether the environment names a daemon, or the socket of one exists. Connects to none, and loads no SDK."""
    named = any(os.environ.get(name) for name in ("DOCKER_HOST", "DOCKER_CONTEXT"))
    return named or USUAL_SOCKET.exists() or _rootless_socket(os.environ).exists()


def _rootless_socket(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("XDG_RUNTIME_DIR") or "/nonexistent") / "docker.sock"


@contextlib.contextmanager
def connected(*, scratch: Path, host: str | None = None, seconds: int = _ANSWER_SECONDS) -> Iterator[Daemon]:
    """The daemon at `host`, or the one that the environment names; it has `seconds` for each answer. `scratch` is a
    directory with a short path.

    Raises EngineError when none answers, or it may not be used.
    """
    from docker import APIClient

    chosen, options = _endpoint(os.environ)
    if host is not None and host != chosen:
        chosen, options = _endpoint({**os.environ, "DOCKER_HOST": host})
    with contextlib.ExitStack() as stack:
        base_url = chosen
        if chosen.startswith("ssh://"):
            socket = scratch / "docker.sock"
            stack.enter_context(forwarded(chosen, str(USUAL_SOCKET), socket, seconds))
            base_url = f"unix://{socket}"
        with _explained(f"the docker daemon at {chosen} does not answer", host=chosen):
            client = APIClient(base_url=base_url, version="auto", timeout=seconds, **options)
        stack.callback(client.close)
        patient = APIClient(base_url=base_url, version=client._version, timeout=None, **options)
        stack.callback(patient.close)
        yield Daemon(client, patient, chosen)


def _endpoint(environment: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Where the daemon is, and the SDK's options for it."""
    from docker.context import ContextAPI
    from docker.errors import DockerException
    from docker.utils import kwargs_from_env

    try:
        if host := environment.get("DOCKER_HOST"):
            options = kwargs_from_env(environment)
            return host, {"tls": options["tls"]} if "tls" in options else {}
        context = ContextAPI.get_context(environment.get("DOCKER_CONTEXT") or None)
        if context is not None and context.name != "default" and context.Host:
            return str(context.Host), {"tls": context.TLSConfig} if context.TLSConfig else {}
    except DockerException as error:
        raise EngineError(
            f"docker's settings make no sense: {error}",
            hint="look at DOCKER_HOST, DOCKER_CONTEXT, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH",
        ) from error
    rootless = _rootless_socket(environment)
    return f"unix://{rootless if not USUAL_SOCKET.exists() and rootless.exists() else USUAL_SOCKET}", {}


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerImage:
    """What a daemon lists of an image. `size` is in bytes, of all its layers."""

    identity: str
    names: tuple[str, ...]
    created: float
    size: int
    labels: Mapping[str, str]


class Daemon:
    """A docker daemon, for one thread or several. Every method may raise EngineError."""

    def __init__(self, client: Any, patient: Any, host: str) -> None:
        """`patient` is a client that waits for an answer as long as it takes."""
        self._client = client
        self._patient = patient
        self.host = host
        self._containerd: bool | None = None

    def version(self) -> str:
        with self._asking("its version"):
            return str(self._client.version()["Version"])

    @property
    def architecture(self) -> str:
        """As OCI says it: amd64, arm64."""
        with self._asking("its architecture"):
            return str(self._client.version()["Arch"])

    def has_containerd_store(self) -> bool:
        """Whether images are in containerd's store, which needs every layer in what it loads."""
        if self._containerd is None:
            with self._asking("how it stores images"):
                status = self._client.info().get("DriverStatus") or []
            self._containerd = any("containerd" in str(value) for _, value in status)
        return self._containerd

    # Images

    def images(self, repository: str) -> dict[str, float]:
        """When each image of a repository was made, in seconds since 1970, by tag."""
        with self._asking("for its images"):
            listed = self._client.images(name=repository)
        return {
            name.removeprefix(f"{repository}:"): float(image.get("Created") or 0)
            for image in listed
            for name in image.get("RepoTags") or ()
            if name.startswith(f"{repository}:")
        }

    def all_images(self) -> tuple[DockerImage, ...]:
        """All images but those that only others lie on."""
        with self._asking("for its images"):
            listed = self._client.images()
        return tuple(
            DockerImage(
                identity=str(image["Id"]),
                names=tuple(name for name in image.get("RepoTags") or () if name != "<none>:<none>"),
                created=float(image.get("Created") or 0),
                size=int(image.get("Size") or 0),
                labels=image.get("Labels") or {},
            )
            for image in listed
        )

    def inspect(self, image: str) -> dict[str, Any]:
        """What the daemon knows of an image: Config, RootFS, Architecture …"""
        with self._asking(f"about {image}"):
            return dict(self._client.inspect_image(image))

    def identity(self, image: str) -> str | None:
        """The digest that the daemon knows an image by; None when it is not there."""
        try:
            return str(self.inspect(image)["Id"])
        except NotThere:
            return None

    def load(self, archive: Iterable[bytes]) -> None:
        """Take images from a stream as `docker save` writes it."""
        stopped = threading.Event()

        def feed() -> Iterator[bytes]:
            for data in archive:
                if stopped.is_set():
                    raise BrokenPipeError(errno.EPIPE, "interrupted")
                yield data

        def load() -> None:
            for word in self._patient.load_image(feed()):
                if "error" in word:
                    raise EngineError(f"docker does not take the image: {word['error']}")

        with self._asking("to take an image"):
            _surely(load, give_up=stopped.set)

    def save(self, image: str) -> Iterator[bytes]:
        """An image as a stream: manifest.json, configs, layers (dibo.images.sources.docker_archive)."""
        with self._asking(f"for {image}"):
            yield from self._patient.get_image(image, chunk_size=1 << 20)

    def pull(self, reference: str, on_output: OnOutput) -> None:
        """Have the daemon fetch an image, by name and digest, from where it is."""
        with self._asking(f"for {reference}"):
            for word in self._patient.pull(reference, stream=True, decode=True):
                if "error" in word:
                    raise EngineError(str(word["error"]))
                if "id" in word and "progressDetail" in word and not word["progressDetail"]:
                    on_output(f"{word['id']}: {word.get('status', '')}")

    def tag(self, image: str, name: str) -> None:
        repository, colon, tag = name.rpartition(":")
        if not colon or "/" in tag:
            repository, tag = name, "latest"
        with self._asking(f"to name an image {name}"):
            _surely(lambda: self._client.tag(image, repository, tag))

    def untag(self, image: str) -> None:
        """Forget a name, and the image with its last one; nothing when it is not there."""
        with contextlib.suppress(NotThere), self._asking(f"to forget {image}"):
            _surely(lambda: self._client.remove_image(image, force=True))

    def discard(self, identity: str) -> None:
        """Remove an image that has no name, unless it is in use."""
        with contextlib.suppress(NotThere, InUse), self._asking(f"to remove {identity}"):
            _surely(lambda: self._client.remove_image(identity))

    # Containers and volumes

    def make_volume(self, name: str) -> None:
        with self._asking("to make a volume"):
            _surely(lambda: self._client.create_volume(name=name))

    def remove_volume(self, name: str) -> None:
        with contextlib.suppress(NotThere), self._asking(f"to remove the volume {name}"):
            _surely(lambda: self._client.remove_volume(name, force=True))

    def make_container(self, request: ContainerRequest) -> None:
        from docker import types

        with self._asking("to make a container"):
            _surely(lambda: self._client.create_container(**request.arguments(self._client, types)))

    def put(self, container: str, directory: str, tar: bytes | Iterable[bytes]) -> None:
        """Unpack a tar in a directory of a container, which need not run."""
        with self._asking("to take files"):
            self._patient.put_archive(container, directory, tar)

    def start(self, container: str) -> Iterator[bytes]:
        """Start a container; what it writes, as it comes, until it ends."""
        with self._asking("to run a container"):
            output = self._patient.attach(container, stdout=True, stderr=True, stream=True)
            _surely(lambda: self._patient.start(container))
            yield from output

    def wait(self, container: str) -> int:
        """Until a container ends; its exit code."""
        with self._asking("how a container ended"):
            return int(self._patient.wait(container)["StatusCode"])

    def commit(self, container: str, repository: str, tag: str) -> None:
        """Make an image of a container, with all the daemon knows of the container in its config."""
        with self._asking("to keep a layer"):
            _surely(lambda: self._patient.commit(container, repository, tag, pause=False))

    def remove_container(self, name: str) -> None:
        """Kill and remove a container; nothing when it is not there."""
        with contextlib.suppress(NotThere), self._asking("to remove a container"):
            _surely(lambda: self._client.remove_container(name, force=True, v=True))

    def attach(self, container: str) -> Any:
        """The socket of a container that was made with a terminal or with open standard input, and is not started
        yet. Without a terminal what it writes comes in frames (API, ContainerAttach)."""
        with self._asking("to attach to a container"):
            streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            attached = self._client.attach_socket(container, streams)
        socket = getattr(attached, "_sock", attached)
        socket.settimeout(None)
        return socket

    def attach_input(self, container: str) -> Any:
        """The socket of the standard input of a container that was made with it open, and is not started yet."""
        with self._asking("to attach to a container"):
            attached = self._client.attach_socket(container, {"stdin": 1, "stream": 1})
        return getattr(attached, "_sock", attached)

    def begin(self, container: str) -> None:
        """Start a container that is attached to already."""
        with self._asking("to run a container"):
            self._client.start(container)

    def resize(self, container: str, *, rows: int, columns: int) -> None:
        with contextlib.suppress(EngineError), self._asking("to resize a terminal"):
            self._client.resize(container, rows, columns)

    def _asking(self, action: str) -> contextlib.AbstractContextManager[None]:
        return _explained(f"docker was asked {action}", host=self.host)


class NotThere(EngineError):
    """What was asked about does not exist."""


class InUse(EngineError):
    """Not possible while something else uses the object."""


@contextlib.contextmanager
def _explained(action: str, *, host: str) -> Iterator[None]:
    """Turn what the SDK raises into words."""
    from docker.errors import APIError, DockerException, NotFound
    from urllib3.exceptions import HTTPError

    try:
        yield
    except NotFound as error:
        raise NotThere(f"{action}: {error.explanation}") from error
    except APIError as error:
        gone = _JUST_GONE in str(error.explanation)
        kind = InUse if error.status_code == _CONFLICT else NotThere if gone else EngineError
        hint = _FULL if says_full([str(error.explanation)]) else ""
        raise kind(f"{action}: {error.explanation or error}", hint=hint) from error
    except (DockerException, HTTPError, OSError) as error:  # those of requests are OSErrors, too
        raise _unreachable(action, host, error) from error


def _unreachable(action: str, host: str, error: BaseException) -> EngineError:
    system = _system_error(error)
    if isinstance(system, PermissionError):
        return EngineError(
            f"this user may not use the docker daemon at {host}",
            hint="users of a daemon are root on its machine; to accept that:\n"
            "  sudo usermod --append --groups docker USER     and log in anew\n"
            "or set DOCKER_HOST to a rootless daemon's socket",
        )
    if system is not None and system.errno in _NOBODY_THERE:
        return EngineError(
            f"no docker daemon answers at {host}: {system.strerror or system}",
            hint="start it (sudo systemctl start docker), or name another with DOCKER_HOST",
        )
    if host.startswith("ssh://") and isinstance(system, ConnectionResetError):
        return EngineError(
            f"no docker daemon answers at {host}, though ssh can log in there",
            hint="does docker run there, may that user use it, and is its socket another than /var/run/docker.sock? "
            "then write ssh://MACHINE/PATH",
        )
    if isinstance(system, _BROKEN):
        return EngineError(
            f"{action}, and broke off the connection ({system.strerror or system})",
            hint="its log may say why (journalctl -u docker); is there room on its disk? try: docker version",
        )
    return EngineError(f"{action}: {error}", hint="is DOCKER_HOST right? try: docker version")


def _system_error(error: BaseException | None) -> OSError | None:
    """The error of the system below what libraries made of it."""
    seen: list[object] = []
    waiting: list[object] = [error]
    system_error: OSError | None = None
    while waiting:
        current = waiting.pop()
        if not isinstance(current, BaseException) or current in seen:
            continue
        seen.append(current)
        if isinstance(current, OSError) and (current.errno is not None or isinstance(current, _BROKEN)):
            system_error = current
        waiting += [current.__cause__, current.__context__, *current.args, getattr(current, "reason", None)]
    return system_error


def _surely(ask: Callable[[], object], *, give_up: Callable[[], None] = lambda: None) -> None:
    """Ask for a change, and wait for the answer even when we are interrupted: what the daemon does after we gave up
    could not be taken back. `give_up` is called then, for the answer to come sooner."""
    problem: list[BaseException] = []
    done = (
        threading.Event()
    )  # Thread.join forgets the thread when a signal interrupts it (CPython 3.11, bpo-45274)

    def run() -> None:
        try:
            ask()
        except BaseException as error:
            problem.append(error)
        finally:
            done.set()

    threading.Thread(target=run, daemon=True).start()
    try:
        done.wait()
    except BaseException:
        give_up()
        done.wait(_ANSWER_SECONDS)
        raise
    if problem:
        raise problem[0]
