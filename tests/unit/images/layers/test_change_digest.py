"""Digests of what layers change: the same for the same change, however an engine writes it; another for any other."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dibo.images.layers.change_digest import Ledger
from dibo.images.layers.load import LoadOptions, load
from tests.support.images.tar_layers import MemorySink, directory, file, hardlink, header, layer, pax, symlink

D, F, S, H = directory, file, symlink, hardlink
OPAQUE = F(b"d/.wh..wh..opq")
Parts = Sequence[bytes]
BELOW: Parts = (
    D(b"d"),
    F(b"d/a", b"1"),
    F(b"d/b", b"2"),
    D(b"d/e"),
    F(b"d/e/f", b"3"),
    S(b"s", b"d"),
    F(b"x", b"x"),
)


def digests(*stack: Parts, built: bool = True) -> list[str]:
    memory, ledger = MemorySink(), Ledger(built=built)
    load([layer(*parts) for parts in stack], memory, LoadOptions(ledger=ledger))
    return ledger.digests


def upper(parts: Parts, *, built: bool = True) -> str:
    return digests(BELOW, parts, built=built)[1]


NOTHING = upper(())

SAME: dict[str, tuple[Parts, Parts]] = {
    "another order": ((F(b"a", b"1"), F(b"b", b"2")), (F(b"b", b"2"), F(b"a", b"1"))),
    "names of owners": ((F(b"a", b"1"),), (F(b"./a", b"1", tail=b"", magic=b"ustar  \0"),)),
    "marks of overlays": ((D(b"n"),), (pax((b"SCHILY.xattr.user.overlay.origin", b"")), D(b"n"))),
    "a new directory is opaque": ((D(b"n"), F(b"n/a")), (D(b"n"), F(b"n/.wh..wh..opq"), F(b"n/a"))),
    "a directory replaced": (
        (D(b"d"), F(b"d/.wh.a"), F(b"d/.wh.b"), F(b"d/.wh.e"), F(b"d/c")),
        (D(b"d"), OPAQUE, F(b"d/c")),
    ),
    "a directory replaced in one that is": (
        (D(b"d"), OPAQUE, D(b"d/e"), F(b"d/e/g")),
        (D(b"d"), F(b"d/.wh.a"), F(b"d/.wh.b"), F(b"d/e/.wh.f"), D(b"d/e"), F(b"d/e/g")),
    ),
    "a touched directory": ((), (D(b"d"), D(b"d/e"))),
    "a file written again": ((), (D(b"d"), F(b"d/a", b"1"))),
    "a whiteout of nothing": ((), (F(b".wh.nothing"), F(b"d/.wh.nothing"))),
    "which name is the first": ((F(b"h", b"1"), H(b"i", b"h")), (F(b"i", b"1"), H(b"h", b"i"))),
    "what is in run and tmp": ((D(b"run"), D(b"tmp")), (D(b"run"), F(b"run/x"), D(b"tmp"), F(b"tmp/.wh.y"))),
    "docker's mark": ((), (F(b".dockerenv"),)),
    "the root": ((), (D(b"./", 0o555),)),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_the_same_change(one: Parts, other: Parts) -> None:
    assert upper(one) == upper(other)


ANOTHER: dict[str, Parts] = {
    "other bytes": (F(b"d/a", b"2"),),
    "more bytes": (F(b"d/a", b"11"),),
    "a mode": (F(b"d/a", b"1", mode=0o600),),
    "an owner": (F(b"d/a", b"1", uid=7),),
    "a group": (F(b"d/a", b"1", gid=7),),
    "a time": (F(b"d/a", b"1", mtime=7),),
    "an attribute": (pax((b"SCHILY.xattr.user.x", b"y")), F(b"d/a", b"1")),
    "a mode of a directory": (D(b"d", 0o700),),
    "a new file": (F(b"d/c", b"1"),),
    "a new file without bytes": (F(b"d/c"),),
    "a file is gone": (F(b"d/.wh.a"),),
    "another one is gone": (F(b"d/.wh.b"),),
    "all of a directory is gone": (OPAQUE,),
    "a directory is gone": (F(b".wh.d"),),
    "another target": (S(b"s", b"e"),),
    "a file in place of a link": (F(b"s", b"d"),),
    "a file in place of a directory": (F(b"d", b"1"),),
    "a directory in place of a file": (D(b"x"),),
    "a second name": (F(b"d/a", b"1"), H(b"d/c", b"d/a")),
    "a second name of what is below": (H(b"d/c", b"d/a"),),
    "a device": (header(b"null", b"3", device=(1, 3)),),
    "another device": (header(b"null", b"3", device=(1, 5)),),
}


def test_another_change_has_another_digest() -> None:
    found = {name: upper(parts) for name, parts in ANOTHER.items()}
    assert len({NOTHING, *found.values()}) == len(ANOTHER) + 1, found


def test_files_that_a_higher_layer_hides_count() -> None:
    assert digests((F(b"a", b"1"),), (F(b"a", b"3"),))[0] != digests((F(b"a", b"2"),), (F(b"a", b"3"),))[0]


def test_a_hole_is_zeros() -> None:
    sparse = pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"70000"))
    data = b"1\n69999\n1\n".ljust(512, b"\0") + b"x"
    assert upper((sparse, F(b"h", data))) == upper((F(b"h", bytes(69_999) + b"x"),))


def test_of_an_image_of_others_everything_counts() -> None:
    assert upper((D(b"run"), F(b"run/x")), built=False) != upper((D(b"run"),), built=False)


def test_a_known_digest() -> None:
    """What docs/reference/manifest.md says, computed by hand: a change here changes the digests of all layers."""
    import hashlib

    line = b'["a","file","644",0,0,0,{},1,"%s"]\n' % hashlib.sha256(b"1").hexdigest().encode()
    assert digests((F(b"a", b"1"),)) == [f"sha256:{hashlib.sha256(line).hexdigest()}"]
