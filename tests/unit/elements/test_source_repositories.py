"""source-repository files, with bash as an oracle of what their lines become."""

from __future__ import annotations

import subprocess
from pathlib import PurePosixPath

import pytest

from dibo.elements.shell_text import NeedsShell, UnsetVariable, expand_words
from dibo.elements.source_repositories import (
    SourceFile,
    SourceRepository,
    SourceType,
    check_destinations,
    parse_source_repositories,
)
from dibo.errors import FlavourError
from tests.support import dib
from tests.support.dib import needs_wheel

VARIABLES = {"NAME": "keylime", "SPACES": " a  b ", "EMPTY": "", "VERSION": "1.2"}


@pytest.mark.parametrize(
    "line",
    [
        "a b  c",
        "  $NAME-$VERSION ${NAME}x",
        "'$NAME' \"$NAME\" \\$NAME",
        'a"b c"d $SPACES "$SPACES" x$SPACES',
        "${EMPTY:-default} ${EMPTY-default} ${UNSET:-two words} ${UNSET-x}",
        "a#b # comment",
        "# comment",
        "https://x.example/a?b=c * . a[1]",
        '"\\a\\"\\$" \\ x',
        "$ a$ $/ {a} a{b",
        "$EMPTY '' \"\" a''",
        "a~b ~",
    ],
)
def test_words_are_those_of_bash(line: str) -> None:
    script = f"set -f; for word in {line}\n do printf '%s\\n' \"$word\"; done"
    answer = subprocess.run(
        ["bash", "-c", script], env=VARIABLES | {"HOME": "~"}, capture_output=True, text=True, check=True
    )
    if line.endswith(" ~"):
        with pytest.raises(NeedsShell):
            expand_words(line, VARIABLES)
    else:
        assert "".join(f"{word}\n" for word in expand_words(line, VARIABLES)) == answer.stdout


@pytest.mark.parametrize(
    "line",
    [
        "$(id)",
        "`id`",
        '"`id`"',
        "a;b",
        "a|b",
        "a&b",
        ">f",
        "${A^^}",
        "${A/x/y}",
        "$((1))",
        "{a,b}",
        "'a",
        '"a',
        "$1",
    ],
)
def test_what_only_a_shell_expands(line: str) -> None:
    with pytest.raises(NeedsShell):
        expand_words(line, VARIABLES | {"A": "a"})


def test_a_variable_that_is_not_set() -> None:
    with pytest.raises(UnsetVariable, match="MIRROR"):
        expand_words("a $MIRROR", VARIABLES)


def parsed(text: str, **environment: str) -> SourceFile:
    return parse_source_repositories(text, origin="source-repository-x", environment=environment)


def only(text: str, **environment: str) -> SourceRepository:
    (repository,) = parsed(text, **environment).repositories
    return repository


GIT = "my-agent git /opt/agent https://git.example/~me/team/agent.git"


def test_columns_and_defaults() -> None:
    text = f"# comment\n\n{GIT}\na tar /a http://x/a.tgz\nb tar /b http://x/b.tgz .\nc file /c http://x/c\n"
    agent, a, b, c = parsed(text).repositories
    assert agent == SourceRepository(
        name="my-agent",
        type=SourceType.GIT,
        destination=PurePosixPath("/opt/agent"),
        location="https://git.example/~me/team/agent.git",
        ref="master",
    )
    assert (a.ref, b.ref, c.ref, c.type) == ("*", ".", "", SourceType.FILE)
    assert agent.origin == "source-repository-x:3"


def test_overrides() -> None:
    assert only(GIT, DIB_REPOREF_my_agent="stable").ref == "stable"
    assert only(GIT, DIB_REPOLOCATION_my_agent="/src").location == "/src"
    overridden = only(GIT, DIB_REPOTYPE_my_agent="tar", DIB_REPOLOCATION_my_agent="http://x/a.tgz")
    assert (overridden.type, overridden.location) == (SourceType.TAR, "http://x/a.tgz")
    based = only(GIT, DIB_GITREPOBASE="https://mirror.example")
    assert based.location == "https://mirror.example/team/agent.git"
    assert only(GIT, DIB_GITREPOBASE="https://m", DIB_REPOLOCATION_my_agent="/src").location == "/src"
    assert only("a tar /a http://x/a.tgz", DIB_GITREPOBASE="https://m").location == "http://x/a.tgz"
    assert only("$N git /$N $U", N="x", U="http://u").destination == PurePosixPath("/x")
    assert parsed(GIT, NO_SOURCE_REPOSITORIES="1").repositories == ()


def test_sources_of_elements_that_install_packages_are_not_fetched() -> None:
    assert not only(GIT, DIB_INSTALLTYPE_my_agent="package").fetched
    assert not only(GIT, DIB_DEFAULT_INSTALLTYPE="package").fetched
    assert only(GIT, DIB_DEFAULT_INSTALLTYPE="package", DIB_INSTALLTYPE_my_agent="source").fetched
    assert not only("a package").fetched
    assert not only(GIT, DIB_REPOTYPE_my_agent="package").fetched


def test_lines_that_need_a_shell_are_named() -> None:
    file = parsed(f"{GIT}\na git /a $(hostname)\nb git /b `id`\n")
    assert file.needs_shell == "source-repository-x:2: $("
    assert len(file.repositories) == 1


def test_variables() -> None:
    variables = parsed("a git /a $MIRROR/a.git ${REF:-main}", MIRROR="http://m").variables
    assert {"MIRROR", "REF", "DIB_REPOREF_a", "DIB_INSTALLTYPE_a", "DIB_GITREPOBASE"} <= variables


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a", ":1: expected one of git, tar, file, package, got ''"),
        ("a gti /a http://x", ":1: expected one of git, tar, file, package, got 'gti'"),
        ("a git http://x", ":1: a has no destination"),
        ("a git /a", ":1: a has no location"),
        ("a git /a http://x main b", ":1: more than five columns"),
        ("a git /a/../b http://x", ":1: the destination /a/../b has .."),
        ("a git /a $MIRROR", ":1: the variable MIRROR is not set"),
    ],
)
def test_invalid_lines(line: str, message: str) -> None:
    with pytest.raises(FlavourError) as caught:
        parsed(line)
    assert caught.value.message.startswith(f"source-repository-x{message}")
    assert caught.value.hint or ".." in message


def test_two_sources_of_one_destination() -> None:
    one, same = only(GIT), only(GIT.replace("my-agent", "another"))
    check_destinations([one, same])
    with pytest.raises(FlavourError, match="has the destination /opt/agent"):
        check_destinations([one, only(GIT, DIB_REPOREF_my_agent="x")])
    check_destinations([one, only(GIT, DIB_REPOREF_my_agent="x", DIB_INSTALLTYPE_my_agent="package")])


def test_ingredients_of_a_key() -> None:
    branch = only(GIT).ingredients("c0ffee")
    assert branch == only(GIT, DIB_REPOREF_my_agent="v1", DIB_GITREPOBASE="http://m").ingredients("c0ffee")
    assert branch != only(GIT, DIB_REPOREF_my_agent="*").ingredients("c0ffee")
    assert branch != only(GIT).ingredients("decaf")
    tar = "a tar /a http://x/a.tgz "
    assert only(tar + ".").ingredients("d") != only(tar + "sub").ingredients("d")


@needs_wheel
def test_files_of_all_elements_can_be_read() -> None:
    files = sorted(dib.elements().glob("*/source-repository-*"))
    assert len(files) > 7
    for path in files:
        file = parse_source_repositories(
            path.read_text(), origin=str(path), environment={"DRACUT_VERSION": "037"}
        )
        assert file.repositories and not file.needs_shell
