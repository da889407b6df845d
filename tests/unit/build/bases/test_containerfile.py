"""The base of a Containerfile, without a registry; tests/integration/test_container_elements.py builds it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dibo.build.bases.containerfile import (
    Containerfile,
    ContainerOptions,
    context_of,
    network_of,
    parse_options,
)
from dibo.build.bases.containerfile_text import with_digests
from dibo.build.bases.settings import BaseSettings
from dibo.errors import BaseError, UsageError


def at_digest(name: str) -> str:
    return f"{name}@sha256:0"


def rewrite(text: str, *, first: str = "", **arguments: str) -> str:
    return with_digests(text, first=first, arguments=arguments, locate=at_digest)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM a\n", "FROM a@sha256:0\n"),
        ("from a as b\nFROM b\nCOPY --from=b /x /x\n", "FROM a@sha256:0 AS b\nFROM b\nCOPY --from=b /x /x\n"),
        ("FROM a AS B\nFROM scratch\nCOPY --from=0 /x /x\n", None),
        ("# escape=`\nFROM `\n  a\nRUN x\n", "# escape=`\nFROM a@sha256:0\n\nRUN x\n"),
        ("# a comment\nFROM \\\n# another\n a\nRUN x\n", "# a comment\nFROM a@sha256:0\n\n\nRUN x\n"),
        ("ARG V=1\nARG N=a:$V\nFROM ${N}\nRUN x\n", "ARG V=1\nARG N=a:$V\nFROM a:1@sha256:0\nRUN x\n"),
        ("RUN echo \\\n FROM b\n", "no FROM"),
        ("FROM a\nRUN --mount=type=bind,from=b,target=/x y\n", "takes files from b, which is no stage"),
        ("FROM a\nCOPY --from=1 /x /x\n", "takes files from 1, which is no stage"),
        ("FROM --platform=linux/arm64 a\n", "FROM has the option --platform=linux/arm64"),
        ("FROM a\nRUN --network=host x\n", "RUN has the option --network=host"),
        ("FROM a b\n", "expected FROM IMAGE or FROM IMAGE AS NAME, got FROM a b"),
        ("ARG V\nFROM a:$V\n", "V has no value"),
        ("FROM $(date)\n", "which is not read"),
    ],
)
def test_images_are_named_by_digests(text: str, expected: str | None) -> None:
    if expected is None:
        expected = text.replace("FROM a ", "FROM a@sha256:0 ")
    if "FROM" in expected and expected.endswith("\n"):
        assert rewrite(text) == expected
    else:
        with pytest.raises(BaseError) as caught:
            rewrite(text)
        assert expected in caught.value.message


def test_options_replace_the_first_image_and_arguments() -> None:
    text = "ARG V=1\nFROM a:$V AS x\nFROM a:$V\n"
    assert rewrite(text, V="2") == "ARG V=1\nFROM a:2@sha256:0 AS x\nFROM a:2@sha256:0\n"
    assert rewrite(text, first="b") == "ARG V=1\nFROM b@sha256:0 AS x\nFROM a:1@sha256:0\n"


def test_options_of_the_element() -> None:
    options = parse_options("--from b:1 --build-arg 'A=x y' --build-arg=B= --target=s")
    assert options == ContainerOptions(first="b:1", arguments={"A": "x y", "B": ""}, target="s")
    assert options.words() == ("--build-arg=A=x y", "--build-arg=B=", "--target=s")
    for text, message in (
        ("--privileged", "has --privileged, which"),
        ("--volume /:/host", "has --volume /:/host, which"),
        ("--build-arg A", "has --build-arg A, which"),
        ("'x", "a quote that is not closed"),
    ):
        with pytest.raises(UsageError, match=message):
            parse_options(text)


def test_a_network_of_steps_that_is_none_stays_so() -> None:
    assert network_of("", steps="host") == "host"
    assert network_of("bridge", steps="host") == "private"
    assert network_of("host", steps="none") == "none"
    with pytest.raises(UsageError, match="is 'macvlan', which buildah does not have"):
        network_of("macvlan", steps="host")


def test_a_context(tmp_path: Path) -> None:
    assert context_of("", tmp_path) == tmp_path
    assert context_of("", tmp_path / "none") is None
    assert context_of(str(tmp_path), tmp_path / "none") == tmp_path
    with pytest.raises(UsageError, match="which is no directory"):
        context_of(str(tmp_path / "none"), tmp_path)


def test_ingredients_cover_what_is_copied(tmp_path: Path, settings: BaseSettings) -> None:
    (tmp_path / "Containerfile").write_text("FROM scratch\nCOPY page /\n")
    context = tmp_path / "context"
    context.mkdir()

    def ingredients(network: str = "host", epoch: str = "") -> dict[str, str]:
        changed = dataclasses.replace(settings, network=network, epoch=epoch)
        spec = f"containerfile:{tmp_path}/Containerfile"
        base = Containerfile(spec, settings=changed, default_context=context)
        assert base.name == "containerfile:Containerfile"
        return dict(base.ingredients())

    (context / "page").write_text("1")
    before = ingredients()
    assert before["kind"] == "containerfile"
    assert str(tmp_path) not in str(before)
    assert ingredients() == before
    (context / "page").write_text("2")
    assert {name for name, value in ingredients().items() if value != before[name]} == {"context"}
    (context / "page").write_text("1")
    assert {name for name, value in ingredients(network="none").items() if value != before[name]} == {
        "options"
    }
    assert {name for name, value in ingredients(epoch="2026-12").items() if value != before[name]} == {
        "epoch"
    }


def test_what_is_not_there_or_of_another_architecture(tmp_path: Path, settings: BaseSettings) -> None:
    spec = f"containerfile:{tmp_path}/Containerfile"
    with pytest.raises(UsageError, match="there is no Containerfile"):
        Containerfile(spec, settings=settings, default_context=tmp_path)
    (tmp_path / "Containerfile").write_text("FROM scratch\n")
    other = dataclasses.replace(settings, architecture="s390x")
    with pytest.raises(UsageError, match="not for s390x"):
        Containerfile(spec, settings=other, default_context=tmp_path)
