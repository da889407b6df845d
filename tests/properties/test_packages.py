"""Keys of layers of packages: the same for the same packages in any order, another for any other."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dibo.flavours.model import Flavour
from dibo.flavours.stack import Stack
from dibo.plan.keys import KeyInputs, base_document, key_of, step_documents
from dibo.plan.packages import ArchivePackage, Packages, identities, package_changes, parse_package
from dibo.plan.recipe import make_recipe, with_packages
from tests.support.flavours import flavour

WORDS = st.text("abcdef0123456789", min_size=1, max_size=6)
PACKAGES = st.builds(
    ArchivePackage,
    name=WORDS,
    version=WORDS,
    architecture=st.sampled_from(("all", "amd64")),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    size=st.integers(0, 1 << 40),
    path=WORDS,
    is_security=st.booleans(),
)
SETS = st.lists(PACKAGES, min_size=1, max_size=8, unique_by=lambda package: package.identity).map(tuple)
WEB: Flavour = flavour("web", packages=(("default", ("nginx",)),))


def step_key(packages: Packages, *, epoch: str = "2026-11") -> str:
    stack = Stack(flavours=(WEB,))
    recipe = with_packages(make_recipe(stack, architecture="amd64", environment={}), [packages])
    return step_documents(recipe, base_key="0" * 64, inputs=KeyInputs(runner="1" * 64, epoch=epoch))[0][0]


def base_key(packages: Packages) -> str:
    return key_of(base_document((("kind", "debian"),), architecture="amd64", resolved=packages))


@given(SETS, st.randoms())
def test_the_order_of_packages_is_in_no_key(packages: Packages, chance: random.Random) -> None:
    shuffled = list(packages)
    chance.shuffle(shuffled)
    assert step_key(tuple(shuffled)) == step_key(packages)
    assert base_key((*shuffled, shuffled[0])) == base_key(packages)


@given(SETS, st.sampled_from(("name", "version", "architecture", "sha256")), st.data())
def test_all_that_tells_a_package_is_in_the_key(packages: Packages, field: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(packages) - 1))
    changes: dict[str, Any] = {field: f"{getattr(packages[place], field)}x"}
    changed = (
        *packages[:place],
        dataclasses.replace(packages[place], **changes),
        *packages[place + 1 :],
    )
    assert step_key(changed) != step_key(packages)
    assert base_key(changed) != base_key(packages)
    assert step_key(packages[:place] + packages[place + 1 :]) != step_key(packages)
    assert package_changes(identities(changed), identities(packages))


@given(SETS, st.data())
def test_where_a_package_lies_and_the_epoch_are_in_no_key(packages: Packages, data: st.DataObject) -> None:
    path, security = data.draw(WORDS), data.draw(st.booleans())
    moved = tuple(
        dataclasses.replace(package, path=path, size=1, is_security=security) for package in packages
    )
    assert step_key(moved, epoch="2026-12") == step_key(packages)
    assert base_key(moved) == base_key(packages)


@given(PACKAGES)
def test_a_package_is_what_its_document_says(package: ArchivePackage) -> None:
    again = parse_package(package.document())
    assert again == package
    assert (again.size, again.path, again.is_security) == (package.size, package.path, package.is_security)
