"""What a step sees: exactly what its key covers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dibo.build.context import ExtraFiles, Runner, command, mount_point, stage, substitute
from dibo.errors import FlavourError
from dibo.flavours.files import read_tree
from dibo.flavours.loader import Catalogue
from dibo.flavours.model import FlavourFile
from dibo.flavours.stack import make_stack
from dibo.plan.keys import Document, KeyInputs, step_documents
from dibo.plan.recipe import Recipe, Step, make_recipe
from tests.support.flavours import read_recipe, write_flavour

TIME = 1_793_491_200


@pytest.fixture
def flavours(tmp_path: Path) -> Path:
    directory = tmp_path / "flavours"
    write_flavour(directory, "net", ["install.d/10-net", "files/net.conf"], yaml="environment: {NET: lan}\n")
    write_flavour(directory, "stranger", ["install.d/15-stranger", "files/secret"])
    write_flavour(
        directory,
        "web",
        ["install.d/20-one", "install.d/data", "first-boot.d/10-boot", "files/a/b"],
        yaml="needs: [net]\npackages: {debian: ['nginx-$FLAVOUR', x], default: []}\n"
        'environment: {FLAVOUR: full, QUOTED: "it\'s $HOME"}\n',
    )
    return directory


@pytest.fixture
def recipe(flavours: Path) -> Recipe:
    return read_recipe(flavours, "stranger", "web")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "context").mkdir(mode=0o700)
    return tmp_path / "context"


def step_of(recipe: Recipe, title: str) -> Step:
    return next(step for step in recipe.steps if step.title.startswith(title))


def staged(
    recipe: Recipe, title: str, target: Path, extra: ExtraFiles | None = None
) -> dict[str, FlavourFile]:
    step = step_of(recipe, title)
    stage(step, recipe, runner=Runner(), extra=extra or ExtraFiles(), time=TIME, target=target)
    return {file.path: file for file in read_tree(target)}


def made(directory: Path, **files: str) -> tuple[Path, tuple[FlavourFile, ...]]:
    for name, text in files.items():
        path = directory / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory, read_tree(directory)


def ingredients(recipe: Recipe, title: str, extra: ExtraFiles) -> Document:
    inputs = KeyInputs(runner=Runner().digest, epoch="", extra=extra.values)
    documents = step_documents(recipe, base_key="", inputs=inputs)
    return documents[recipe.steps.index(step_of(recipe, title))][1]


def test_the_tree_is_what_the_key_covers(recipe: Recipe, target: Path, tmp_path: Path) -> None:
    extra = ExtraFiles({"net": made(tmp_path / "x", keys="k"), "stranger": made(tmp_path / "y", secret="s")})
    files = staged(recipe, "web install.d: 20", target, extra)
    document = ingredients(recipe, "web install.d: 20", extra)
    covered: dict[str, list[object]] = {}
    for name, listed in document["files"].items():  # type: ignore[attr-defined]
        prefix = "" if name == "web" else f"flavours/{name}/"
        covered |= {prefix + path: rest for path, *rest in listed}
    for listed in document["extra-data"].values():  # type: ignore[attr-defined]
        covered |= {path: rest for path, *rest in listed}
    covered |= {
        f".dibo/{file.path}": [file.kind.value, file.executable, file.digest] for file in Runner().files
    }
    described = {f".dibo/step/{name}" for name in ("phase", "flavour", "hooks", "environment", "time")}
    assert set(files) == set(covered) | described
    for path, rest in covered.items():
        assert [files[path].kind.value, files[path].executable, files[path].digest] == rest, path


def test_bytecode_that_installing_made_is_in_no_key(tmp_path: Path) -> None:
    modules = tmp_path / "runner" / "lib"
    modules.mkdir(parents=True)
    (modules / "module.py").touch()
    before = Runner(tmp_path / "runner")
    for directory in (modules, tmp_path / "runner"):
        (directory / "__pycache__").mkdir()
        (directory / "__pycache__" / "module.cpython-311.pyc").touch()
    after = Runner(tmp_path / "runner")
    assert (after.digest, after.files) == (before.digest, before.files)


def test_what_describes_the_step(recipe: Recipe, target: Path) -> None:
    staged(recipe, "web install.d: packages", target)
    step = target / ".dibo" / "step"
    assert (step / "phase").read_text() == "install.d\n"
    assert (step / "flavour").read_text() == "web\n"
    assert (step / "packages").read_text() == "debian\tnginx-full x\ndefault\t\n"
    assert (step / "hooks").read_text() == ""
    assert (step / "environment").read_text().splitlines() == [
        "export ARCH=amd64",
        "export FLAVOUR=full",
        "export NET=lan",
        "export QUOTED='it'\"'\"'s $HOME'",
    ]


def test_a_place_at_first_boot(recipe: Recipe, target: Path) -> None:
    files = staged(recipe, "web first-boot.d", target)
    assert (target / ".dibo" / "step" / "place").read_text() == "002\n"
    assert ".dibo/step/packages" not in files


def test_every_step_is_told_the_latest_time_of_its_layer(recipe: Recipe, target: Path) -> None:
    staged(recipe, "web install.d: 20", target)
    told = target / ".dibo" / "step" / "time"
    assert told.read_text() == f"{TIME}\n"
    assert told.stat().st_mtime_ns == TIME * 10**9  # what files are compared with


def test_an_epoch_that_is_no_date_tells_no_time(recipe: Recipe, target: Path) -> None:
    stage(recipe.steps[-1], recipe, runner=Runner(), extra=ExtraFiles(), time=None, target=target)
    assert list((target / ".dibo" / "step").iterdir()) == []


def test_the_last_step_sees_only_the_runner(recipe: Recipe, target: Path) -> None:
    files = staged(recipe, "finalise", target)
    assert set(files) == {".dibo/step/time", *(f".dibo/{file.path}" for file in Runner().files)}
    assert mount_point(recipe.steps[-1]) == "/mnt"
    assert command(recipe.steps[-1]) == ("/mnt/.dibo/finalise",)
    assert command(recipe.steps[0]) == ("/tmp/in_target.d/.dibo/run",)


def test_modes_whatever_the_umask(recipe: Recipe, target: Path, flavours: Path) -> None:
    (flavours / "web" / "install.d" / "data").chmod(0o600)
    before = os.umask(0o077)
    try:
        staged(recipe, "web install.d: 20", target)
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o7777 == 0o755
    for path in target.rglob("*"):
        assert path.stat().st_mode & 0o7777 == (
            0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644
        ), path
    assert (target / "install.d" / "data").stat().st_mode & 0o7777 == 0o644


@pytest.mark.parametrize("path", ["web/install.d/data", "net/files/net.conf"])
def test_a_file_that_changes_between_reading_and_staging(
    recipe: Recipe, target: Path, flavours: Path, path: str
) -> None:
    (flavours / path).write_text("changed")
    with pytest.raises(FlavourError, match=f"{path} changed while dibo was reading it"):
        staged(recipe, "web install.d: 20", target)


def test_a_flavour_that_changes_after_it_was_copied(flavours: Path, tmp_path: Path, target: Path) -> None:
    stack = make_stack(["web"], Catalogue([flavours], copies=tmp_path / "copies").get, architecture="amd64")
    recipe = make_recipe(stack, architecture="amd64", environment=stack.environment(lambda _: None))
    before = (flavours / "web" / "install.d" / "data").read_text()
    (flavours / "web" / "README.md").write_text("changed")
    (flavours / "web" / "install.d" / "data").write_text("changed")
    (flavours / "web" / "install.d" / "20-one").unlink()
    staged(recipe, "web install.d: 20", target)
    assert (target / "install.d" / "data").read_text() == before


def test_a_file_that_is_gone(recipe: Recipe, target: Path, flavours: Path) -> None:
    (flavours / "web" / "install.d" / "data").unlink()
    with pytest.raises(FlavourError, match=r"cannot read .*data"):
        staged(recipe, "web install.d: 20", target)


def test_extra_data_of_two_flavours_with_one_name(recipe: Recipe, target: Path, tmp_path: Path) -> None:
    extra = ExtraFiles({"net": made(tmp_path / "x", key="1"), "web": made(tmp_path / "y", key="2")})
    with pytest.raises(
        FlavourError, match=r"key, which an extra-data.d hook of 'web' made, is also in 'net'"
    ):
        staged(recipe, "web install.d: 20", target, extra)


def test_extra_data_replaces_a_file_of_its_own_flavour(recipe: Recipe, target: Path, tmp_path: Path) -> None:
    extra = ExtraFiles({"web": made(tmp_path / "x", files__a__b="new")})
    staged(recipe, "web install.d: 20", target, extra)
    assert (target / "files" / "a" / "b").read_text() == "new"


def test_extra_data_replaces_no_file_of_another_flavour(recipe: Recipe, target: Path, tmp_path: Path) -> None:
    extra = ExtraFiles({"net": made(tmp_path / "x", files__a__b="new")})
    with pytest.raises(FlavourError, match="hook of 'net' made, is also in 'web'"):
        staged(recipe, "web install.d: 20", target, extra)


def test_extra_data_that_is_a_file_here_and_a_directory_there(
    recipe: Recipe, target: Path, tmp_path: Path
) -> None:
    extra = ExtraFiles({"net": made(tmp_path / "x", keys="1"), "web": made(tmp_path / "y", keys__one="2")})
    with pytest.raises(FlavourError, match="a file here and a directory there"):
        staged(recipe, "web install.d: 20", target, extra)
    extra = ExtraFiles({"web": made(tmp_path / "z", files="1")})
    (target.parent / "again").mkdir()
    with pytest.raises(FlavourError, match="a file here and a directory there"):
        staged(recipe, "web install.d: 20", target.parent / "again", extra)


@pytest.mark.parametrize("path", [".dibo/run", "flavours/net/files/net.conf"])
def test_names_that_are_dibo_s(flavours: Path, target: Path, path: str) -> None:
    write_flavour(flavours, "web", [path])
    with pytest.raises(FlavourError, match=f"{path} of the flavour 'web' cannot be seen"):
        staged(read_recipe(flavours, "web"), "web install.d: 20", target)


def test_extra_data_cannot_replace_the_runner(recipe: Recipe, target: Path, tmp_path: Path) -> None:
    directory = tmp_path / "x"
    (directory / ".dibo").mkdir(parents=True)
    (directory / ".dibo" / "run").write_text("")
    with pytest.raises(FlavourError, match=r"\.dibo is dibo's"):
        staged(recipe, "web install.d: 20", target, ExtraFiles({"net": (directory, read_tree(directory))}))


def test_the_runner_s_digest_covers_bytes_and_modes(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("1")
    digests = {Runner(tmp_path).digest}
    (tmp_path / "run").chmod(0o755)
    digests.add(Runner(tmp_path).digest)
    (tmp_path / "run").write_text("2")
    digests.add(Runner(tmp_path).digest)
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("words", "result"),
    [
        (("a", "b"), ["a", "b"]),
        (("linux-image-$KIND", "x${KIND}y"), ["linux-image-generic", "xgenericy"]),
        (("$NONE", "a"), ["a"]),
        (("$TWO",), ["one", "two"]),
    ],
)
def test_variables_in_names_of_packages(words: tuple[str, ...], result: list[str]) -> None:
    assert substitute(words, {"KIND": "generic", "NONE": "", "TWO": "one two"}) == result


def test_a_variable_that_nobody_declares() -> None:
    with pytest.raises(FlavourError, match=r"packages: \$\{X\} is no variable"):
        substitute(("${X}",), {})


def test_the_runner_is_told_of_steps_without_network(flavours: Path, target: Path) -> None:
    write_flavour(flavours, "shut", ["install.d/10-x"], yaml="network: false\n")
    assert ".dibo/step/network" in staged(read_recipe(flavours, "shut"), "shut install.d", target)
    (target / "other").mkdir()
    assert ".dibo/step/network" not in staged(
        read_recipe(flavours, "web"), "web install.d: 20", target / "other"
    )
