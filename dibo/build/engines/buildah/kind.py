"""What is known of buildah before it is used."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from dibo.build.engine import Engine, Setup
from dibo.build.engines.buildah import checks
from dibo.build.engines.buildah.engine import Buildah, remove_container
from dibo.build.finding import Finding
from dibo.build.sandbox import Confinement
from dibo.errors import DiboError
from dibo.images.sources.buildah_environment import engine_environment
from dibo.images.sources.layer_reader import LayerReader


class BuildahKind:
    """The default."""

    name = "buildah"
    journal_kind = "container"

    @contextlib.contextmanager
    def open(self, setup: Setup) -> Iterator[Engine]:
        with LayerReader(engine_environment()) as reader:
            yield Buildah(setup, reader)

    def seems_there(self) -> bool:
        return True

    def why_not(self, confinement: Confinement, *, alternatives: bool) -> DiboError | None:
        """What else can be wrong, a build meets with a better error than this could be."""
        try:
            checks.require_version()
            if os.geteuid() != 0:
                checks.require_subordinate_ids()
            if alternatives:
                checks.require_namespace()
                checks.require_sandbox(confinement)
        except DiboError as error:
            return error
        return None

    def examine(self, confinement: Confinement) -> Iterator[Finding]:
        return checks.examine(confinement)

    def sweep(self, value: str) -> None:
        remove_container(value)
