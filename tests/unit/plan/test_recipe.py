"""The steps of a build: phase by phase, by (name, place of the flavour), folded into layers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dibo.flavours.model import Flavour, Hook, Phase
from dibo.flavours.stack import make_stack
from dibo.plan.recipe import FINALISE, Recipe, make_recipe, with_packages
from tests.support.flavours import flavour, read_recipe, titles, write_flavour


def test_a_whole_recipe(tmp_path: Path) -> None:
    write_flavour(
        tmp_path,
        "a",
        ["pre-install.d/50-sources", "install.d/10-first", "install.d/20-second", "install.d/60-last"],
        yaml="packages: [a]\n",
    )
    write_flavour(
        tmp_path,
        "b",
        [
            "pre-install.d/10-early",
            "install.d/20-second",
            "install.d/30-more",
            "first-boot.d/10-x",
            "first-boot.d/9-y",
        ],
        yaml="packages: [b]\nneeds: [a]\nenvironment: {PORT: 80}\n",
    )
    write_flavour(tmp_path, "c", ["first-boot.d/5-z", "block-device-size.d/10-size", "extra-data.d/10-data"])
    recipe = read_recipe(tmp_path, "b", "c", PORT="8080")
    assert titles(recipe) == [
        "b pre-install.d: 10-early",
        "a pre-install.d: 50-sources",
        "a install.d: packages",
        "b install.d: packages",
        "a install.d: 10-first, 20-second",
        "b install.d: 20-second, 30-more",
        "a install.d: 60-last",
        "b first-boot.d: 10-x, 9-y",
        "c first-boot.d: 5-z",
        FINALISE,
    ]
    steps = {step.title: step for step in recipe.steps}
    assert steps["b install.d: packages"].visible == ("a",)
    assert steps["b install.d: packages"].environment == (("PORT", "8080"),)
    assert steps["a install.d: packages"].environment == ()
    assert [step.place for step in recipe.steps if step.flavour == "c"] == [2]


def test_packages_are_a_step_of_their_own_that_sees_no_file(tmp_path: Path) -> None:
    """To change a hook must not install them again."""
    write_flavour(tmp_path, "a", ["install.d/10-x"], yaml="packages: [a]\n")
    recipe = read_recipe(tmp_path, "a")
    assert titles(recipe) == ["a install.d: packages", "a install.d: 10-x", FINALISE]
    assert [step.seen for step in recipe.steps] == [(), ("a",), ()]


def test_names_sort_as_text_in_the_c_locale(tmp_path: Path) -> None:
    """As run-parts sorts them, so that flavours of the first days keep their order."""
    write_flavour(
        tmp_path, "a", [f"install.d/{name}" for name in ("9-n", "20-b", "100-h", "10-a", "10-B", "10-_")]
    )
    (step, _) = read_recipe(tmp_path, "a").steps
    assert step.hooks == ("10-B", "10-_", "10-a", "100-h", "20-b", "9-n")


def test_an_empty_stack_is_finalised_all_the_same(tmp_path: Path) -> None:
    write_flavour(tmp_path, "a")
    assert titles(read_recipe(tmp_path, "a")) == [FINALISE]


def test_local_and_all_above_it(tmp_path: Path) -> None:
    write_flavour(tmp_path, "a", ["install.d/10-a", "install.d/90-z"])
    write_flavour(tmp_path, "keys", ["install.d/50-keys"], yaml="local: true\n")
    recipe = read_recipe(tmp_path, "a", "keys")
    assert [step.local for step in recipe.steps] == [False, True, True, True]
    assert recipe.local
    assert not read_recipe(tmp_path, "a").local


def test_a_local_flavour_without_hooks_makes_nothing_local(tmp_path: Path) -> None:
    write_flavour(tmp_path, "a", ["install.d/10-a"])
    write_flavour(tmp_path, "keys", yaml="local: true\n")
    assert not read_recipe(tmp_path, "keys", "a").local


def test_a_step_that_sees_a_local_flavour_is_local(tmp_path: Path) -> None:
    """Its hooks can copy what the local flavour's extra-data.d hooks made, its packages read its variables."""
    write_flavour(tmp_path, "keys", ["extra-data.d/10-key"], yaml="local: true\nenvironment: {PROXY: ''}\n")
    write_flavour(tmp_path, "between", yaml="needs: [keys]\n")
    write_flavour(tmp_path, "web", ["install.d/20-x"], yaml="needs: [between]\npackages: [x]\n")
    write_flavour(tmp_path, "a", ["pre-install.d/10-a"], yaml="packages: [a]\n")
    recipe = read_recipe(tmp_path, "a", "web")
    assert {step.title: step.local for step in recipe.steps} == {
        "a pre-install.d: 10-a": False,
        "a install.d: packages": False,
        "web install.d: packages": True,
        "web install.d: 20-x": True,
        FINALISE: True,
    }


def test_first_boot_hooks_are_only_copied_and_see_nothing_else(tmp_path: Path) -> None:
    write_flavour(tmp_path, "keys", ["extra-data.d/10-key"], yaml="local: true\nenvironment: {PROXY: ''}\n")
    write_flavour(tmp_path, "web", ["first-boot.d/20-x"], yaml="needs: [keys]\nsecrets: [token]\n")
    step = read_recipe(tmp_path, "web").steps[0]
    assert (step.visible, step.environment, step.secrets, step.local) == ((), (), (), False)


HOOKS = st.lists(
    st.tuples(
        st.sampled_from([Phase.PRE_INSTALL, Phase.INSTALL]),
        st.builds("{}-{}".format, st.integers(0, 30), st.sampled_from(["a", "b", "B", "_"])),
    ),
    unique=True,
    max_size=6,
)


@st.composite
def stacks(draw: st.DrawFn) -> tuple[Flavour, ...]:
    flavours = []
    for number in range(draw(st.integers(1, 4))):
        hooks = tuple(Hook(phase=phase, name=name) for phase, name in draw(HOOKS))
        packages = (("default", ("x",)),) if draw(st.booleans()) else ()
        flavours.append(flavour(f"f{number}", hooks=hooks, packages=packages))
    return tuple(flavours)


def recipe_of(flavours: tuple[Flavour, ...]) -> Recipe:
    known = {each.name: each for each in flavours}
    stack = make_stack(known, known.__getitem__, architecture="amd64")
    return make_recipe(stack, architecture="amd64", environment={})


@given(stacks())
def test_every_hook_runs_once_in_order(flavours: tuple[Flavour, ...]) -> None:
    ran = [
        (list(Phase).index(Phase(step.phase)), name, step.place)
        for step in recipe_of(flavours).steps[:-1]
        for name in (*(("",) if step.packages else ()), *step.hooks)
    ]
    wanted = [
        (list(Phase).index(hook.phase), hook.name, place)
        for place, each in enumerate(flavours)
        for hook in each.hooks
    ]
    wanted += [
        (list(Phase).index(Phase.INSTALL), "", place) for place, each in enumerate(flavours) if each.packages
    ]
    assert ran == sorted(wanted)


@given(stacks())
def test_no_two_neighbours_could_be_one_layer(flavours: tuple[Flavour, ...]) -> None:
    for below, above in pairwise(recipe_of(flavours).steps):
        assert below.packages or (below.phase, below.place) != (above.phase, above.place)


def test_steps_have_the_network_unless_their_flavour_says_otherwise(tmp_path: Path) -> None:
    hooks = ["pre-install.d/10-x", "install.d/20-x", "first-boot.d/30-x"]
    write_flavour(tmp_path, "silent", hooks)
    write_flavour(tmp_path, "never", hooks, yaml="packages: [x]\nnetwork: false\n")
    write_flavour(tmp_path, "early", hooks, yaml="network: [pre-install.d]\n")
    write_flavour(tmp_path, "late", hooks, yaml="network: [finalise]\n")

    def without_network(*names: str) -> list[str]:
        return [step.title for step in read_recipe(tmp_path, *names).steps if not step.network]

    assert without_network("silent", "never") == ["never pre-install.d: 10-x", "never install.d: 20-x"]
    assert without_network("early") == ["early install.d: 20-x", FINALISE]
    assert without_network("never", "early")[-1] == FINALISE
    assert FINALISE not in without_network("early", "late")


def test_packages_that_are_chosen_need_no_network(tmp_path: Path) -> None:
    write_flavour(tmp_path, "never", ["install.d/20-x"], yaml="packages: [x]\nnetwork: false\n")
    write_flavour(tmp_path, "silent", yaml="packages: [y]\n")
    recipe = read_recipe(tmp_path, "never", "silent")

    def of_packages(*resolved: tuple[()] | None) -> list[tuple[bool, bool]]:
        steps = with_packages(recipe, resolved).steps
        return [(step.network, step.dated) for step in steps if step.packages]

    assert of_packages((), ()) == [(False, False), (True, False)]
    assert of_packages(None, None) == [(True, True), (True, True)]
