"""Secrets: read once, in memory while a step runs, masked in output, in keys by name."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dibo.build.secrets import MASK, SecretValues, make_mask, read_secrets
from dibo.errors import OutputError, UsageError
from dibo.flavours.model import Secret
from dibo.settings.secrets import SecretSource, parse_secrets
from dibo.system.workspace import Workspace, memory_directory
from tests.support.flavours import read_recipe, read_stack, write_flavour


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs leave DIBO_RUN in the environment of their process."""
    monkeypatch.setenv("DIBO_RUN", "")


def test_values_of_files_and_variables(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xffkey\n")
    values = read_secrets(parse_secrets([f"key={tmp_path / 'key'}", "token=env:TOKEN"]), {"TOKEN": "t=1"})
    assert list(values) == ["key", "token"]
    assert repr(values) == "SecretValues(key, token)"
    with (
        Workspace(tmp_path / "cache").run() as run,
        values.files([Secret(name="key"), Secret(name="token")], run) as files,
    ):
        assert {name: path.read_bytes() for name, path in files.items()} == {
            "key": b"\xffkey\n",
            "token": b"t=1",
        }


@pytest.mark.parametrize(
    "word", ["", "token", "token=", "=x", "-t=x", "to ken=x", "token=env:", "token=env:1X", "token=env:a-b"]
)
def test_sources_that_make_no_sense(word: str) -> None:
    with pytest.raises(UsageError, match="--secret"):
        parse_secrets([word])


def test_a_value_on_the_command_line_is_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        parse_secrets(["hunter2"])
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_a_secret_that_is_given_twice() -> None:
    with pytest.raises(UsageError, match="'a' is given twice"):
        parse_secrets(["a=x", "a=y"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read .*: No such file"),
        ("", "is empty"),
        (" \n", "is empty"),
        ("x" * (1 << 20) + "x", "larger than 1 MiB"),
    ],
)
def test_files_that_are_no_secret(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content)
    with pytest.raises(UsageError, match=f"the secret key: .*{message}"):
        read_secrets([SecretSource(name="key", file=tmp_path / "key")], {})


def test_a_variable_that_is_not_set() -> None:
    for environment in ({}, {"TOKEN": ""}):
        with pytest.raises(UsageError, match="the secret token: the variable TOKEN is not set, or empty"):
            read_secrets(parse_secrets(["token=env:TOKEN"]), environment)


def test_files_are_in_memory_for_this_user_alone_and_go(tmp_path: Path) -> None:
    values = SecretValues({"token": b"t", "other": b"o"})
    before = os.umask(0)
    try:
        with Workspace(tmp_path).run() as run:
            with values.files([Secret(name="token")], run) as files:
                (path,) = files.values()
                assert path.stat().st_mode & 0o777 == 0o400
                assert path.parent.stat().st_mode & 0o777 == 0o700
                assert list(path.parent.iterdir()) == [path]
                assert path.is_relative_to(memory_directory())
            assert not path.parent.exists()
            with values.files([], run) as files:
                assert files == {}
    finally:
        os.umask(before)


def test_files_go_when_the_step_fails(tmp_path: Path) -> None:
    values = SecretValues({"token": b"t"})
    places = []
    with (
        Workspace(tmp_path).run() as run,
        pytest.raises(OSError, match="from the step"),
        values.files([Secret(name="token")], run) as files,
    ):
        places.append(files["token"])
        raise OSError("from the step")
    assert not places[0].parent.exists()


def test_memory_is_a_tmpfs_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/proc")
    assert memory_directory() == Path("/dev/shm")
    monkeypatch.setattr("dibo.system.workspace._IN_MEMORY", ())
    with pytest.raises(OutputError, match="no file system in memory") as caught:
        memory_directory()
    assert "XDG_RUNTIME_DIR" in caught.value.hint
    monkeypatch.undo()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "nowhere"))
    assert memory_directory() == Path("/dev/shm")


# Masks

PEM = b"-----BEGIN KEY-----\nQUJDREVGR0hJSktM\nxyz\n-----END KEY-----\n"


@pytest.mark.parametrize(
    ("value", "line", "masked"),
    [
        (b"hunter2\n", "it is hunter2, hunter2", f"it is {MASK}, {MASK}"),
        (b"a+b/c", "?t=a%2Bb%2Fc&x", f"?t={MASK}&x"),
        (b"hunter2", base64.b64encode(b"hunter2").decode(), MASK),
        (b"hunter2\n", base64.b64encode(b"hunter2\n").decode(), MASK),
        (PEM, "  QUJDREVGR0hJSktM", f"  {MASK}"),
        (PEM, "-----END KEY-----", MASK),
        (PEM, "xyz is short", "xyz is short"),
        (PEM, base64.b64encode(PEM).decode()[:76], MASK),
        (b"x" * 200, base64.b64encode(b"x" * 200).decode()[76:152], MASK),
        (b"", "nothing", "nothing"),
        (b"\xff\xfe12345", b"\xff\xfe12345".decode(errors="replace"), MASK),
    ],
)
def test_what_is_masked(value: bytes, line: str, masked: str) -> None:
    assert make_mask([value])(line) == masked


LONG = bytes(range(33, 126)) * 3


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", ["", "u", "us", "user:"])
@pytest.mark.parametrize("width", [12, 19, 60, 64, 76, 500])
def test_base64_is_masked_in_lines_of_any_width_with_anything_around_it(
    width: int, before: str, encode: Callable[[bytes], bytes]
) -> None:
    encoded = encode(before.encode() + LONG + b"\n" + b"after" * 40).decode()
    own = encoded[: (len(before) + len(LONG)) * 4 // 3]
    mask = make_mask([LONG])
    lines = [encoded[start : start + width] for start in range(0, len(encoded), width)]
    masked = "\n".join(mask(f"log: {line}") for line in lines)
    inside = own[4 if before else 0 :]
    start = -(-4 // width) * width if before else 0
    assert not [at for at in range(start, len(own) - width, width) if own[at : at + width] in masked]
    assert not [at for at in range(len(inside) - 11) if inside[at : at + 12] in masked]
    assert "log: " in masked


@pytest.mark.parametrize("before", ["u", "us", "user:", "user-name:"])
@pytest.mark.parametrize("value", [b"12345", b"hunter2", b"hunter23", b"hunter234567"])
def test_base64_of_a_login_is_masked(before: str, value: bytes) -> None:
    for after in (b"", b"\n", b":rest"):
        encoded = base64.b64encode(before.encode() + value + after).decode()
        masked = make_mask([value])(f"Authorization: Basic {encoded}")
        left = masked.removeprefix("Authorization: Basic ").partition(MASK)
        assert left[1]
        assert encoded.startswith(left[0])
        assert len(left[0]) <= len(before) * 4 // 3


def test_words_of_base64_that_are_of_no_secret_stay() -> None:
    line = (
        f"sha256-{base64.b64encode(bytes(range(32))).decode()} /usr/share/doc/a-package/changelog.Debian.gz"
    )
    assert make_mask([LONG, b"hunter2"])(line) == line


def test_forms_that_overlap_are_masked_as_one() -> None:
    encoded = base64.b64encode(b"password-of-one").decode()
    other = f"{encoded[10:]}%other"
    assert make_mask([b"password-of-one", other.encode()])(f"<{encoded}%other>") == f"<{MASK}>"


def test_the_longest_secret_is_masked_first() -> None:
    assert make_mask([b"pass", b"password1"])("password1 pass") == f"{MASK} {MASK}"


def test_without_secrets_nothing_is_masked() -> None:
    assert SecretValues().mask("text") == "text"


# What is asked for


def test_a_secret_that_a_step_would_miss(tmp_path: Path) -> None:
    write_flavour(tmp_path, "web", ["install.d/10-x"], yaml="secrets: [token, licence]\n")
    steps = read_recipe(tmp_path, "web").steps
    with pytest.raises(
        UsageError, match=r"a secret is missing: 'licence' \(of the flavour 'web'\)$"
    ) as caught:
        SecretValues({"token": b"x"}).require_for(steps)
    assert "--secret licence=FILE" in caught.value.hint
    SecretValues({"token": b"x", "licence": b"x"}).require_for(steps)
    SecretValues().require_for(step for step in steps if not step.flavour)


def test_a_value_that_no_flavour_declares(tmp_path: Path) -> None:
    write_flavour(tmp_path, "web", yaml="secrets: [token]\n")
    warnings = list(SecretValues({"tokn": b"x", "token": b"x"}).undeclared(read_stack(tmp_path, "web")))
    assert warnings == ["no flavour of the stack declares the secret 'tokn'; did you mean 'token'?"]


def test_revisions_differ_by_value_name_and_cache(tmp_path: Path) -> None:
    write_flavour(
        tmp_path, "web", yaml="secrets: [{name: a, rebuild: true}, {name: b, rebuild: true}, token]\n"
    )
    stack = read_stack(tmp_path, "web")
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one = SecretValues({"a": b"x", "b": b"x"}).revisions(stack, tmp_path / "one")
    assert set(one) == {"a", "b"}
    assert one["a"] != one["b"]
    assert SecretValues({"a": b"x", "b": b"x"}).revisions(stack, tmp_path / "one") == one
    assert SecretValues({"a": b"y", "b": b"x"}).revisions(stack, tmp_path / "one")["a"] != one["a"]
    assert SecretValues({"a": b"x", "b": b"x"}).revisions(stack, tmp_path / "other")["a"] != one["a"]
    (key,) = (tmp_path / "one").iterdir()
    assert key.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="a secret is missing: 'b'"):
        SecretValues({"a": b"x"}).revisions(stack, tmp_path / "one")


def test_no_key_of_revisions_where_nobody_wants_one(tmp_path: Path) -> None:
    write_flavour(tmp_path / "flavours", "web", yaml="secrets: [token]\n")
    assert SecretValues().revisions(read_stack(tmp_path / "flavours", "web"), tmp_path) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["flavours"]
