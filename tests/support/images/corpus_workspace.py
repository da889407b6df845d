"""Where the images of the corpus are made: directories on tmpfs, a registry and a docker daemon when wanted."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.images.oracle import command
from tests.support.images.sample_tree import CHANGE, make_sample_tree
from tests.support.images.tree_entries import Tree, walk
from tests.support.requirements import need
from tests.support.servers.dockerd import Docker, dockerd
from tests.support.servers.registry import Registry, registry

MARK = ".wh."
SECOND = 1_000_000_000
"""In nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An image as dibo is told of it, and how it must look."""

    reference: str
    oracle: Callable[[], Tree]
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    not_judged: Mapping[bytes, tuple[str, ...]] = field(default_factory=dict)
    """Fields of paths where the oracle itself is wrong, which the sample says why."""


class CorpusWorkspace:
    """`directory` is the session's. `place` is emptied after each sample."""

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self.directory = directory
        self.place = directory / "place"
        self.place.mkdir()
        self._stack = stack

    @functools.cached_property
    def first(self) -> Path:
        """The tree of tests/support/images/sample_tree.py."""
        made = self.directory / "first"
        made.mkdir()
        make_sample_tree(made)
        return made

    @functools.cached_property
    def second(self) -> Path:
        """That tree, changed."""
        made = self.directory / "second"
        command("cp", "-a", self.first, made)
        change(made)
        return made

    @functools.cached_property
    def changed(self) -> tuple[Path, bytes]:
        """What a second layer must hold to make `second` of `first`: a directory with whiteouts in it, and the paths
        of that directory to pack, each ended by NUL."""
        made = self.directory / "changed"
        command("cp", "-a", self.second, made)
        before, after = walk(self.first), walk(self.second)
        paths = [path for path, entry in after.items() if before.get(path) != entry]
        for path in before.keys() - after.keys():
            directory, _, name = path.rpartition(b"/")
            if directory in after and after[directory].kind == "directory":
                whiteout = directory + b"/" + MARK.encode() + name
                Path(os.fsdecode(os.fsencode(made) + b"/" + whiteout)).touch(mode=0)
                when = after[directory].mtime
                os.utime(os.fsencode(made) + b"/" + directory, ns=(when, when))
                paths.append(whiteout)
        return made, b"".join(b"./" + path + b"\0" if path else b".\0" for path in sorted(paths))

    @functools.cached_property
    def registry(self) -> Registry:
        place = self.directory / "registry"
        place.mkdir()
        return self._stack.enter_context(registry(place))

    @functools.cached_property
    def docker(self) -> Docker:
        return self._stack.enter_context(dockerd())

    @functools.cached_property
    def umoci_image(self) -> Path:
        """An OCI layout with the image `two`: both trees, as layers that umoci made."""
        need("umoci")
        layout, bundle = self.directory / "umoci", self.directory / "bundle"
        command("umoci", "init", "--layout", layout)
        command("umoci", "new", "--image", f"{layout}:new")
        command("umoci", "unpack", "--image", f"{layout}:new", bundle)
        command("cp", "-a", f"{self.first}/.", bundle / "rootfs")
        command("umoci", "repack", "--refresh-bundle", "--image", f"{layout}:one", bundle)
        change(bundle / "rootfs")
        command("umoci", "repack", "--image", f"{layout}:two", bundle)
        shutil.rmtree(bundle)
        return layout

    def new(self, name: str) -> Path:
        """A path in `place` at which nothing is."""
        return self.place / name

    def clear(self) -> None:
        shutil.rmtree(self.place)
        self.place.mkdir()


def change(root: Path) -> None:
    command("sh", "-c", CHANGE, "sh", root)


@contextlib.contextmanager
def corpus_workspace() -> Iterator[CorpusWorkspace]:
    """On tmpfs where there is one: an ext4 that deletes much is slow to make files for half a minute."""
    top = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="dibo-corpus-", dir=top) as name, contextlib.ExitStack() as stack:
        yield CorpusWorkspace(Path(name), stack)
