"""A place where groups of elements are built, with the elements of the wheel."""

from __future__ import annotations

import contextlib
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import dib
from tests.support.host.build_env import BuildEnv, CommandResult, build_env
from tests.support.servers.registry import Registry, registry
from tests.support.wheel.build import build_group, image_of_group, steps_built, write_files
from tests.support.wheel.model import WheelGroup
from tests.support.wheel.stand_ins import write_root
from tests.support.wheel.traces import problems


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelLab:
    place: BuildEnv
    elements: Path
    """The directory of the wheel's elements."""
    registry: str
    """The host of a registry with the image `rpm:1`, or nothing."""

    @contextlib.contextmanager
    def files(self, group: WheelGroup) -> Iterator[Path]:
        """A directory with what is the group's own, which goes again."""
        directory = self.place.directory / "group"
        directory.mkdir()
        try:
            write_files(group, directory)
            yield directory
        finally:
            shutil.rmtree(directory)

    def build(self, group: WheelGroup, directory: Path) -> CommandResult:
        return build_group(group, self.place, directory, self.elements, registry=self.registry)

    def check(self, group: WheelGroup) -> None:
        """Build the group, look for its traces, and build it again: no step runs, and nothing is left behind."""
        with self.files(group) as directory:
            first = self.build(group, directory)
            assert first.code == 0, first.err[-6000:]
            missing = problems(group, image_of_group(self.place))
            assert not missing, missing
            second = self.build(group, directory)
            assert second.code == 0, second.err[-6000:]
            repeated = steps_built(second)
            assert not repeated, repeated
            image_of_group(self.place)
            left = self.place.left()
            assert not left, left


@contextlib.contextmanager
def wheel_lab(user: pwd.struct_passwd, *, images: bool = False) -> Iterator[WheelLab]:
    """A new one for `user`, removed at the end; with a registry only for `images`."""
    with build_env(user) as place, contextlib.ExitStack() as stack:
        host = stack.enter_context(_registry()).host if images else ""
        yield WheelLab(place=place, elements=dib.unpack(place.directory / "dib"), registry=host)


@contextlib.contextmanager
def _registry() -> Iterator[Registry]:
    with tempfile.TemporaryDirectory(prefix="dibo-lab-") as name:
        directory = Path(name)
        for part in ("registry", "rpm"):
            (directory / part).mkdir()
        with registry(directory / "registry") as hub:
            write_root(directory / "rpm.tar", directory / "rpm")
            hub.push_image("rpm", "1", tar=(directory / "rpm.tar").read_bytes())
            yield hub
