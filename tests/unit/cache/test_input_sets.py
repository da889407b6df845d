"""Input files of layers in a registry: stored, summed up, checked, removed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dibo.cache import input_sets, maintenance
from dibo.cache.input_files import RegistryInputs
from dibo.cache.input_sets import InputSet, InputWriter, sets_of, tag_of
from dibo.cache.lookup import CacheRepository
from dibo.cache.verify import verify
from dibo.errors import RegistryError
from dibo.flavours.model import FetchedFile
from dibo.images.reference import ImageName, parse_repository
from dibo.plan.input_files import InputFile
from dibo.plan.keys import KeyInputs
from dibo.plan.packages import ArchivePackage, Resolution
from dibo.plan.plan import make_plan
from dibo.plan.recipe import Recipe, Step
from dibo.system.report import Report
from dibo.trust.policy import Trust
from tests.support.flavours import read_recipe, write_flavour
from tests.support.servers.fake_registry import FakeRegistry

pytestmark = pytest.mark.usefixtures("pauses")

CONTENTS = {"tool_1_all.deb": b"a tool", "library_1_all.deb": b"a library"}


def file_of(name: str) -> InputFile:
    return InputFile(sha256=hashlib.sha256(CONTENTS[name]).hexdigest(), name=name)


SET = InputSet(files=tuple(sorted(map(file_of, CONTENTS))))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def remote_of(name: ImageName) -> CacheRepository:
    return CacheRepository(name=name, architecture="amd64", report=Report(quiet=True))


def writer_of(
    name: ImageName, directory: Path, *others: CacheRepository, check_cancelled: bool = False
) -> InputWriter:
    def find(file: InputFile) -> Path | None:
        path = directory / file.name
        return path if path.exists() else None

    def check() -> None:
        if check_cancelled:
            raise KeyboardInterrupt

    return InputWriter(remote_of(name), others, find=find, check_cancelled=check)


def test_another_machine_reads_what_one_stored(server: FakeRegistry, name: ImageName, here: Path) -> None:
    writer = writer_of(name, here)
    writer.store(SET)
    assert (writer.stored, writer.sent) == (2, sum(map(len, CONTENTS.values())))
    for file in SET.files:
        assert RegistryInputs([remote_of(name)]).bring(file, here / "read")
        assert (here / "read").read_bytes() == CONTENTS[file.name]
    _, body = server.state.manifests["cache", tag_of(SET.name)]
    layers = json.loads(body)["layers"]
    titles = [layer["annotations"]["org.opencontainers.image.title"] for layer in layers]
    assert sorted(titles) == sorted(CONTENTS)


def test_a_set_that_is_there_costs_one_question(server: FakeRegistry, name: ImageName, here: Path) -> None:
    writer_of(name, here).store(SET)
    server.state.asked.clear()
    writer = writer_of(name, here)
    writer.store(SET)
    writer.store(SET)
    assert server.state.requests() == [f"HEAD /v2/cache/manifests/{tag_of(SET.name)}"]


def test_a_file_that_is_there_is_not_sent_again(server: FakeRegistry, name: ImageName, here: Path) -> None:
    writer_of(name, here).store(InputSet(files=SET.files[:1]))
    (here / SET.files[0].name).unlink()
    writer = writer_of(name, here)
    writer.store(SET)
    assert writer.stored == 1
    assert ("cache", tag_of(SET.name)) in server.state.manifests


def test_a_set_with_a_file_that_is_nowhere_is_not_stored(
    server: FakeRegistry, name: ImageName, here: Path
) -> None:
    (here / SET.files[0].name).write_bytes(b"damaged")
    writer_of(name, here).store(SET)
    assert server.state.manifests == {}


def test_a_file_is_taken_over_from_another_repository(
    server: FakeRegistry, name: ImageName, here: Path
) -> None:
    other = parse_repository(f"{server.host}/other")
    writer_of(other, here).store(SET)
    writer = writer_of(name, here, remote_of(other))
    writer.store(SET)
    assert writer.stored == 0
    assert ("cache", tag_of(SET.name)) in server.state.manifests


def test_what_stops_it_leaves_no_manifest(server: FakeRegistry, name: ImageName, here: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        writer_of(name, here, check_cancelled=True).store(SET)
    assert server.state.manifests == {}


def test_a_registry_that_refuses(server: FakeRegistry, name: ImageName, here: Path) -> None:
    server.state.always("POST", 403)
    with pytest.raises(RegistryError):
        writer_of(name, here).store(SET)


def test_they_are_of_dibo_and_summed_up(name: ImageName, here: Path) -> None:
    writer_of(name, here).store(SET)
    writer_of(name, here).store(InputSet(files=SET.files[:1]))
    now = datetime.now(tz=UTC)
    contents = maintenance.contents(name, now=now)
    assert contents.others == ()
    assert len(contents.inputs) == 2
    assert input_sets.total_size(contents.inputs) == sum(map(len, CONTENTS.values()))
    assert "0 layers, 0 B in all; input files of 2 layers, 15 B" in maintenance.describe(contents, now=now)


def test_they_go_with_age(server: FakeRegistry, name: ImageName, here: Path) -> None:
    writer_of(name, here).store(SET)
    now = datetime.now(tz=UTC)
    contents = maintenance.contents(name, now=now)
    assert maintenance.doomed_inputs(contents, older_than=1, kept=(), now=now) == ()
    later = now + timedelta(days=2)
    assert maintenance.doomed_inputs(contents, older_than=1, kept=[SET.name], now=later) == ()
    doomed = maintenance.doomed_inputs(contents, older_than=1, kept=(), now=later)
    assert doomed == maintenance.doomed_inputs(contents, older_than=None, kept=(), now=now)
    input_sets.remove(name, doomed)
    assert server.state.manifests == {}


def test_one_with_a_tag_that_is_not_of_dibo_stays(server: FakeRegistry, name: ImageName, here: Path) -> None:
    writer_of(name, here).store(SET)
    server.state.manifests["cache", "mine"] = server.state.manifests["cache", tag_of(SET.name)]
    assert maintenance.contents(name, now=datetime.now(tz=UTC)).inputs == ()


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"layers": [{"digest": 1}]}', b'{"layers": 3}'])
def test_what_is_no_set_is_none(server: FakeRegistry, name: ImageName, body: bytes) -> None:
    server.state.manifests["cache", tag_of("ab" * 32)] = ("", body)
    assert maintenance.contents(name, now=datetime.now(tz=UTC)).inputs == ()


def test_a_damaged_file_is_found(server: FakeRegistry, name: ImageName, here: Path) -> None:
    writer_of(name, here).store(SET)
    assert verify(name, Trust(), on_progress=lambda _: None) == (0, ())
    digest = f"sha256:{file_of('tool_1_all.deb').sha256}"
    server.state.blobs["cache", digest] = b"b tool"
    _, faults = verify(name, Trust(), on_progress=lambda _: None)
    assert [line.partition(":")[2][:4] for line in faults] == [digest[7:11]]


def package_of(name: str) -> ArchivePackage:
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return ArchivePackage(name=name, version="1", architecture="all", sha256=sha256, size=1, path=name)


def test_which_layers_have_some(tmp_path: Path) -> None:
    write_flavour(tmp_path, "plain", {"install.d/50-hook": "#!/bin/sh\n"}, yaml="packages: [tool]\n")
    write_flavour(tmp_path, "private", {"install.d/60-hook": "#!/bin/sh\n"}, yaml="local: true\n")
    recipe = read_recipe(tmp_path, "plain", "private")
    file = FetchedFile(name="data", sha256="ab" * 32, executable=False, urls=("https://host/data",))
    steps = tuple(_with_inputs(step, file) for step in recipe.steps)
    plan = make_plan(
        Recipe(stack=recipe.stack, architecture=recipe.architecture, steps=steps),
        base_name="debian",
        base_ingredients=(),
        inputs=KeyInputs(runner="", epoch=""),
        held=lambda _: False,
        resolution=Resolution(base=(package_of("libc"),)),
    )
    names = {key: [file.name for file in entry.files] for key, entry in sets_of(plan).items()}
    local = [planned.step.local for planned in plan.steps].index(True)
    assert local > 0
    assert names[plan.base_key] == ["libc_1_all.deb"]
    assert set(names) <= {plan.base_key, *(planned.key for planned in plan.steps[:local])}
    assert sorted(name for listed in names.values() for name in listed) == [
        "data",
        "libc_1_all.deb",
        "plain_1_all.deb",
    ]


def _with_inputs(step: Step, file: FetchedFile) -> Step:
    if step.packages:
        return replace(step, resolved=(package_of(step.flavour),))
    return replace(step, fetched=((step.flavour, (file,)),)) if step.hooks else step
