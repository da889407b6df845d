"""--json of the commands that build: each answer is one document, as `dibo schema json` says."""

from __future__ import annotations

import json
import pwd
from collections.abc import Iterator
from typing import Any

import pytest

from dibo import errors
from tests.integration.test_cache import SH, good, who
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, CommandResult, build_env
from tests.support.schemas import validate

pytestmark = pytest.mark.integration
__all__ = ["who"]


@pytest.fixture(scope="module")
def place(who: pwd.struct_passwd) -> Iterator[BuildEnv]:
    with build_env(who) as env:
        yaml = "environment: {GREETING: hello}\n"
        write_flavour(
            env.flavours, "small", {"install.d/10-x": "#!/bin/sh\necho $GREETNG > /etc/x\n"}, yaml=yaml
        )
        yield env
        assert env.left() == []


@pytest.fixture(scope="module")
def schema(place: BuildEnv) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(good(place.run("dibo", "schema", "json")).out)
    return loaded


def document(schema: dict[str, Any], result: CommandResult, name: str) -> dict[str, Any]:
    """The one document on standard output."""
    answer: dict[str, Any] = json.loads(result.out)
    validate(answer, schema)
    assert answer["document"] == name, result.err
    return answer


def test_from_the_plan_to_the_proof(place: BuildEnv, schema: dict[str, Any]) -> None:
    stack = ("--no-base", "small")
    plan = document(schema, place.run("dibo", "plan", "--json", *stack), "plan")
    assert [layer["held"] for layer in plan["layers"]].count(True) < len(plan["layers"])
    (warning,) = plan["warnings"]
    assert "$GREETNG is not declared; did you mean GREETING?" in warning
    why = document(schema, place.run("dibo", "why", "--json", *stack), "why")
    assert why["missing"][-1]["key"] == plan["layers"][-1]["key"]
    image = document(
        schema, place.run("dibo", "build", "--json", "--tag", "localhost/small", *stack), "build"
    )
    assert image["image"] == "localhost/small"
    assert [layer["origin"] for layer in image["layers"]] == ["built"] * len(plan["layers"])
    assert [layer["key"] for layer in image["layers"]] == [layer["key"] for layer in plan["layers"]]
    why = document(schema, place.run("dibo", "why", "--json", *stack), "why")
    assert (why["layers"], why["missing"]) == (len(plan["layers"]), [])

    output = str(place.directory / "x")
    options = ("--image-size", "0.06", "-t", "raw,tar", "-o", output)
    made = document(schema, place.run("disk-image-create", "--json", *options, *stack), "artefacts")
    assert [artefact["path"] for artefact in made["artefacts"]] == [f"{output}.raw", f"{output}.tar"]
    assert [layer["origin"] for layer in made["layers"]] == ["cached"] * len(plan["layers"])
    assert "disk" in [step["title"] for step in made["steps"]]
    assert all(artefact["sha256"] for artefact in made["artefacts"])
    same = document(schema, place.run("dibo", "verify", "--json", "--cached", f"{output}.raw"), "verify")
    assert same["artefacts"] == 1
    pruned = document(
        schema, place.run("dibo", "cache", "prune", "--local", "--max-size", "0", "--json"), "cache-prune"
    )
    assert not pruned["removed"]


def test_the_doctor(place: BuildEnv, schema: dict[str, Any]) -> None:
    found = document(schema, place.run("dibo", "doctor", "--json", "--engine", "buildah"), "doctor")
    assert "converting, by dibo convert" in [finding["title"] for finding in found["findings"]]


def test_a_hook_that_fails(place: BuildEnv, schema: dict[str, Any]) -> None:
    write_flavour(place.flavours, "failing", {"install.d/10-x": f"{SH}exit 3\n"})
    result = place.run("dibo", "build", "--json", "--no-base", "failing")
    error = document(schema, result, "error")["error"]
    assert (error["kind"], error["exit_code"]) == ("HookFailed", errors.HookFailed.exit_code)
    assert result.code == errors.HookFailed.exit_code
    events = [json.loads(line) for line in result.err.splitlines()]
    for event in events:
        validate(event, schema)
    assert events[-1] == answer_of(result), "the error is the last event, too"
    ended = [event["outcome"] for event in events if event["document"] == "step-ended"]
    assert ended[-1] == "failed"


def answer_of(result: CommandResult) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(result.out)
    return answer
