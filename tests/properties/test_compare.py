"""Comparing: an image is like itself, and the other way round is the mirror image."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from dibo.contents.compare import CompareOptions, compare
from dibo.contents.comparison import Comparison, FileChange
from dibo.contents.read import ReadRequest, open_pair
from dibo.images.sources.choose import choose_image
from dibo.system.report import Report
from dibo.system.workspace import Workspace

_NAMES = st.sampled_from(["etc/a", "etc/b", "var/log/x", "usr/bin/c", "etc/passwd", "d/e/f", "d"])
_FILES = st.tuples(
    st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE]),
    st.sampled_from([b"", b"1", b"2", b"root:x:0:0:::\n"]),
    st.sampled_from([0o644, 0o755, 0o4755]),
    st.sampled_from([0, 1000]),
)
_ROOTS = st.dictionaries(_NAMES, _FILES, max_size=5)


def _write(path: Path, root: dict[str, tuple[bytes, bytes, int, int]]) -> str:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("as-ever"))
        for name, (kind, data, mode, owner) in root.items():
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid = kind, mode, owner, owner
            info.linkname = f"to{data.decode()!r}" if kind == tarfile.SYMTYPE else ""
            info.size = len(data) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def _compared(names: tuple[str, str], directory: Path) -> Comparison:
    with Workspace(directory / "cache").run() as run:
        request = ReadRequest(
            run=run,
            report=Report(quiet=True),
            open_image=lambda name, scratch: choose_image(name, architecture="amd64", scratch=scratch),
            hashes=True,
        )
        with open_pair(names, request) as pair:
            return compare(*pair, CompareOptions(noise=True, times=True))


def _mirrored(change: FileChange) -> tuple[object, ...]:
    return (change.path, change.after, change.before, change.aspects, -change.growth)


@settings(max_examples=40, deadline=None)
@given(_ROOTS, _ROOTS)
def test_comparison_is_symmetric(
    first: dict[str, tuple[bytes, bytes, int, int]], second: dict[str, tuple[bytes, bytes, int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        a, b = _write(directory / "a.tar", first), _write(directory / "b.tar", second)
        assert not _compared((a, a), directory).differs
        there, back = _compared((a, b), directory), _compared((b, a), directory)
    assert [_mirrored(change) for change in back.files] == [
        (change.path, change.before, change.after, change.aspects, change.growth) for change in there.files
    ]
    assert there.differs == back.differs
    assert [(p.name, p.after, p.before) for p in back.users] == [
        (p.name, p.before, p.after) for p in there.users
    ]
