"""Files that flavours list under `fetch`: fetched once, checked, and laid out for the steps that see them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dibo.build import fetched_files as fetching
from dibo.build.context import ExtraFiles, Runner, stage
from dibo.build.fetched_files import FetchedFiles, FileRequest, requests_of_stack, requests_of_steps
from dibo.errors import DiboError, FlavourError, Unreachable, VerificationFailed
from dibo.flavours.files import read_files
from dibo.flavours.model import FetchedFile
from dibo.plan.keys import KeyInputs, step_documents
from dibo.plan.recipe import Recipe, Step
from dibo.system.report import Report
from dibo.system.retry import RetryPolicy
from tests.support.flavours import read_recipe, read_stack, write_flavour
from tests.support.input_store import MemoryInputs
from tests.support.servers.fake_web_server import FakeWebServer
from tests.support.timeouts import wait_until

BODY = b"#!/bin/sh\necho tool\n"
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def web() -> Iterator[FakeWebServer]:
    with FakeWebServer() as server:
        server.site.files["/tool"] = BODY
        yield server


@pytest.fixture
def files(tmp_path: Path) -> FetchedFiles:
    return store(tmp_path / "fetched")


def store(directory: Path, *, offline: bool = False) -> FetchedFiles:
    directory.mkdir(exist_ok=True)
    policy = RetryPolicy(connect=5.0, pauses=())
    return FetchedFiles(directory=directory, policy=policy, offline=offline, report=Report(quiet=True))


def tool(*urls: str, sha256: str = SHA, name: str = "tool") -> FileRequest:
    return FileRequest(flavour="web", file=FetchedFile(name=name, sha256=sha256, executable=True, urls=urls))


def test_it_is_fetched_once(web: FakeWebServer, files: FetchedFiles, tmp_path: Path) -> None:
    path = files.bring(tool(f"{web.url}/tool"))
    assert path == tmp_path / "fetched" / f"sha256-{SHA}-tool"
    assert path.read_bytes() == BODY
    assert files.bring(tool(f"{web.url}/elsewhere", name="other")) == path
    assert store(tmp_path / "fetched", offline=True).bring(tool(f"{web.url}/tool")) == path
    assert web.site.paths() == ["/tool"]


def test_a_store_is_asked_before_the_addresses(web: FakeWebServer, files: FetchedFiles) -> None:
    inputs = MemoryInputs(files={SHA: BODY})
    assert replace(files, store=inputs).bring(tool(f"{web.url}/tool")).read_bytes() == BODY
    assert (web.site.paths(), inputs.asked) == ([], ["early"])


def test_a_store_is_asked_again_for_what_is_gone(web: FakeWebServer, files: FetchedFiles) -> None:
    inputs = MemoryInputs(files={SHA: BODY}, only_urgent=True)
    assert replace(files, store=inputs).bring(tool(f"{web.url}/gone")).read_bytes() == BODY
    assert (web.site.paths(), inputs.asked) == (["/gone"], ["early", "urgent"])


def test_offline_asks_no_store(tmp_path: Path) -> None:
    inputs = MemoryInputs(files={SHA: BODY})
    with pytest.raises(Unreachable):
        replace(store(tmp_path / "other", offline=True), store=inputs).bring(tool("http://127.0.0.1:9/x"))
    assert inputs.asked == []


def test_what_was_damaged_here_is_fetched_again(web: FakeWebServer, files: FetchedFiles) -> None:
    path = files.bring(tool(f"{web.url}/tool"))
    path.write_bytes(b"damaged")
    assert files.bring(tool(f"{web.url}/tool")).read_bytes() == BODY
    assert web.site.paths() == ["/tool", "/tool"]


def test_the_first_address_counts_that_has_it(web: FakeWebServer, files: FetchedFiles) -> None:
    web.site.files["/other"] = b"other"
    urls = [f"{web.url}/{name}" for name in ("gone", "other", "tool", "never")]
    assert files.bring(tool(*urls)).read_bytes() == BODY
    assert web.site.paths() == ["/gone", "/other", "/tool"]


def test_another_digest_is_one_error_with_both(web: FakeWebServer, files: FetchedFiles) -> None:
    wanted = "ab" * 32
    with pytest.raises(VerificationFailed) as caught:
        files.bring(tool(f"{web.url}/gone", f"{web.url}/tool", sha256=wanted))
    message = caught.value.message
    for part in (
        "the flavour 'web' cannot have tool",
        f"{web.url}/tool has the sha256 {SHA}, wanted {wanted}",
    ):
        assert part in message
    assert not [path for path in files.directory.iterdir() if not path.name.startswith(".")]


def test_what_is_gone(web: FakeWebServer, files: FetchedFiles) -> None:
    with pytest.raises(FlavourError, match=r"answered 404 .*; it is gone, and not in the cache") as caught:
        files.bring(tool(f"{web.url}/gone"))
    assert "changes no key" in caught.value.hint


def test_a_server_that_cannot_be_reached(files: FetchedFiles) -> None:
    with pytest.raises(Unreachable, match=r"the flavour 'web' cannot have tool: http://127.0.0.1:1/tool"):
        files.bring(tool("http://127.0.0.1:1/tool"))


def test_offline_is_told_before_anything_is_built(web: FakeWebServer, tmp_path: Path) -> None:
    offline = store(tmp_path / "fetched", offline=True)
    with pytest.raises(Unreachable, match=rf"stay offline: tool of the flavour 'web' \({web.url}/tool\)"):
        offline.require([tool(f"{web.url}/tool")])
    assert web.site.asked == []
    store(tmp_path / "fetched").bring(tool(f"{web.url}/tool"))
    offline.require([tool(f"{web.url}/tool")])


def test_a_file_that_is_too_large(
    web: FakeWebServer, files: FetchedFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "LARGEST", 5)
    with pytest.raises(FlavourError, match="is larger than 5 B"):
        files.bring(tool(f"{web.url}/tool"))


def test_files_are_fetched_beside_other_work(web: FakeWebServer, files: FetchedFiles) -> None:
    more = {f"/{number}": f"{number}".encode() for number in range(9)}
    web.site.files |= more
    wanted = [
        tool(f"{web.url}{path}", sha256=hashlib.sha256(body).hexdigest(), name=path[1:])
        for path, body in more.items()
    ]
    with files.ahead(wanted):
        wait_until(lambda: len(web.site.asked) == len(wanted), "all are fetched, though nobody asked")
        assert [files.bring(entry).read_bytes() for entry in wanted] == list(more.values())
    files.raise_failures()
    assert len(web.site.asked) == len(wanted)


def test_a_failure_ahead_is_told_before_the_next_step(web: FakeWebServer, files: FetchedFiles) -> None:
    def told() -> DiboError | None:
        try:
            files.raise_failures()
        except DiboError as error:
            return error
        return None

    with files.ahead([tool(f"{web.url}/tool", sha256="ab" * 32)]):
        wait_until(lambda: isinstance(told(), VerificationFailed), "the failure is told")


def test_what_nobody_needs_any_longer_is_given_up(web: FakeWebServer, files: FetchedFiles) -> None:
    web.site.files["/slow"] = bytes(1 << 20)
    web.site.inject("/slow", "trickle:1000")
    with pytest.raises(KeyError), files.ahead([tool(f"{web.url}/slow")]):
        wait_until(lambda: bool(web.site.asked), "the download has begun")
        raise KeyError("the step failed")
    assert not [path for path in files.directory.iterdir() if not path.name.startswith(".")]


# Steps


@pytest.fixture
def recipe(web: FakeWebServer, tmp_path: Path) -> Recipe:
    entry = f"fetch: [{{url: '{web.url}/tool', sha256: {SHA}, mode: '0755'}}]\n"
    write_flavour(tmp_path / "flavours", "web", ["pre-install.d/10-x", "install.d/10-x"], yaml=entry)
    write_flavour(tmp_path / "flavours", "on-it", ["install.d/20-x"], yaml="needs: [web]\npackages: [x]\n")
    return read_recipe(tmp_path / "flavours", "on-it")


def step_of(recipe: Recipe, title: str) -> Step:
    return next(step for step in recipe.steps if step.title == title)


def test_where_hooks_find_it(recipe: Recipe, files: FetchedFiles, tmp_path: Path) -> None:
    places = {"web install.d: 10-x": "fetched/tool", "on-it install.d: 20-x": "flavours/web/fetched/tool"}
    for number, (title, place) in enumerate(places.items()):
        target = tmp_path / f"context-{number}"
        target.mkdir()
        step = step_of(recipe, title)
        stage(step, recipe, runner=Runner(), extra=ExtraFiles(), time=None, target=target)
        files.place(step, target)
        assert (target / place).read_bytes() == BODY
        assert (target / place).stat().st_mode & 0o777 == 0o755
        assert (target / place).stat().st_nlink == 1
        assert (target / place).parent.stat().st_mode & 0o777 == 0o755
        environment = (target / ".dibo/step/environment").read_text()
        assert ("export DIBO_FETCHED=/tmp/in_target.d/fetched\n" in environment) == (number == 0)


def test_extra_data_cannot_take_its_place(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "made" / "fetched").mkdir(parents=True)
    (tmp_path / "made" / "fetched" / "tool").write_text("other")
    extra = ExtraFiles({"web": (tmp_path / "made", read_files(tmp_path / "made"))})
    (tmp_path / "context").mkdir()
    with pytest.raises(FlavourError, match=r"/tmp/in_target.d/fetched is dibo's"):
        stage(
            step_of(recipe, "web install.d: 10-x"),
            recipe,
            runner=Runner(),
            extra=extra,
            time=None,
            target=tmp_path / "context",
        )


def test_who_wants_it(recipe: Recipe) -> None:
    assert [(entry.flavour, entry.file.name) for entry in requests_of_steps(recipe.steps)] == [
        ("web", "tool")
    ]
    assert [bool(step.fetched) for step in recipe.steps] == [True, False, True, True, False]
    assert requests_of_stack(recipe.stack, "amd64") == requests_of_steps(recipe.steps)


def keys_of(recipe: Recipe) -> list[str]:
    inputs = KeyInputs(runner="cd" * 32, epoch="2026-11")
    return [key for key, _ in step_documents(recipe, base_key="ef" * 32, inputs=inputs)]


@pytest.mark.parametrize(
    ("before", "after", "moves"),
    [
        ("/tool'", "/elsewhere', name: tool", False),
        (SHA, "ab" * 32, True),
        ("0755", "0644", True),
        ("/tool'", "/tool', name: other", True),
        ("/tool'", "/tool', architectures: [arm64]", True),
    ],
)
def test_what_is_in_keys(before: str, after: str, moves: bool, recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "flavours" / "web" / "flavour.yaml"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    new = read_recipe(tmp_path / "flavours", "on-it")
    assert (keys_of(new) != keys_of(recipe)) == moves
    assert read_stack(tmp_path / "flavours", "web").get("web").fetch
