"""What a build says at its end, and the events on its way, are those of the schema."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from dibo.api.documents import JsonEvents, artefacts
from dibo.api.image import image_answer
from dibo.api.json_schema import DOCUMENTS, EVENTS, JSON_SCHEMA
from dibo.errors import HookFailed
from dibo.system.report import History, Report
from dibo.system.summary import summary_fields, summary_text
from dibo.system.task import BUILT, CACHED, PULLED, LayerOutcome, Task
from dibo.system.terminal import cells
from tests.support.schemas import validate

KEYS = [f"{number:064x}" for number in range(3)]
REGISTRY = "registry.example/team/cache"


def build(report: Report) -> None:
    """As a build with a cache does it: a layer here, one pulled, one built, and a disk."""
    report.layer(LayerOutcome(key=KEYS[0], title="base debian:trixie", origin=CACHED))
    with report.task("vm pre-install.d: 50-grub from x") as task:
        task.progress(3 << 20, 4 << 20)
        task.note("4 MiB pulled")
    report.layer(
        LayerOutcome(
            key=KEYS[1], title="vm pre-install.d: 50-grub", origin=PULLED, registry=REGISTRY, task=task.number
        )
    )
    with report.task("[3/3] web install.d: 漢字") as task:
        task.running("10-site")
        task.line("output of \x1b[31mthe hook")
    report.layer(LayerOutcome(key=KEYS[2], title="web install.d: 漢字", origin=BUILT, task=task.number))
    with report.task("disk") as task:
        task.note("491 MiB of files on 2 GiB")
        with report.task("mkfs.xfs data"), report.task("sha256", minor=True):
            pass
    report.say("stored 1 layer")
    report.warn("something is odd")


def history() -> History:
    report = Report(io.StringIO())
    build(report)
    return report.history


def without_times(text: str) -> list[str]:
    return [line.rpartition("  ")[0].rstrip() if line.endswith(" s") else line for line in text.splitlines()]


def test_the_table() -> None:
    assert without_times(summary_text(history(), columns=None)) == [
        "base debian:trixie         cached",
        "vm pre-install.d: 50-grub  from registry.example/team/cache",
        "web install.d: 漢字        built",
        "disk                       491 MiB of files on 2 GiB",
        "total                      3 layers: 1 cached, 1 pulled, 1 built",
    ]


@pytest.mark.parametrize("columns", [200, 80, 60, 40, 20, 5])
def test_the_table_fits_a_terminal(columns: int) -> None:
    lines = summary_text(history(), columns=columns).splitlines()
    assert len(lines) == 5
    assert all(cells(line) < columns for line in lines)
    if columns < 80:
        assert "…" in lines[1]
    if columns >= 60:
        assert lines[0].startswith("base debian:trixie  ")


@pytest.mark.parametrize("columns", [None, 200, 60, 20, 5])
def test_the_name_of_an_image_is_never_cut(columns: int | None) -> None:
    converted = history()
    converted.image = f"registry.example/team/a-long-name-of-an-image@sha256:{'0' * 64}"
    name = f"registry.example/team/a-long-name-of-an-image@sha256:{'0' * 12}"
    assert name in summary_text(converted, columns=columns)
    rest = summary_text(history(), columns=columns).splitlines()
    if columns is not None and columns < 200:
        assert summary_text(converted, columns=columns).splitlines()[-5:] == rest


def test_nothing_done_is_nothing_to_say() -> None:
    assert summary_text(History(), columns=80) == ""


def test_the_values_are_those_of_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "web.qcow2"
    path.write_bytes(b"x" * 5000)
    (tmp_path / "web.qcow2.sha256").write_text(f"{'ab' * 32}  web.qcow2\n")
    (tmp_path / "web.raw").write_bytes(b"")
    made = artefacts([path, tmp_path / "web.raw"], history())
    for document in (made.document, image_answer("localhost/web", history()).document):
        validate(document, JSON_SCHEMA)
        validate(document, DOCUMENTS[document["document"]])
    assert [file["sha256"] for file in made.document["artefacts"]] == ["ab" * 32, None]
    first, second = made.text.splitlines()
    assert first.startswith(f"{path}  (")
    assert first.endswith(f", sha256:{'ab' * 6})")
    assert second.startswith(f"{tmp_path}/web.raw    (")


def test_values_of_layers_and_steps() -> None:
    fields = summary_fields(history())
    assert [(layer["origin"], layer["registry"]) for layer in fields["layers"]] == [
        (CACHED, None),
        (PULLED, REGISTRY),
        (BUILT, None),
    ]
    assert [layer["took"] is None for layer in fields["layers"]] == [True, False, False]
    assert [(step["step"], step["within"]) for step in fields["steps"]] == [
        (1, None),
        (2, None),
        (3, None),
        (4, 3),
        (5, 4),
    ]


def events(*, verbose: bool = False, quiet: bool = False, error: bool = True) -> list[dict[str, Any]]:
    stream = io.StringIO()
    report = Report(sink=JsonEvents(stream, verbose=verbose, quiet=quiet))
    build(report)
    if error:
        report.error(HookFailed("a hook failed", hint="| out of luck"))
    documents = [json.loads(line) for line in stream.getvalue().splitlines()]
    for document in documents:
        validate(document, JSON_SCHEMA)
        validate(document, (DOCUMENTS | EVENTS)[document["document"]])
    return documents


def test_events() -> None:
    documents = events()
    names = [document["document"] for document in documents]
    assert names == [
        *("layer", "step-started", "step-ended", "layer", "step-started", "step-ended", "layer"),
        *("step-started", "step-started", "step-started", "step-ended", "step-ended", "step-ended"),
        *("message", "warning", "error"),
    ]
    assert documents[3]["registry"] == REGISTRY
    assert documents[3]["step"] == documents[1]["step"]
    assert documents[-1]["error"]["kind"] == "HookFailed"


def test_output_is_events_with_x() -> None:
    lines = [document["line"] for document in events(verbose=True) if document["document"] == "step-output"]
    assert lines == ["10-site", "output of \x1b[31mthe hook"]


def test_quiet_events() -> None:
    assert [document["document"] for document in events(quiet=True)] == ["warning", "error"]


def test_bytes_are_events_that_do_not_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stream = io.StringIO()
    report = Report(sink=JsonEvents(stream, verbose=False, quiet=False))
    with report.task("read") as task:
        for done in range(1000):
            now[0] += 0.01
            task.progress(done << 20, 1000 << 20)
    documents = [json.loads(line) for line in stream.getvalue().splitlines()]
    progress = [document for document in documents if document["document"] == "step-progress"]
    assert len(progress) in (18, 19, 20), "two in each of ten seconds"
    assert progress[-1]["total"] == 1000 << 20
    assert progress[-1]["rate"] in range(99 << 20, 102 << 20)
    for document in documents:
        validate(document, JSON_SCHEMA)


def test_quiet_is_quiet() -> None:
    stream = io.StringIO()
    report = Report(stream, quiet=True)
    build(report)
    report.error(HookFailed("a hook failed"))
    assert stream.getvalue() == "dibo: warning: something is odd\ndibo: error: a hook failed\n"


def test_a_thread_without_a_task_speaks_for_that_of_the_command() -> None:
    import threading

    report = Report(io.StringIO(), verbose=True)
    seen: list[Task | None] = []

    def upload() -> None:
        seen.append(report.current)
        with report.task("send", minor=True) as task:
            assert task.within is None
            seen.append(report.current)

    with report.task("install") as install:
        thread = threading.Thread(target=upload)
        thread.start()
        thread.join()
        assert report.current is install
    assert seen[0] is install
    assert seen[1] is not None
    assert seen[1].title == "send"
