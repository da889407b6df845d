"""Flavours in order: what needs what, and what does not go together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dibo.errors import LayoutError, StackError
from dibo.flavours.model import Flavour
from dibo.flavours.stack import Stack, make_stack
from dibo.layout.parse import Statement, parse_statement
from tests.support.flavours import flavour


def stack_of(*flavours: Flavour, asked: tuple[str, ...] | None = None, architecture: str = "amd64") -> Stack:
    known = {each.name: each for each in flavours}
    return make_stack(asked or tuple(known), known.__getitem__, architecture=architecture)


def layout(size: str = "rest") -> Statement:
    return parse_statement({"partitions": [{"name": "root", "size": size}]}, origin="test")


def test_as_asked_for_each_after_what_it_needs() -> None:
    stack = stack_of(
        flavour("web", needs=("tls", "net")),
        flavour("net"),
        flavour("tls", needs=("net",)),
        flavour("vm"),
        asked=("vm", "web"),
    )
    assert stack.names == ("vm", "net", "tls", "web")
    assert stack.needed_by("web") == ("net", "tls")
    assert stack.needed_by("vm") == ()


def test_the_same_flavour_twice_is_there_once() -> None:
    assert stack_of(flavour("a"), flavour("b"), asked=("b", "a", "b")).names == ("b", "a")


def test_a_circle_names_the_whole_circle() -> None:
    flavours = [flavour("x", needs=("a",)), flavour("a", needs=("b",)), flavour("b", needs=("c",))]
    flavours.append(flavour("c", needs=("a",)))
    with pytest.raises(StackError, match=r"in a circle: a -> b -> c -> a$"):
        stack_of(*flavours, asked=("x",))


def test_a_flavour_that_needs_itself() -> None:
    with pytest.raises(StackError, match=r"circle: a -> a$"):
        stack_of(flavour("a", needs=("a",)))


@pytest.mark.parametrize("asked", [("apache", "nginx"), ("nginx", "apache"), ("site", "apache")])
def test_a_clash_is_found_from_either_side_and_through_needs(asked: tuple[str, ...]) -> None:
    flavours = [flavour("apache"), flavour("nginx", clashes=("apache",)), flavour("site", needs=("nginx",))]
    with pytest.raises(StackError, match="'nginx' and 'apache' clash") as caught:
        stack_of(*flavours, asked=asked)
    assert "nginx's flavour.yaml says so" in caught.value.hint


def test_a_clash_with_what_is_not_there() -> None:
    assert stack_of(flavour("nginx", clashes=("apache",))).names == ("nginx",)


def test_architectures() -> None:
    only = flavour("only", architectures=("arm64", "i386"))
    assert stack_of(only, architecture="i386").names == ("only",)
    with pytest.raises(StackError, match="'only' is not for amd64") as caught:
        stack_of(only)
    assert "arm64, i386" in caught.value.hint


def test_two_layouts() -> None:
    one, same, other = (
        flavour("one", disk=layout()),
        flavour("same", disk=layout()),
        flavour("x", disk=layout("1GiB")),
    )
    assert stack_of(one, same).disk == layout()
    assert stack_of(flavour("none")).disk is None
    with pytest.raises(LayoutError, match="flavour 'one' and the flavour 'x' contradict each other"):
        stack_of(one, other)


def test_variables_the_user_s_before_the_last_default() -> None:
    stack = stack_of(
        flavour("a", environment=(("COLOUR", "red"), ("NONE", ""), ("SIZE", "1"))),
        flavour("b", environment=(("COLOUR", "blue"),)),
    )
    assert stack.environment({"SIZE": "", "OTHER": "x"}.get) == {"COLOUR": "blue", "NONE": "", "SIZE": ""}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, Flavour], list[str]]:
    """Flavours that need only earlier ones, and some of them asked for."""
    count = draw(st.integers(1, 8))
    names = [f"f{number}" for number in range(count)]
    flavours = {
        name: flavour(
            name, needs=tuple(draw(st.lists(st.sampled_from(names[:number]), unique=True)) if number else ())
        )
        for number, name in enumerate(names)
    }
    return flavours, draw(st.lists(st.sampled_from(names), min_size=1))


@given(graphs())
def test_order_is_topological_without_duplicates_and_holds_only_what_is_needed(
    graph: tuple[dict[str, Flavour], list[str]],
) -> None:
    flavours, asked = graph
    stack = make_stack(asked, flavours.__getitem__, architecture="amd64")
    names = stack.names
    assert len(set(names)) == len(names)
    for place, name in enumerate(names):
        assert set(flavours[name].needs) <= set(names[:place])
    needed = {need for name in asked for need in stack.needed_by(name)}
    assert set(names) == set(asked) | needed


@given(graphs(), st.data())
def test_asking_for_more_changes_nothing_below(
    graph: tuple[dict[str, Flavour], list[str]], data: st.DataObject
) -> None:
    """So layers that are there stay good when a flavour is appended."""
    flavours, asked = graph
    more = data.draw(st.sampled_from(sorted(flavours)))
    before = make_stack(asked, flavours.__getitem__, architecture="amd64").names
    after = make_stack([*asked, more], flavours.__getitem__, architecture="amd64").names
    assert after[: len(before)] == before
