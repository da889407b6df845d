"""Which engine builds, and what is said where none does. Engines here are stand-ins in the table's place."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from dibo.build.engine import Engine, EngineKind, Setup
from dibo.build.engines import choose
from dibo.build.engines.names import NAMES
from dibo.build.engines.sweeping import sweepers
from dibo.build.engines.table import ENGINES
from dibo.build.finding import Finding
from dibo.build.sandbox import Confinement
from dibo.errors import DiboError, EngineError, ToolMissing, UsageError
from dibo.system.report import Report
from dibo.system.workspace import Run


class Kind:
    """An engine that works, cannot be opened (`broken`), or cannot build (`reason`)."""

    def __init__(
        self, name: str, *, reason: DiboError | None = None, broken: DiboError | None = None
    ) -> None:
        self.name, self.journal_kind = name, f"{name}-thing"
        self._reason, self._broken = reason, broken

    @contextlib.contextmanager
    def open(self, setup: Setup) -> Iterator[Engine]:
        if self._broken is not None:
            raise self._broken
        yield cast("Any", self)

    def seems_there(self) -> bool:
        return True

    def why_not(self, confinement: Confinement, *, alternatives: bool) -> DiboError | None:
        assert alternatives
        return self._reason

    def examine(self, confinement: Confinement) -> Iterator[Finding]:
        yield Finding(title=self.name, works=True)

    def sweep(self, value: str) -> None: ...


def use(monkeypatch: pytest.MonkeyPatch, *kinds: Kind) -> None:
    table: tuple[EngineKind, ...] = kinds
    monkeypatch.setattr(choose, "ENGINES", table)


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def setup(tmp_path: Path, said: io.StringIO) -> Setup:
    return Setup(run=Run("test", tmp_path), report=Report(stream=said))


def opened(name: str, setup: Setup) -> str:
    with choose.engine(name, setup) as engine:
        return engine.name


def test_every_engine_has_a_name_and_things_of_its_own() -> None:
    assert (
        len({kind.name for kind in ENGINES}) == len({kind.journal_kind for kind in ENGINES}) == len(ENGINES)
    )
    assert tuple(kind.name for kind in ENGINES) == NAMES
    assert set(sweepers()) == {*(kind.journal_kind for kind in ENGINES), "loop"}


def test_a_name_that_is_no_engine(setup: Setup) -> None:
    with pytest.raises(UsageError, match="'podman' is no engine dibo knows") as caught:
        opened("podman", setup)
    assert caught.value.hint == "--engine takes buildah, docker, auto"


def test_auto_takes_the_first_that_works(
    monkeypatch: pytest.MonkeyPatch, setup: Setup, said: io.StringIO
) -> None:
    use(monkeypatch, Kind("one", reason=EngineError("no room")), Kind("two"), Kind("three"))
    assert opened("auto", setup) == "two"
    assert "building with two, since one does not work here: no room" in said.getvalue()
    assert opened("three", setup) == "three"


def test_none_that_works(monkeypatch: pytest.MonkeyPatch, setup: Setup) -> None:
    missing = ToolMissing("one is not installed", hint="apt install one")
    use(monkeypatch, Kind("one", reason=missing), Kind("two", broken=EngineError("nobody answers")))
    with pytest.raises(ToolMissing, match="no engine works here: neither one nor two") as caught:
        opened("auto", setup)
    assert caught.value.hint == "one: one is not installed\n  apt install one\ntwo: nobody answers"


def test_what_doctor_needs_is_what_auto_would_take(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Kind("one", reason=EngineError("no room")), Kind("two"))
    assert [finding.needed for finding in choose.examine("auto", Confinement())] == [False, True]
    assert [finding.title for finding in choose.examine("one", Confinement())] == ["one"]


def test_an_absent_engine_says_why_and_gives_no_directory() -> None:
    engine = choose.absent(EngineError("no room"))
    assert not engine.gives_directory
    with pytest.raises(EngineError, match="no room"):
        engine.held()


def test_a_name_that_is_nearly_one(setup: Setup) -> None:
    with pytest.raises(UsageError, match="'bildah' is no engine dibo knows; did you mean 'buildah'"):
        opened("bildah", setup)
