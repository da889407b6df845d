"""`--watch` with real notifications: what builds again, what does not, and what an error does."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dibo.api.settings import current_settings
from dibo.api.watching.watch import WatchedBuild, follow, snapshot, watch
from dibo.artefacts.manifest import FORMAT
from dibo.cli.main import dibo
from dibo.errors import HookFailed, ToolMissing, UsageError
from dibo.settings.settings import Options, Settings
from dibo.system.report import Report
from tests.support.flavours import write_flavour
from tests.unit.elements.test_loader import write as write_element

pytestmark = pytest.mark.slow

SH = "#!/bin/sh\n"
PAUSE = 0.5
"""Seconds between what must not count and what must: the first would have been noticed by then."""


class Enough(BaseException):
    """Ends the watch."""


class Builds:
    """What stands for a build: each is given to a function of its own; after the last the watch ends."""

    def __init__(self, place: Path, *steps: Callable[[], None]) -> None:
        self.flavours = place / "flavours"
        self.stream = io.StringIO()
        self.report = Report(self.stream, environment={})
        self.refreshed: list[bool] = []
        self._steps = steps

    def __call__(self, settings: Settings) -> None:
        self.refreshed.append(settings.refresh)
        if len(self.refreshed) > len(self._steps):
            raise Enough
        self._steps[len(self.refreshed) - 1]()

    def watch(self, *files: Path, refresh: bool = False) -> str:
        """What was said until the end."""
        options = Options(
            flavours=("web",), with_base=False, flavours_path=(str(self.flavours),), refresh=refresh
        )
        with pytest.raises(Enough):
            watch(current_settings(options, {}), self.report, self, files=files)
        return self.stream.getvalue()


def later(action: Callable[[], object]) -> None:
    """Once the watch waits."""

    def act() -> None:
        time.sleep(PAUSE)
        action()

    threading.Thread(target=act).start()


@pytest.fixture
def hook(tmp_path: Path) -> Path:
    flavour = write_flavour(tmp_path / "flavours", "web", {"install.d/10-web": SH, "README.md": "about\n"})
    return flavour / "install.d/10-web"


def test_a_changed_hook_builds_again_and_what_is_in_no_key_does_not(tmp_path: Path, hook: Path) -> None:
    def edit() -> None:
        (hook.parent / ".10-web.swp").write_text("swap")
        (hook.parent / "10-web~").write_text("backup")
        (hook.parents[1] / ".git").mkdir()
        (hook.parents[1] / ".git/index").write_text("x")
        (hook.parents[1] / "README.md").write_text("more\n")
        (hook.parents[2] / "unrelated").mkdir()
        hook.write_text(SH)
        time.sleep(PAUSE)
        hook.write_text(SH + "true\n")

    builds = Builds(tmp_path, lambda: later(edit))
    said = builds.watch(refresh=True)
    assert said.splitlines() == ["watching for changes; ^C ends it", "", "changed: web/install.d/10-web"]
    assert builds.refreshed == [True, False], "every layer is built anew once"


def test_a_changed_script_of_an_element_builds_again(tmp_path: Path) -> None:
    write_element(tmp_path / "elements", "os", element_provides="operating-system", root_d_10_os=SH)
    options = Options(flavours=("os",), with_base=False)
    settings = current_settings(options, {"ELEMENTS_PATH": str(tmp_path / "elements")})
    script = tmp_path / "elements/os/root.d/10-os"
    builds = Builds(tmp_path, lambda: later(lambda: script.write_text(f"{SH}true\n")))
    with pytest.raises(Enough):
        watch(settings, builds.report, builds)
    assert "changed: os/root.d/10-os" in builds.stream.getvalue()


def test_errors_are_shown_and_watching_goes_on(tmp_path: Path, hook: Path) -> None:
    manifest = hook.parents[1] / "flavour.yaml"

    def fail() -> None:
        later(lambda: manifest.write_text("needs: {\n"))
        raise HookFailed("10-web ended with 1")

    def read() -> None:
        later(lambda: manifest.write_text("needs: []\nenvironment: {SITE: x}\n"))
        raise HookFailed(snapshot(settings, []).problem)

    options = Options(flavours=("web",), with_base=False, flavours_path=(str(hook.parents[2]),))
    settings = current_settings(options, {})
    said = Builds(tmp_path, fail, read).watch()
    assert "error: 10-web ended with 1" in said
    assert "flavour.yaml" in said.split("error: ")[2]
    assert said.count("watching for changes") == 2


def test_a_change_during_a_build_ends_it_between_two_steps(tmp_path: Path, hook: Path) -> None:
    ended: list[str] = []

    def build() -> None:
        with builds.report.task("first layer"):
            hook.write_text(SH + "true\n")
            time.sleep(2 * PAUSE)
        while True:
            with builds.report.task("next layer"):
                ended.append("next")
                time.sleep(0.1)

    builds = Builds(tmp_path, build)
    said = builds.watch()
    assert "first layer: done" in said
    assert "the build begins anew" in said and "changed: web/install.d/10-web" in said
    assert "watching" not in said


def test_a_layout_that_an_editor_replaces(tmp_path: Path, hook: Path) -> None:
    layout = tmp_path / "elsewhere/server.yaml"
    layout.parent.mkdir()
    layout.write_text("table: gpt\n")

    def replace() -> None:
        (layout.parent / "beside.yaml").write_text("x")
        layout.with_suffix(".new").write_text("table: mbr\n")
        layout.with_suffix(".new").replace(layout)

    assert hook.exists()
    assert "changed: server.yaml" in Builds(tmp_path, lambda: later(replace)).watch(layout)


@pytest.mark.usefixtures("hook")
@pytest.mark.parametrize("error", [UsageError, ToolMissing])
def test_what_no_change_mends_ends_it(tmp_path: Path, error: type[Exception]) -> None:
    def fail() -> None:
        raise error("no")

    with pytest.raises(error):
        Builds(tmp_path, fail).watch()


@pytest.mark.usefixtures("hook")
def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(ToolMissing, match="watchfiles") as caught:
        Builds(tmp_path).watch()
    assert "pip install watchfiles" in caught.value.hint


@pytest.mark.parametrize("words", [("--json", "web"), ("--kit", "cloud")])
def test_what_does_not_go_together(words: tuple[str, ...]) -> None:
    assert dibo(["build", "--watch", *words]) == 2


def test_a_file_that_says_what_is_built(tmp_path: Path, hook: Path) -> None:
    """It is read again after each change: another epoch, an error, and right again."""
    file, stream, epochs = tmp_path / "elsewhere/dibo.yaml", io.StringIO(), []
    file.parent.mkdir()
    file.write_text("2026-01")
    texts = iter(["broken", "2026-02"])

    def read() -> WatchedBuild:
        if file.read_text() == "broken":
            raise UsageError("the file is broken")
        options = Options(
            flavours=("web",), with_base=False, flavours_path=(str(hook.parents[2]),), epoch=file.read_text()
        )
        return WatchedBuild(settings=current_settings(options, {}), build=build, files=(file,))

    def build(settings: Settings) -> None:
        epochs.append(settings.epoch)
        if len(epochs) > 1:
            raise Enough

    def edit() -> None:
        for number, text in enumerate(texts, start=1):
            while stream.getvalue().count("watching for changes") < number:
                time.sleep(0.05)
            file.write_text(text)

    later(edit)
    with pytest.raises(Enough):
        follow(read, Report(stream, environment={}))
    assert epochs == ["2026-01", "2026-02"]
    assert stream.getvalue().count("error: the file is broken") == 1
    assert stream.getvalue().count("changed: dibo.yaml") == 2


@pytest.mark.parametrize("manifest", [{"image": {"name": "oci:x"}, "disk": {}}, {"ramdisk": {}}])
def test_only_disks_of_flavours_are_followed(
    tmp_path: Path, manifest: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "web.raw").touch()
    described = {"format": FORMAT, "artefacts": [{"type": "raw", "name": "web.raw"}], **manifest}
    (tmp_path / "web.manifest.json").write_text(json.dumps(described))
    cache = str(tmp_path / "cache")
    assert dibo(["boot", "--watch", "--cache-dir", cache, str(tmp_path / "web.raw")]) == 64
    assert "built of flavours" in capsys.readouterr().err
    assert dibo(["boot", "--watch", "--write", str(tmp_path / "web.raw")]) == 2
