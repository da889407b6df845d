"""Image references: what is a port, what is a tag, and what is none of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dibo.errors import UsageError
from dibo.images.reference import ImageName, names_a_host, parse_image_name, parse_repository

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag", "digest"),
    [
        ("debian", "docker.io", "library/debian", "latest", None),
        ("debian:12", "docker.io", "library/debian", "12", None),
        ("team/app", "docker.io", "team/app", "latest", None),
        ("docker.io/debian", "docker.io", "library/debian", "latest", None),
        ("index.docker.io/debian:12", "docker.io", "library/debian", "12", None),
        ("localhost:5000/debian", "localhost:5000", "debian", "latest", None),
        ("localhost:5000/debian:12", "localhost:5000", "debian", "12", None),
        ("localhost/debian", "localhost", "debian", "latest", None),
        ("[::1]:5000/debian:12", "[::1]:5000", "debian", "12", None),
        ("ghcr.io/a/b/c", "ghcr.io", "a/b/c", "latest", None),
        (f"debian@{DIGEST}", "docker.io", "library/debian", None, DIGEST),
        (f"reg.example:1/x/y:t@{DIGEST}", "reg.example:1", "x/y", "t", DIGEST),
        ("docker://reg.example/x", "reg.example", "x", "latest", None),
    ],
)
def test_parts(text: str, host: str, repository: str, tag: str | None, digest: str | None) -> None:
    assert parse_image_name(text) == ImageName(host=host, repository=repository, tag=tag, digest=digest)


@pytest.mark.parametrize(
    "text",
    ["", ":tag", "Debian", "debian:", "debian:a b", "debian@sha256:12", "debian@", "a//b", "/a", "a/",
     "-host.x/a", "host.x:port/a", "a:b:c", "../etc", "a" * 300, "docker://", "debian:" + "t" * 129, "http://x", "ftp://x/y"],
)  # fmt: skip
def test_not_names(text: str) -> None:
    with pytest.raises(UsageError, match="does not name an image"):
        parse_image_name(text)


def test_at_digest_drops_the_tag() -> None:
    assert str(parse_image_name("localhost:5000/debian:12").at(DIGEST)) == f"localhost:5000/debian@{DIGEST}"


@pytest.mark.parametrize(
    ("text", "answer"),
    [("localhost/x", True), ("h:1/x", True), ("a.b/x", True), ("library/x", False), ("x.tar", False)],
)
def test_names_a_host(text: str, answer: bool) -> None:
    assert names_a_host(text) is answer


@given(
    host=st.from_regex(r"[a-z]{1,8}\.[a-z]{2,4}(:[0-9]{1,5})?", fullmatch=True),
    path=st.from_regex(r"[a-z0-9]{1,6}(/[a-z0-9]{1,6}){0,3}", fullmatch=True),
    tag=st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    digest=st.none() | st.just(DIGEST),
)
def test_what_is_written_is_read_again(host: str, path: str, tag: str | None, digest: str | None) -> None:
    name = ImageName(host=host, repository=path, tag=tag if tag or digest else "latest", digest=digest)
    again = parse_image_name(str(name))
    if not (host == "docker.io" and "/" not in path):
        assert again == name


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_a_usage_error(text: str) -> None:
    try:
        name = parse_image_name(text)
    except UsageError:
        return
    assert parse_image_name(str(name)) == name


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_scheme_may_be_written(scheme: str) -> None:
    name = parse_image_name(f"docker://{scheme}://registry/team/app:1")
    assert (name.scheme, name.host, name.repository, name.tag) == (scheme, "registry", "team/app", "1")
    assert name == parse_image_name(f"{scheme}://registry/team/app:1")
    assert str(name) == "registry/team/app:1"
    assert name.tagged("2").scheme == scheme
    assert parse_repository(f"{scheme}://registry/team/app").scheme == scheme
