"""The application of an image, from its configuration: what runs, as whom, where, and how it is stopped and watched.

The configuration comes from outside. Every value is checked before it counts: what would be no program, no path inside
the root, no user or no signal is an error that names it (OCI image specification, config.md; the health check is
Docker's addition).
"""

from __future__ import annotations

import posixpath
import re
import signal
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, NoReturn

from dibo.errors import ImageError
from dibo.formats.paths import TooManyLinks
from dibo.kits.users import User, user_of
from dibo.tree.node import Node
from dibo.tree.query import find, real_path

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT_NAME: Final = re.compile(r"[^=\0\s]+")
_PORT: Final = re.compile(r"([0-9]{1,5})(-[0-9]{1,5})?(/(tcp|udp|sctp))?")
_REAL_TIME: Final = re.compile(r"RTMIN\+([0-9]{1,2})|RTMAX-([0-9]{1,2})")
_REAL_TIME_FROM, _REAL_TIME_TO = 34, 64  # of glibc and musl, signal(7)
_MOST: Final = 4096
_LARGEST_TEXT: Final = 128 << 10  # MAX_ARG_STRLEN of Linux, with the NUL behind it
_LARGEST: Final = 1536 << 10
"""Bytes of all arguments and variables: execve(2) takes a quarter of the stack, 2 MiB, with their addresses."""
_SECOND: Final = 1_000_000_000
_NOT_KEPT: Final = frozenset(
    f"/{path}"
    for path in ("bin", "boot", "etc", "lib", "lib32", "lib64", "sbin", "usr", "var", "var/lib", "usr/lib")
)
_OF_THE_SYSTEM: Final = ("proc", "sys", "dev", "run")
_OF_DIBO: Final = "/usr/lib/dibo"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """Times in seconds."""

    command: tuple[str, ...]
    interval: int = 30
    timeout: int = 30
    start: int = 0
    retries: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    command: tuple[str, ...]
    """The program by its path, and its arguments."""
    environment: Mapping[str, str]
    directory: str
    """Where it starts."""
    user: User
    volumes: tuple[str, ...] = ()
    """Directories that outlive a deployment; none is inside another."""
    ports: tuple[str, ...] = ()
    stop_signal: str = "TERM"
    """A name without SIG, or a number."""
    health: HealthCheck | None = None


def service_of(config: Mapping[str, Any], root: Node, *, name: str) -> Service:
    """The application of the image `name` with this configuration and tree. Raises ImageError."""
    return _Reading(config, root, name).service()


class _Reading:
    def __init__(self, config: Mapping[str, Any], root: Node, name: str) -> None:
        run = config.get("config")
        self._run: Mapping[str, Any] = run if isinstance(run, dict) else {}
        self._root = root
        self._name = name

    def service(self) -> Service:
        directory = self._path("WorkingDir", self._run.get("WorkingDir") or "/")
        user = user_of(self._root, self._text("User", self._run.get("User") or ""), name=self._name)
        environment = self._environment(user)
        volumes = self._volumes()
        words = [*self._words("Entrypoint"), *self._words("Cmd")]
        if not words:
            self._fail(
                "has no Entrypoint and no Cmd: there is nothing to run",
                hint="name the program in the image; or boot the image's own init: --init",
            )
        command = (self._program(words[0], environment["PATH"], directory, volumes), *words[1:])
        texts = (*command, *(f"{variable}={value}" for variable, value in environment.items()))
        if sum(len(_bytes(text)) + 9 for text in texts) > _LARGEST:
            self._fail("has more than 1.5 MiB of arguments and variables, with which no program starts")
        return Service(
            command=command,
            environment=environment,
            directory=directory,
            user=user,
            volumes=volumes,
            ports=self._ports(),
            stop_signal=self._stop_signal(),
            health=self._health(),
        )

    def _words(self, key: str) -> list[str]:
        value = self._run.get(key)
        if value is None:
            return []
        if isinstance(value, str):  # of very old images: the shell form
            value = ["/bin/sh", "-c", value] if value else []
        if not isinstance(value, list) or len(value) > _MOST:
            self._fail(f"has {_short(value)} as {key}: expected a list of texts")
        return [self._text(key, word) for word in value]

    def _text(self, key: str, value: object) -> str:
        if not isinstance(value, str) or "\0" in value or not 0 <= _length(value) < _LARGEST_TEXT:
            self._fail(f"has {_short(value)} in {key}: expected a text without NUL, of less than 128 KiB")
        return value

    def _path(self, key: str, value: object) -> str:
        """A path inside the root, in its plain form."""
        text = self._text(key, value)
        if not text.startswith("/") or ".." in text.split("/") or any(ord(char) < 32 for char in text):
            self._fail(f"has {_short(text)} as {key}: expected a path from / without `..`")
        return "/" + "/".join(part for part in text.split("/") if part not in ("", "."))

    def _environment(self, user: User) -> Mapping[str, str]:
        variables = {"PATH": DEFAULT_PATH, "HOME": user.home}
        entries = self._run.get("Env") or []
        if not isinstance(entries, list) or len(entries) > _MOST:
            self._fail(f"has {_short(entries)} as Env: expected a list of texts")
        for entry in entries:
            variable, sign, value = self._text("Env", entry).partition("=")
            if not sign or _ENVIRONMENT_NAME.fullmatch(variable) is None:
                self._fail(f"has {_short(entry)} in Env: expected NAME=VALUE")
            variables[variable] = value
        return variables

    def _volumes(self) -> tuple[str, ...]:
        paths = sorted(self._path("Volumes", path) for path in self._keys("Volumes"))
        volumes: list[str] = []
        for path, place in sorted((self._resolved(path), path) for path in paths):
            if place.split("/")[1] in _OF_THE_SYSTEM or _is_needed(place) or _is_needed(path):
                self._fail(
                    f"has the volume {place}, which a machine needs as it is",
                    hint="name a directory below it, such as /var/lib/app",
                )
            if not any(path == above or path.startswith(above + "/") for above in volumes):
                volumes.append(path)
        for path in volumes:
            node = find(self._root, path.encode(errors="surrogateescape"))
            if node is not None and not node.is_directory:
                self._fail(f"has the volume {path}, which is no directory in it")
        return tuple(volumes)

    def _resolved(self, path: str) -> str:
        """Where a volume is, which is what the state is named and mounted by: not at a link."""
        try:
            return real_path(self._root, path)
        except NotADirectoryError:
            self._fail(f"has the volume {path}, which is below a file in it")
        except TooManyLinks:
            self._fail(f"has the volume {path}, to which links lead in a circle, or too many of them")

    def _ports(self) -> tuple[str, ...]:
        ports = sorted(self._keys("ExposedPorts"))
        for port in ports:
            match = _PORT.fullmatch(port)
            if match is None or not 0 < int(match[1]) < 1 << 16:
                self._fail(f"has {_short(port)} in ExposedPorts: expected a port such as 80/tcp")
        return tuple(ports)

    def _keys(self, key: str) -> list[str]:
        value = self._run.get(key) or {}
        if not isinstance(value, dict) or len(value) > _MOST:
            self._fail(f"has {_short(value)} as {key}: expected a mapping")
        return [self._text(key, word) for word in value]

    def _stop_signal(self) -> str:
        text = self._text("StopSignal", self._run.get("StopSignal") or "SIGTERM")
        word = text.upper().removeprefix("SIG")
        if word.isdecimal() and word.isascii() and 0 < int(word) <= _REAL_TIME_TO:
            return str(int(word))
        if f"SIG{word}" in signal.Signals.__members__ and word not in ("RTMIN", "RTMAX"):
            return word
        match = _REAL_TIME.fullmatch(word)
        if match is not None:
            number = _REAL_TIME_FROM + int(match[1]) if match[1] else _REAL_TIME_TO - int(match[2])
            if _REAL_TIME_FROM <= number <= _REAL_TIME_TO:
                return str(number)
        if word in ("RTMIN", "RTMAX"):
            return str(_REAL_TIME_FROM if word == "RTMIN" else _REAL_TIME_TO)
        return self._fail(f"has {_short(text)} as StopSignal: expected a signal such as SIGTERM")

    def _health(self) -> HealthCheck | None:
        value = self._run.get("Healthcheck")
        if value is None:
            return None
        if not isinstance(value, dict):
            self._fail(f"has {_short(value)} as Healthcheck: expected a mapping")
        test = value.get("Test") or ["NONE"]
        if not isinstance(test, list) or len(test) > _MOST:
            self._fail(f"has {_short(test)} as the Test of its Healthcheck: expected a list")
        kind, *words = [self._text("Healthcheck", word) for word in test]
        if kind == "NONE":
            return None
        if kind == "CMD-SHELL" and len(words) == 1:
            words = ["/bin/sh", "-c", *words]
        elif kind != "CMD" or not words:
            self._fail(f"has {_short(test)} as the Test of its Healthcheck: expected CMD or CMD-SHELL")
        self._require_name(words[0])
        retries = value.get("Retries") or 3
        if type(retries) is not int or not 0 < retries <= 1000:
            self._fail(f"has {_short(retries)} as Retries of its Healthcheck: expected 1 to 1000")
        return HealthCheck(
            command=tuple(words),
            interval=self._seconds(value, "Interval", 30),
            timeout=self._seconds(value, "Timeout", 30),
            start=self._seconds(value, "StartPeriod", 0),
            retries=retries,
        )

    def _seconds(self, value: Mapping[str, Any], key: str, default: int) -> int:
        """Whole seconds of nanoseconds, at least one."""
        nanoseconds = value.get(key) or default * _SECOND
        if type(nanoseconds) is not int or not 0 <= nanoseconds <= 7 * 86400 * _SECOND:
            self._fail(
                f"has {_short(nanoseconds)} as {key} of its Healthcheck: expected nanoseconds, a week at most"
            )
        return -(-nanoseconds // _SECOND)

    def _program(self, word: str, path: str, directory: str, volumes: Sequence[str]) -> str:
        """Where a program lies, as execvp(3) finds it."""
        self._require_name(word)
        if "/" in word:
            places = [posixpath.join(directory, word)]
        else:
            places = [posixpath.join(directory, part or ".", word) for part in path.split(":")]
        plain = ""
        for place in places:
            node = find(self._root, place.encode(errors="surrogateescape"))
            if node is None or not stat.S_ISREG(node.mode):
                continue
            if node.mode & 0o111:
                return place
            plain = plain or place
        if plain:
            self._fail(
                f"runs {_short(word)}, but {_short(plain)} is not executable",
                hint=f"make it so in the image: RUN chmod +x {plain}",
            )
        if any(PurePosixPath(places[0]).is_relative_to(volume) for volume in volumes):
            return places[0]  # what it will hold is not known
        return self._fail(
            f"runs {_short(word)}, which is no program in it",
            hint="no directory of PATH has it: " + path if "/" not in word else "Entrypoint and Cmd name it",
        )

    def _require_name(self, word: str) -> None:
        """env(1), which starts programs, takes a word with `=` for a variable."""
        if not word or "=" in word:
            self._fail(f"runs {_short(word)}: expected the name of a program, without `=`")

    def _fail(self, problem: str, *, hint: str = "") -> NoReturn:
        raise ImageError(f"the image {self._name} {problem}", hint=hint or "correct it in the image")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _length(text: str) -> int:
    """In bytes; -1 for what has none: half of a pair of surrogates, which JSON may hold."""
    try:
        return len(_bytes(text))
    except UnicodeEncodeError:
        return -1


def _is_needed(path: str) -> bool:
    """Whether a machine needs what is at a path, links followed, as it is."""
    system = (f"/{name}" for name in _OF_THE_SYSTEM)
    return path in ("/", *_NOT_KEPT, *system) or PurePosixPath(path).is_relative_to(_OF_DIBO)


def _short(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


INITS: Final = ("/sbin/init", "/usr/sbin/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd", "/init")


def has_own_init(config: Mapping[str, Any], root: Node) -> bool:
    """Whether an image is a whole system: it says that it runs an init, or says nothing and has one."""
    words = command_words(config)
    if words:
        return words[0] in INITS
    return find(root, "/sbin/init") is not None


def command_words(config: Mapping[str, Any]) -> list[str]:
    """Entrypoint and Cmd of an image, unchecked: what is no text is left out."""
    run = config.get("config")
    run = run if isinstance(run, dict) else {}
    return [
        word
        for value in (run.get("Entrypoint"), run.get("Cmd"))
        for word in (value if isinstance(value, list) else [value])
        if isinstance(word, str) and word
    ]
