"""The recipes for CI are YAML, and every command in them is one that dibo has, with options that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from dibo.cli.commands import parser_of
from dibo.errors import UsageError
from dibo.settings.variables import VARIABLES
from tests.support.ci_recipes import HOW_TO, PAGES, commands, container, docker_options, documents

RECIPES = PAGES[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_commands_of_dibo(page: Path) -> None:
    found = commands(page)
    assert found
    for program, *arguments in found:
        parser = parser_of(program)
        try:
            parser.parse_args(arguments)
        except UsageError as error:
            pytest.fail(f"{program} {arguments}: {error}", pytrace=False)


@pytest.mark.parametrize("page", RECIPES, ids=lambda page: page.name)
def test_each_recipe_builds_layers_with_the_cache_and_makes_artefacts_elsewhere(page: Path) -> None:
    found = [words[1:] for words in commands(page)]
    layers = [words for words in found if "--layers" in words]
    assert layers or "build" in [words[0] for words in found]
    assert {"convert", "bake"} & {words[0] for words in found if words not in layers}
    assert "DIBO_CACHE" in yaml.dump(documents(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_variables_are_variables_of_dibo(page: Path) -> None:
    assert set(re.findall(r"\bDIBO_[A-Z_]+", page.read_text())) <= VARIABLES.keys()


def test_the_pod_that_converts_asks_for_nothing() -> None:
    context = container("disk")["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["allowPrivilegeEscalation"] is False
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["runAsNonRoot"] and context["readOnlyRootFilesystem"]


def test_both_security_contexts_are_options_of_docker() -> None:
    for name in ("layers", "disk"):
        assert docker_options(dict(container(name)["securityContext"]))


def test_tests_that_the_page_names_exist() -> None:
    text = (HOW_TO / "ci-without-root.md").read_text()
    named = re.findall(r"`(test_\w+\.py)`", text)
    assert len(named) == 2
    assert [name for name in named if not (HOW_TO.parents[1] / "tests" / "integration" / name).exists()] == []
