"""The application of an image as files in its tree, which the kit's init reads (converters/kit).

    /usr/lib/dibo/service/run        becomes the application; its arguments are variables that come before the image's
    /usr/lib/dibo/service/health     the same of the health check, where there is one
    /usr/lib/dibo/service/conf       numbers and words for the supervisor, as shell variables
    /usr/lib/dibo/service/volumes    paths, one a line

All are shell scripts or read by one, so every value of the image is quoted: within single quotes a shell knows no
special character but the quote itself (POSIX.1-2017, Shell Command Language, 2.2.2). The environment is set by env(1)
after the user was changed: names that are none to a shell pass as well, and LD_PRELOAD means no program of the kit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from dibo.kits.manifest import KIT
from dibo.kits.service import Service

SERVICE: Final = PurePosixPath("/usr/lib/dibo/service")
STOP_SECONDS: Final = 30
"""How long an application may take to stop. Docker's 10 s are too few for databases."""


def quoted(text: str) -> str:
    """A word for a shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def service_files(service: Service, *, restart: str) -> Mapping[PurePosixPath, bytes]:
    """`restart` is always, on-failure or never."""
    files = {SERVICE / "run": _script(service, service.command), SERVICE / "conf": _conf(service, restart)}
    if service.health is not None:
        files[SERVICE / "health"] = _script(service, service.health.command)
    if service.volumes:
        files[SERVICE / "volumes"] = "".join(f"{path}\n" for path in service.volumes)
    return {path: text.encode(errors="surrogateescape") for path, text in files.items()}


def _script(service: Service, command: Sequence[str]) -> str:
    user = service.user
    groups = f"--groups {','.join(map(str, user.groups))}" if user.groups else "--clear-groups"
    variables = [f"{name}={value}" for name, value in service.environment.items()]
    return "\n".join(
        [
            f"#!{KIT}/bin/sh",
            "# Made of the image's configuration by dibo.",
            f"cd {quoted(service.directory)} || exit 126",
            f"exec {KIT}/bin/setpriv --reuid {user.uid} --regid {user.gid} {groups} -- \\",
            f"\t{KIT}/bin/env -i \\",
            *(f"\t{quoted(variable)} \\" for variable in variables),
            '\t"$@" \\',
            *(f"\t{quoted(word)} \\" for word in command[:-1]),
            f"\t{quoted(command[-1])}",
            "",
        ]
    )


def _conf(service: Service, restart: str) -> str:
    values: dict[str, object] = {
        "restart": restart,
        "stop_signal": service.stop_signal,
        "stop_seconds": STOP_SECONDS,
        "user_id": service.user.uid,
        "ports": quoted(" ".join(service.ports)),
    }
    if (health := service.health) is not None:
        values |= {
            "health_interval": max(1, health.interval),
            "health_timeout": max(1, health.timeout),
            "health_start": health.start,
            "health_retries": health.retries,
        }
    return "".join(f"{name}={value}\n" for name, value in values.items())
