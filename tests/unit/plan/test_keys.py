"""The keys of layers: what changes them, and what must not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dibo.flavours.model import FlavourFile, FlavourKind
from dibo.plan import keys
from dibo.plan.keys import KeyInputs, base_document, canonical, difference, key_of, step_documents
from dibo.plan.recipe import Recipe
from tests.support.flavours import HOOK, read_recipe, write_flavour

BASE = (("kind", "file"), ("sha256", "0" * 64))
RUNNER = "1" * 64


@pytest.fixture
def flavours(tmp_path: Path) -> Path:
    directory = tmp_path / "flavours"
    write_flavour(directory, "net", ["install.d/10-net", "files/net.conf"])
    write_flavour(
        directory,
        "web",
        [
            "install.d/20-one",
            "install.d/70-two",
            "install.d/data",
            "files/x",
            "first-boot.d/10-boot",
            "first-boot.d/data",
            "extra-data.d/10-extra",
            "block-device.d/10-device",
        ],
        yaml="needs: [net]\npackages: [nginx]\nenvironment: {PORT: 80}\n",
    )
    write_flavour(directory, "other", ["install.d/50-other", "files/data", "pre-install.d/data"])
    return directory


def recipe_in(directory: Path, **chosen: str) -> Recipe:
    return read_recipe(directory, "web", "other", **chosen)


def keys_of(
    recipe: Recipe,
    *,
    base: keys.Document | None = None,
    runner: str = RUNNER,
    epoch: str = "2026-11",
    extra: dict[str, tuple[FlavourFile, ...]] | None = None,
    revisions: dict[str, str] | None = None,
) -> list[str]:
    base = base or base_document(BASE, architecture=recipe.architecture)
    inputs = KeyInputs(runner=runner, epoch=epoch, extra=extra or {}, revisions=revisions or {})
    documents = step_documents(recipe, base_key=key_of(base), inputs=inputs)
    return [key for key, _ in documents]


def first_change(before: list[str], after: list[str]) -> int:
    """The lowest layer with another key. Whatever is above it must have another one too."""
    changed = [number for number, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
    assert changed == list(range(changed[0], len(before)))
    return changed[0]


def titles_of(directory: Path) -> list[str]:
    return [step.title for step in recipe_in(directory).steps]


def test_the_steps_that_the_numbers_below_mean(flavours: Path) -> None:
    assert titles_of(flavours) == [
        "web install.d: packages",
        "net install.d: 10-net",
        "web install.d: 20-one",
        "other install.d: 50-other",
        "web install.d: 70-two",
        "web first-boot.d: 10-boot",
        "finalise",
    ]


def test_the_number_of_the_format(flavours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys_of(recipe_in(flavours))
    monkeypatch.setattr(keys, "FORMAT", 0)
    assert first_change(before, keys_of(recipe_in(flavours))) == 0


def test_base_architecture_runner_and_epoch(flavours: Path) -> None:
    recipe = recipe_in(flavours)
    before = keys_of(recipe)
    other = base_document((("kind", "file"), ("sha256", "1" * 64)), architecture="amd64")
    assert first_change(before, keys_of(recipe, base=other)) == 0
    assert first_change(before, keys_of(recipe, runner="2" * 64)) == 0
    assert first_change(before, keys_of(recipe, epoch="2026-12")) == 0
    base = base_document(BASE, architecture="amd64")
    assert (
        first_change(keys_of(recipe, base=base), keys_of(replace(recipe, architecture="arm64"), base=base))
        == 0
    )


Change = Callable[[Path], object]


def edit(path: str, text: str = "changed\n") -> Change:
    return lambda flavours: (flavours / path).write_text(HOOK + text)


CHANGES: dict[str, tuple[Change, int]] = {
    "bytes of a hook, which later steps of the flavour see too": (edit("web/install.d/20-one"), 2),
    "bytes of a hook of a flavour that is needed": (edit("net/install.d/10-net"), 1),
    "bytes of a hook of a flavour that nobody needs": (edit("other/install.d/50-other"), 3),
    "data beside hooks": (edit("web/install.d/data"), 2),
    "any other file": (edit("web/files/x"), 2),
    "a file of a flavour that is needed": (edit("net/files/net.conf"), 1),
    "a first-boot hook, which its own step alone sees": (edit("web/first-boot.d/10-boot"), 5),
    "data beside first-boot hooks": (edit("web/first-boot.d/data"), 5),
    "data of another phase in the root": (edit("other/pre-install.d/data"), 3),
    "the executable bit of a file": (lambda flavours: (flavours / "other/files/data").chmod(0o755), 3),
    "a new file": (edit("other/files/new"), 3),
    "a file that is gone": (lambda flavours: (flavours / "other/files/data").unlink(), 3),
    "a file's name": (lambda flavours: (flavours / "other/files/data").rename(flavours / "other/other"), 3),
    "the target of a link": (lambda flavours: (flavours / "other/link").symlink_to("/x"), 3),
    "a hook that a link of another phase leads to": (
        lambda flavours: (flavours / "other/files/boot").symlink_to("../install.d/50-other"),
        3,
    ),
    "a hook's name": (
        lambda flavours: (flavours / "other/install.d/50-other").rename(
            flavours / "other/install.d/51-other"
        ),
        3,
    ),
    "packages": (
        lambda flavours: (flavours / "web/flavour.yaml").write_text(
            "needs: [net]\npackages: [apache2]\nenvironment: {PORT: 80}\n"
        ),
        0,
    ),
    "a secret": (lambda flavours: (flavours / "other/flavour.yaml").write_text("secrets: [token]\n"), 3),
    "becoming local": (lambda flavours: (flavours / "other/flavour.yaml").write_text("local: true\n"), 3),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changes_a_key(flavours: Path, what: str) -> None:
    change, lowest = CHANGES[what]
    before = keys_of(recipe_in(flavours))
    change(flavours)
    assert first_change(before, keys_of(recipe_in(flavours))) == lowest


def test_the_ingredients_are_these(flavours: Path) -> None:
    recipe = recipe_in(flavours)
    documents = step_documents(recipe, base_key="0", inputs=KeyInputs(runner=RUNNER, epoch="1"))
    always = {"format", "parent", "architecture", "runner", "phase", "epoch"}
    of_flavours = {"flavour", "packages", "hooks", "files", "extra-data", "environment", "secrets", "local"}
    assert set(documents[0][1]) == always | of_flavours
    assert set(documents[-2][1]) == always | of_flavours | {"place"}
    assert set(documents[-1][1]) == always


def test_the_hooks_that_a_step_runs(flavours: Path) -> None:
    """The same files, but a hook of another flavour now comes between, so that one step became two."""
    write_flavour(flavours, "between", ["install.d/60-between"])
    write_flavour(flavours, "other", ["install.d/55-other"])
    before = read_recipe(flavours, "other")
    after = read_recipe(flavours, "other", "between")
    assert (before.steps[0].hooks, after.steps[0].hooks) == (("50-other", "55-other"),) * 2
    assert keys_of(before)[0] == keys_of(after)[0]
    write_flavour(flavours, "split", ["install.d/52-split"])
    split = read_recipe(flavours, "other", "split")
    assert split.steps[0].hooks == ("50-other",)
    assert keys_of(before)[0] != keys_of(split)[0]


def test_no_label_of_a_layer_grows_with_its_ingredients() -> None:
    """Labels are arguments of buildah, of at most 128 KiB."""
    labels = keys.labels_of_layer("k" * 64, epoch="2026-11", local=True)
    assert labels == {
        "io.dibo.key": "k" * 64,
        "io.dibo.epoch": "2026-11",
        "io.dibo.local": "true",
        "io.dibo.ingredients": "",
    }


def test_a_file_and_a_link_with_the_same_bytes_differ(flavours: Path) -> None:
    (flavours / "other" / "x").write_text("target")
    before = keys_of(recipe_in(flavours))
    (flavours / "other" / "x").unlink()
    (flavours / "other" / "x").symlink_to("target")
    assert first_change(before, keys_of(recipe_in(flavours))) == 3


def test_the_environment_that_a_step_declares(flavours: Path) -> None:
    before = keys_of(recipe_in(flavours))
    assert keys_of(recipe_in(flavours, PORT="80")) == before
    assert first_change(before, keys_of(recipe_in(flavours, PORT="8080"))) == 0
    assert keys_of(recipe_in(flavours, HOME="/x", UNDECLARED="y")) == before


def test_extra_data_of_the_flavour_and_of_what_it_needs(flavours: Path) -> None:
    recipe = recipe_in(flavours)
    before = keys_of(recipe)
    made = (FlavourFile(path="ssh-key", kind=FlavourKind.FILE, executable=False, digest="3" * 64),)
    assert first_change(before, keys_of(recipe, extra={"web": made})) == 2
    assert first_change(before, keys_of(recipe, extra={"net": made})) == 1
    assert first_change(before, keys_of(recipe, extra={"other": made})) == 3
    assert keys_of(recipe, extra={"stranger": made, "net": ()}) == before
    changed = (replace(made[0], digest="4" * 64),)
    assert (
        first_change(keys_of(recipe, extra={"other": made}), keys_of(recipe, extra={"other": changed})) == 3
    )


def test_the_place_counts_at_first_boot_and_nowhere_else(flavours: Path) -> None:
    """There it is part of a path in the image; elsewhere it only orders, and the parent's key says the order."""
    write_flavour(flavours, "quiet")
    before = dict(zip(titles_of(flavours), keys_of(recipe_in(flavours)), strict=True))
    moved = read_recipe(flavours, "quiet", "web", "other")
    after = dict(zip([step.title for step in moved.steps], keys_of(moved), strict=True))
    changed = [title for title in before if before[title] != after[title]]
    assert changed == ["web first-boot.d: 10-boot", "finalise"]


# What must not change a key


def test_times_modes_and_the_place_of_the_checkout(flavours: Path, tmp_path: Path) -> None:
    before = keys_of(recipe_in(flavours))
    moved = tmp_path / "elsewhere" / "deep" / "flavours"
    moved.mkdir(parents=True)
    for path in sorted(flavours.rglob("*"), reverse=True):  # directories list in another order
        target = moved / path.relative_to(flavours)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            shutil.copyfile(path, target)
            target.chmod(0o700 if path.stat().st_mode & 0o100 else 0o600)
            os.utime(target, (12345, 12345))
    assert keys_of(recipe_in(moved)) == before


UNCHANGING: dict[str, Change] = {
    "README.md": edit("web/README.md"),
    "summary and comments": lambda flavours: (flavours / "web/flavour.yaml").write_text(
        "# why\nsummary: another\nneeds: [net]\npackages: [nginx]\nenvironment: {PORT: 80}\n"
    ),
    "a layout": lambda flavours: (flavours / "web/layout.yaml").write_text(
        "partitions: [{name: state, type: linux, size: 1GiB, filesystem: ext4, mount: /srv}]\n"
    ),
    "vim's swap file": edit("web/install.d/.20-one.swp"),
    "an editor's backup": edit("web/install.d/20-one~"),
    "emacs's autosave": edit("web/install.d/#20-one#"),
    "emacs's lock": lambda flavours: (flavours / "web/install.d/.#20-one").symlink_to("me@here.1:2"),
    "git's own": lambda flavours: shutil.copytree(flavours / "net", flavours / "web/.git/objects"),
    "a worktree's .git": edit("web/.git"),
    "compiled modules": lambda flavours: shutil.copytree(
        flavours / "net", flavours / "web/files/__pycache__"
    ),
    "macOS's own": edit("web/files/.DS_Store"),
    "what .dibo-ignore says": lambda flavours: (
        (flavours / "web/.dibo-ignore").write_text("/tests/\n*.orig\n"),
        shutil.copytree(flavours / "net", flavours / "web/tests"),
        (flavours / "web/files/x.orig").write_text(""),
    ),
    "a hook on the host": edit("web/extra-data.d/10-extra"),
    "a hook for block devices": edit("web/block-device.d/10-device"),
}


@pytest.mark.parametrize("name", UNCHANGING)
def test_what_no_hook_can_be_influenced_by(flavours: Path, name: str) -> None:
    before = keys_of(recipe_in(flavours))
    UNCHANGING[name](flavours)
    assert keys_of(recipe_in(flavours)) == before


def test_a_hook_of_another_phase(flavours: Path) -> None:
    """To change what is configured must not install the kernel again."""
    write_flavour(flavours, "other", ["pre-install.d/10-kernel"])
    before = keys_of(recipe_in(flavours))
    edit("other/install.d/50-other")(flavours)
    assert titles_of(flavours)[4] == "other install.d: 50-other"
    assert first_change(before, keys_of(recipe_in(flavours))) == 4


def test_a_link_to_a_hook_of_another_phase_brings_it_into_sight(flavours: Path) -> None:
    write_flavour(flavours, "other", ["pre-install.d/10-kernel"])
    (flavours / "other" / "install.d" / "helper.sh").symlink_to("../pre-install.d/10-kernel")
    documents = step_documents(recipe_in(flavours), base_key="0", inputs=KeyInputs(runner=RUNNER, epoch="1"))
    seen = {
        str(document["phase"]): [file[0] for file in document["files"]["other"]]  # type: ignore[index]
        for _, document in documents
        if document.get("flavour") == "other"
    }
    assert "pre-install.d/10-kernel" in seen["install.d"]
    assert "install.d/50-other" not in seen["pre-install.d"]


def test_a_private_file_of_extra_data(flavours: Path) -> None:
    recipe = recipe_in(flavours)
    made = FlavourFile(path="key", kind=FlavourKind.FILE, executable=False, digest="3" * 64)
    before = keys_of(recipe, extra={"other": (made,)})
    assert first_change(before, keys_of(recipe, extra={"other": (replace(made, private=True),)})) == 3


def test_values_of_variables_are_in_no_ingredient(flavours: Path) -> None:
    recipe = recipe_in(flavours, PORT="hunter2")
    documents = step_documents(recipe, base_key="0", inputs=KeyInputs(runner=RUNNER, epoch="1"))
    texts = "".join(canonical(document) for _, document in documents)
    assert "PORT" in texts
    assert "hunter2" not in texts


def test_secrets_count_by_name_or_by_revision(flavours: Path) -> None:
    (flavours / "other" / "flavour.yaml").write_text("secrets: [token, {name: licence, rebuild: true}]\n")
    recipe = recipe_in(flavours)
    before = keys_of(recipe, revisions={"licence": "1", "token": "1"})
    assert keys_of(recipe, revisions={"licence": "1", "token": "2"}) == before
    assert first_change(before, keys_of(recipe, revisions={"licence": "2"})) == 3


def test_empty_directories(flavours: Path) -> None:
    """git has none, and no context has any."""
    before = keys_of(recipe_in(flavours))
    (flavours / "web" / "empty").mkdir()
    assert keys_of(recipe_in(flavours)) == before


def test_a_flavour_that_only_adds_later_hooks_leaves_all_lower_layers_alone(flavours: Path) -> None:
    write_flavour(flavours, "late", ["install.d/60-late", "first-boot.d/10-late"])
    before = keys_of(recipe_in(flavours))
    after = keys_of(read_recipe(flavours, "web", "other", "late"))
    assert after[:4] == before[:4]
    assert not set(after[4:]) & set(before)


# The way a document is written


def test_separators_forge_nothing(flavours: Path) -> None:
    """Where values are joined by a separator, a value that holds it can pass for two (kaniko's issue 873)."""
    values = ["a,b", 'a","b', "a=b", "a\nb", "a b", '{"a":"b"}']
    documents: list[dict[str, object]] = [{"environment": {"X": value}} for value in values]
    documents += [{"environment": {"X": "a", "Y": "b"}}, {"environment": {"X": ["a", "b"]}}]
    documents += [{"environment": {"X": "a", '","Y': "b"}}]
    assert len({key_of(document) for document in documents}) == len(documents)


def test_one_way_to_write_a_document() -> None:
    assert canonical({"b": [True, None, 1], "a": "é\n"}) == '{"a":"\\u00e9\\n","b":[true,null,1]}'
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        canonical({"a": float("nan")})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of equal types: in Python True is 1."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@given(
    st.dictionaries(st.text(max_size=4), JSON, max_size=4),
    st.dictionaries(st.text(max_size=4), JSON, max_size=4),
)
def test_two_documents_never_have_one_text(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (canonical(one) == canonical(other)) == same(one, other)


# The difference between two documents, for people


def test_a_difference_names_the_ingredient(flavours: Path) -> None:
    def document(**chosen: str) -> keys.Document:
        recipe = recipe_in(flavours, **chosen)
        documents = step_documents(recipe, base_key="0", inputs=KeyInputs(runner=RUNNER, epoch="1"))
        return {name: value for name, value in documents[2][1].items() if name != "parent"}

    before = document()
    assert difference(before, document()) == ()
    assert difference(document(PORT="8080"), before) == ("variable PORT differs",)
    edit("web/files/x")(flavours)
    (flavours / "web" / "install.d" / "data").unlink()
    (flavours / "net" / "new").write_text("")
    assert difference(document(), before) == (
        "files.net: new is new",
        "files.web: install.d/data is gone",
        "files.web: files/x changed",
    )


def test_differences_of_lists() -> None:
    assert difference({"x": [["a", 1], ["b", 2]]}, {"x": [["b", 2], ["a", 1]]}) == ("x: another order",)
    assert difference({"x": [1]}, {"x": [2]}) == ("x: [2] -> [1]",)
    assert difference({"x": "a" * 100}, {})[0].startswith('x: null -> "aaa')
