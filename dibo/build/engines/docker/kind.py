"""What is known of docker before it is used. The SDK is imported at first use: that takes longer than a plan."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dibo.build.engine import Engine, Setup
from dibo.build.finding import Finding, try_check
from dibo.build.sandbox import Confinement
from dibo.errors import DiboError
from dibo.system import docker_api


class DockerKind:
    """A daemon, where there is one."""

    name = "docker"
    journal_kind = "docker"

    @contextlib.contextmanager
    def open(self, setup: Setup) -> Iterator[Engine]:
        from dibo.build.engines.docker.engine import Docker

        with setup.run.scratch() as scratch, docker_api.connected(scratch=scratch) as daemon:
            yield Docker(daemon, setup)

    def seems_there(self) -> bool:
        return docker_api.seems_there()

    def why_not(self, confinement: Confinement, *, alternatives: bool) -> DiboError | None:  # noqa: ARG002 (opening it tells)
        return None

    def examine(self, confinement: Confinement) -> Iterator[Finding]:  # noqa: ARG002 (it always shuts off)
        from dibo.build.engines.docker.trial import try_daemon

        return try_check("docker", try_daemon)

    def sweep(self, value: str) -> None:
        from dibo.build.engines.docker.engine import sweep

        sweep(value)
