"""What a pushed image says about the disk that it is for."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from dibo.build.build import Job
from dibo.cache.push_image import _with_layout, refuse_local
from dibo.errors import LocalLayers
from dibo.layout.merge import complete, parse_layout
from dibo.layout.parse import Statement, parse_statement
from dibo.plan.labels import LAYOUT_LABEL
from tests.unit.disk.sample_requests import EXAMPLE

CONFIG = {"os": "linux", "config": {"Labels": {"a": "b", LAYOUT_LABEL: "of the base"}, "Env": ["X=1"]}}


def config(said: Statement | None) -> dict[str, Any]:
    job = cast("Job", SimpleNamespace(recipe=SimpleNamespace(stack=SimpleNamespace(disk=said))))
    return dict(_with_layout(CONFIG, job))


def test_it_brings_the_layout_of_its_stack_along() -> None:
    said = parse_statement(yaml.safe_load(EXAMPLE), origin="vm")
    found = config(said)
    assert (found["os"], found["config"]["Env"]) == ("linux", ["X=1"])
    labels = found["config"]["Labels"]
    assert labels["a"] == "b"
    assert parse_layout(json.loads(labels[LAYOUT_LABEL]), origin="x") == complete(said)


def test_a_stack_without_a_whole_layout_leaves_it_to_whoever_converts() -> None:
    for said in (None, parse_statement({"partitions": [{"name": "a", "size": "1GiB"}]}, origin="x")):
        assert config(said)["config"]["Labels"] == {"a": "b"}


def test_an_image_with_local_layers_stays() -> None:
    steps = [SimpleNamespace(step=SimpleNamespace(title=title, local=title != "a")) for title in "abc"]
    with pytest.raises(LocalLayers) as caught:
        refuse_local(cast("Job", SimpleNamespace(plan=SimpleNamespace(steps=steps))))
    assert (
        caught.value.message == "the image has data of this user or machine: the layer 'b', and all above it"
    )
