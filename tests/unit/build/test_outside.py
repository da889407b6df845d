"""The sandbox of scripts of elements outside of the image: what it shows, and what it keeps from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.build.outside import TREE, OutsideSandbox
from dibo.settings.settings import HOST, NONE


def arguments(directory: Path, *, network: str = HOST, **environment: str) -> list[str]:
    context = directory / "context"
    context.mkdir()
    OutsideSandbox(network=network, context=context, environment=environment).write(directory)
    return (directory / "arguments").read_text().split("\0")[:-1]


def mounts(words: list[str], option: str) -> dict[str, str]:
    """What `option` mounts, by the place in the sandbox."""
    return {words[i + 2]: words[i + 1] for i, word in enumerate(words) if word == option}


def test_scripts_see_programs_and_the_context_read_only(tmp_path: Path) -> None:
    words = arguments(tmp_path)
    shown = mounts(words, "--ro-bind")
    assert shown["/usr"] == "/usr"
    assert shown["/run/dibo"] == shown[f"{TREE}/run/dibo"] == str(tmp_path / "context")
    assert "--bind" not in words  # the tree is mounted by the script that knows where it is
    assert (tmp_path / "mount-points").read_text().split() == ["/proc", "/dev", "/sys", "/run/dibo"]


def test_scripts_see_no_files_of_the_user_and_none_of_the_machine_but_public_ones(tmp_path: Path) -> None:
    shown = {*mounts(arguments(tmp_path), "--ro-bind"), *mounts(arguments_again(tmp_path), "--ro-bind-try")}
    for hidden in (
        "/",
        "/home",
        "/root",
        str(Path.home()),
        "/etc",
        "/etc/shadow",
        "/var",
        "/run",
        "/run/user",
    ):
        assert hidden not in shown


def arguments_again(directory: Path) -> list[str]:
    return (directory / "arguments").read_text().split("\0")[:-1]


def test_scripts_may_not_mount(tmp_path: Path) -> None:
    words = arguments(tmp_path)
    allowed = [words[i + 1] for i, word in enumerate(words) if word == "--cap-add"]
    assert "CAP_SYS_CHROOT" in allowed
    assert "CAP_SYS_ADMIN" not in allowed
    assert "CAP_MKNOD" not in allowed


@pytest.mark.parametrize(("network", "is_cut"), [(HOST, False), (NONE, True)])
def test_the_network_is_as_the_settings_say(tmp_path: Path, network: str, is_cut: bool) -> None:
    assert ("--unshare-net" in arguments(tmp_path, network=network)) is is_cut


def test_variables_of_the_run_are_in_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    words = arguments(tmp_path, http_proxy="http://user:password@proxy")
    assert words[words.index("http_proxy") + 1] == "http://user:password@proxy"
    assert (tmp_path / "arguments").stat().st_mode & 0o077 == 0


def test_scripts_tell_builds_apart_by_what_comes_after_the_dot() -> None:
    """source-repositories makes the name of a file of it: `$(dirname ${TMP_MOUNT_PATH##*.})`."""
    assert "/" not in str(Path(TREE.rpartition(".")[2]).parent)
