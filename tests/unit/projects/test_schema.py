"""The JSON schema of a project file against the parser, and against the tables of the parts that it speaks of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dibo.boot.options import BootLoader
from dibo.errors import ProjectError
from dibo.machines.boards import BOARDS, FirmwareKind
from dibo.machines.machine import NETWORKS
from dibo.machines.steps import StepKind
from dibo.projects import keys
from dibo.projects.load import load_project
from dibo.projects.schema import PROJECT_SCHEMA

pytestmark = pytest.mark.slow

VALIDATOR = jsonschema.Draft202012Validator(PROJECT_SCHEMA)


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(PROJECT_SCHEMA)


def test_words_are_those_of_the_parts_that_use_them() -> None:
    assert set(keys.STEP_KINDS) == {kind.value for kind in StepKind}
    assert set(keys.BOOT_LOADERS) == {loader.value for loader in BootLoader}
    assert set(keys.FIRMWARE) == {"auto", *(kind.value for kind in FirmwareKind)}
    assert set(keys.MACHINES) == {name for board in BOARDS.values() for name in board.machines}
    assert keys.GUEST_NETWORKS == NETWORKS


def test_every_key_is_described() -> None:
    assert set(PROJECT_SCHEMA["$defs"]) == set(keys.IMAGE_KEYS)
    assert all(schema.get("description") for schema in PROJECT_SCHEMA["$defs"].values())


WORD = st.sampled_from(
    [
        "a",
        "vm",
        "web-server",
        "debian",
        "trixie",
        "3.10",
        "no",
        "amd64",
        "arm64/v8",
        "",
        "x y",
        "A_B",
        "../x",
        "é",
    ]
)
SCALAR: st.SearchStrategy[Any] = (
    WORD | st.booleans() | st.integers(-2, 2000) | st.floats(0, 9).map(lambda x: round(x, 2)) | st.none()
)
TEXTS = st.lists(WORD, max_size=3)
BOOT = st.dictionaries(
    st.sampled_from([*keys.BOOT_KEYS, "cpu"]),
    SCALAR | TEXTS | st.sampled_from([*keys.FIRMWARE, *keys.MACHINES, *keys.GUEST_NETWORKS]),
    max_size=3,
)
STEP = st.dictionaries(st.sampled_from([*keys.STEP_KINDS, "runn"]), SCALAR, min_size=0, max_size=2)
TEST = st.fixed_dictionaries(
    {}, optional={"name": WORD, "steps": st.lists(STEP, max_size=2), "memory": SCALAR, "firmware": WORD}
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "flavours": TEXTS,
    "architectures": st.lists(st.sampled_from(["amd64", "arm64", "x86", "riscv64"]), max_size=2),
    "types": TEXTS,
    "layout": WORD | st.just({"table": "gpt"}) | st.just({"tabel": "gpt"}),
    "variables": st.dictionaries(WORD, SCALAR, max_size=2),
    "secrets": TEXTS | st.dictionaries(WORD, st.sampled_from(["env:A", "env:1", "file", ""]), max_size=2),
    "ramdisk": st.booleans()
    | st.dictionaries(st.sampled_from(["kernel", "compress", "microcode", "x"]), SCALAR, max_size=2),
    "tests": st.lists(STEP | TEST, max_size=2),
    "boot": BOOT,
    "convert": st.dictionaries(st.sampled_from(keys.CONVERT_KEYS), SCALAR | st.just("never"), max_size=3),
    "cache": TEXTS,
    "cache-files": st.booleans(),
    "ports": TEXTS,
    "matrix": st.dictionaries(
        st.sampled_from(["release", "base", "size", "role", "Role", "types"]),
        st.lists(WORD, max_size=2, unique=True)
        | st.dictionaries(
            st.sampled_from(["a", "b", "x y"]), st.just({"size": 2}) | st.just({"x": 2}), max_size=2
        ),
        max_size=2,
    ),
}
IMAGE = st.lists(
    st.sampled_from([*keys.IMAGE_KEYS, "relase"]).flatmap(
        lambda key: st.tuples(st.just(key), VALUES.get(key, SCALAR) | SCALAR)
    ),
    max_size=4,
).map(dict)
DOCUMENT = st.fixed_dictionaries(
    {"images": st.dictionaries(st.sampled_from(["a", "b", "a b"]), IMAGE | st.none(), max_size=2)},
    optional={
        "defaults": IMAGE,
        "x-more": SCALAR,
        "templates": st.dictionaries(st.just("t"), IMAGE, max_size=1),
    },
)

BEYOND_A_SCHEMA = (
    "cannot be combined with",
    "the key flavours or convert is missing",
    "there is no template or image",
    "extends itself",
    "are both given",
    "has an axis arch, too",
    "two images are called",
    "is called",
    "is not set by variables",
    "leads out of",
    "cannot be the name of an image",
    "nothing is called",
    "is no regular expression",
    "the same destination",
    "stands there twice",
    "there is another test called",
    "is empty",
    "no architecture",
    "cache",
    "destination:",
)
"""What the parser knows of several keys together, of references, of regular expressions and of the file system."""


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(document=DOCUMENT)
def test_the_parser_refuses_what_the_schema_refuses(tmp_path: Path, document: dict[str, Any]) -> None:
    """And nothing else that a schema can say."""
    path = tmp_path / "dibo.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True))
    problem = next(iter(VALIDATOR.iter_errors(document)), None)
    try:
        load_project(path)
    except ProjectError as error:
        beyond = any(words in error.message for words in BEYOND_A_SCHEMA)
        assert problem is not None or beyond, (error.message, document)
    else:
        assert problem is None, (problem.message, document)


def test_both_accept_the_examples_of_each_key() -> None:
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate({"images": {"a": {"flavours": ["Vm"]}}})
    VALIDATOR.validate(
        {"images": {"a": {"flavours": ["vm"], "size": 1.5, "architectures": ["amd64", "arm64/v8"]}}}
    )
