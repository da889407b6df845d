"""What differs between two images, in every combination of forms; what is left out; what is read for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dibo.contents.compare import EXCLUDED, NOISE, CompareOptions, compare
from dibo.contents.comparison import SECTIONS, Comparison
from dibo.contents.read import ReadRequest, open_contents, open_pair
from dibo.contents.text import comparison_text
from tests.support.images.image_forms import (
    CAPABILITY,
    FORMS,
    PASSWD,
    STATUS,
    Member,
    Root,
    debian_root,
    directory,
    write_form,
    write_layout,
    write_tar,
)

_EMPTY: Root = {"as-ever": b""}


def _changed() -> dict[str, Member | bytes | str]:
    root = debian_root()
    root["var/lib/dpkg/status"] = STATUS.replace("5.2-1", "5.2-2").encode()
    root["usr/bin/bash"] = Member(data=b"#!SHELL" * 1000, mode=0o755)
    root["usr/bin/su"] = Member(data=b"su", mode=0o755)
    root["usr/bin/ping"] = Member(data=b"ping", mode=0o755)
    root["etc/passwd"] = f"{PASSWD}db:x:101:101::/:/bin/false\n".encode()
    root["usr/lib/os-release"] = b"ID=debian\nVERSION_ID=13\n"
    root["link"] = "two"
    root["etc/group"] = b"root:x:0:\nshadow:x:42:web\n"
    root["dev/null"] = b"no device"
    root["fifo"] = Member(data=b"", uid=7, gid=8)
    root["boot/vmlinuz-6.2.0-1-amd64"] = b"new"
    del root["etc/systemd/system/multi-user.target.wants/web.service"]
    return root


def _compared(
    request: ReadRequest, before: str, after: str, options: CompareOptions | None = None
) -> Comparison:
    with open_pair((before, after), replace(request, hashes=True)) as pair:
        return compare(*pair, options or CompareOptions())


def _words(comparison: Comparison) -> dict[str, tuple[str, ...]]:
    return {
        c.path.decode(): c.aspects or (c.change,)
        for c in comparison.files
        if not c.path.startswith(b"kernel")
    }


@pytest.mark.parametrize("after", FORMS)
@pytest.mark.parametrize("before", FORMS)
def test_differences_of_all_forms(tmp_path: Path, request_: ReadRequest, before: str, after: str) -> None:
    first, second = {**debian_root(), "link": "one"}, _changed()
    for root in (first, second):
        root["usr/bin/ping"] = replace(second["usr/bin/ping"], data=b"ping")  # type: ignore[type-var]
    a, b = write_form(before, tmp_path, first, name="a"), write_form(after, tmp_path, second, name="b")
    comparison = _compared(request_, a, b)
    assert [(p.name, p.change) for p in comparison.packages] == [("bash", "changed")]
    assert [(p.name, p.before and p.before.state, p.after and p.after.state) for p in comparison.units] == [
        ("web.service", "enabled", "disabled")
    ]
    assert [(p.name, p.change) for p in comparison.users] == [("db", "added")]
    assert [(p.name, p.change) for p in comparison.groups] == [("shadow", "changed")]
    assert [(p.name, p.change) for p in comparison.kernels] == [("6.2.0-1-amd64", "added")]
    assert [p.name for p in comparison.system] == ["PRETTY_NAME", "VERSION_ID"]
    assert _words(comparison) == {
        "boot/vmlinuz-6.2.0-1-amd64": ("added",),
        "dev/null": ("type",),
        "etc/group": ("size",),
        "etc/passwd": ("size",),
        "etc/systemd/system/multi-user.target.wants": ("removed",),
        "etc/systemd/system/multi-user.target.wants/web.service": ("removed",),
        "fifo": ("type",),
        "link": ("target",),
        "usr/bin/bash": ("content",),
        "usr/bin/rbash": ("content",),
        "usr/bin/su": ("mode",),
        "usr/lib/os-release": ("size",),
        "var/lib/dpkg/status": ("content",),
    }
    by_package = {change.path for change in comparison.files if change.of_package}
    assert by_package == {b"usr/bin/bash", b"usr/bin/rbash", b"var/lib/dpkg/status"}
    assert comparison.differs


@pytest.mark.parametrize("form", FORMS)
def test_an_image_is_like_itself(tmp_path: Path, request_: ReadRequest, form: str) -> None:
    name = write_form(form, tmp_path, debian_root())
    comparison = _compared(request_, name, name, CompareOptions(noise=True, times=True))
    assert not comparison.differs
    assert not any(getattr(comparison, section, ()) for section in SECTIONS if section != "layers")
    assert comparison_text(comparison) == ""


def test_attributes(tmp_path: Path, request_: ReadRequest) -> None:
    before: Root = {
        "cap": Member(xattrs={"security.capability": CAPABILITY}),
        "own": b"1",
        "dir": directory(0o700),
    }
    after: Root = {"cap": b"", "own": Member(data=b"1", uid=5, gid=6), "dir": directory(0o1777)}
    a, b = str(write_tar(tmp_path / "a.tar", before)), write_form("disk", tmp_path, after)
    comparison = _compared(request_, a, b)
    assert _words(comparison) == {"cap": ("xattrs",), "own": ("owner", "group"), "dir": ("mode",)}
    text = comparison_text(comparison)
    assert "capabilities cap_net_raw → none" in text
    assert "mode 0700 → 1777" in text
    assert "owner 0 → 5, group 0 → 6" in text
    options = CompareOptions(owners=False, sections=("files",))
    assert _words(_compared(request_, a, b, options)) == {"cap": ("xattrs",)}


def test_noise_and_exclusions_are_counted(tmp_path: Path, request_: ReadRequest) -> None:
    before: Root = {
        "etc/machine-id": b"1",
        "etc/motd": b"1",
        "var/log/x": b"1",
        "usr/share/doc/a/copyright": b"1",
        "x.pyc": b"1",
    }
    after: Root = {**dict.fromkeys(before, b"two"), "var/log/new": b"", "etc/new": b""}
    a, b = (str(write_tar(tmp_path / f"{n}.tar", root)) for n, root in (("a", before), ("b", after)))
    options = CompareOptions(exclude=("/usr/share/doc", "*.pyc"))
    comparison = _compared(request_, a, b, options)
    assert _words(comparison) == {"etc/motd": ("size",), "etc/new": ("added",)}
    assert comparison.left_out == {EXCLUDED: 2, NOISE: 3}
    assert "left out: 2 files (excluded), 3 files (logs, caches, ids)" in comparison_text(comparison)
    everything = _compared(request_, a, b, CompareOptions(noise=True, times=True))
    assert len(everything.files) == 7
    assert everything.left_out == {}
    del after["etc/new"]  # type: ignore[attr-defined]
    assert not _compared(
        request_, a, str(write_tar(tmp_path / "c.tar", {**after, "etc/motd": b"1"})), options
    ).differs


@pytest.mark.parametrize(
    ("glob", "left"),
    [
        ("/usr/share/doc/*", {"etc/doc"}),
        ("doc", {"usr/share/docs/x"}),
        ("doc*", set()),
        ("/etc", {"usr/share/doc/x", "usr/share/docs/x"}),
        ("usr/*/x", {"etc/doc"}),
        ("[", {"etc/doc", "usr/share/doc/x", "usr/share/docs/x"}),
    ],
)
def test_globs(tmp_path: Path, request_: ReadRequest, glob: str, left: set[str]) -> None:
    files: Root = {**_EMPTY, "usr/share/doc/x": b"", "usr/share/docs/x": b"", "etc/doc": b""}
    a, b = str(write_tar(tmp_path / "a.tar", _EMPTY)), str(write_tar(tmp_path / "b.tar", files))
    comparison = _compared(request_, a, b, CompareOptions(exclude=(glob,)))
    listed = {c.path.decode() for c in comparison.files if c.after is not None and c.after.kind == "file"}
    if glob == "/usr/share/doc/*":
        left = {*left, "usr/share/docs/x"}
    assert listed == left


def test_sections(tmp_path: Path, request_: ReadRequest) -> None:
    a = str(write_tar(tmp_path / "a.tar", debian_root()))
    b = str(write_tar(tmp_path / "b.tar", _changed()))
    comparison = _compared(request_, a, b, CompareOptions(sections=("users",)))
    assert comparison.users
    assert not (comparison.files or comparison.packages or comparison.units or comparison.directories)
    assert comparison_text(comparison) == "users:\n  + db  uid 101"
    assert not _compared(request_, a, b, CompareOptions(sections=("config",))).differs
    assert _compared(request_, a, b, CompareOptions(sections=("sizes",))).differs


def test_times_count_only_when_asked_for(tmp_path: Path, request_: ReadRequest) -> None:
    with open_contents(str(write_tar(tmp_path / "a.tar", {"x": b"1"})), request_) as first:
        record = replace(first.inventory.files[b"x"], mtime=0)
        second = replace(first, inventory=replace(first.inventory, files={b"x": record}))
        assert not compare(first, second).differs
        (change,) = compare(first, second, CompareOptions(times=True)).files
    assert change.aspects == ("time",)


def test_config_of_container_images(tmp_path: Path, request_: ReadRequest) -> None:
    a = write_layout(tmp_path / "a", {"x": b""}, run={"Env": ["A=1", "B=2"], "Labels": {"io.dibo.key": "1"}})
    b = write_layout(tmp_path / "b", {"x": b""}, run={"Env": ["A=2"], "Cmd": ["sh"], "Labels": {"l": "1"}})
    pairs = _compared(request_, a, b).config
    assert {p.name: (p.before, p.after) for p in pairs} == {
        "Cmd": (None, '["sh"]'),
        "Env A": ("1", "2"),
        "Env B": ("2", None),
        "Label l": (None, "1"),
    }


@contextmanager
def _blobs_read(name: str) -> Iterator[list[str]]:
    """Names of blobs of a layout that were opened, in order."""
    import dibo.images.sources.files as files

    opened: list[str] = []
    original = files.DirectoryFiles.open

    def counted(self: files.DirectoryFiles, name: str):  # type: ignore[no-untyped-def]
        opened.append(name.rpartition("/")[2])
        return original(self, name)

    files.DirectoryFiles.open = counted  # type: ignore[method-assign]
    try:
        yield opened
    finally:
        files.DirectoryFiles.open = original  # type: ignore[method-assign]


def test_shared_layers_are_read_once(tmp_path: Path, request_: ReadRequest) -> None:
    base, top = debian_root(), {"opt/a": b"1"}
    a = write_layout(tmp_path / "a", base, top)
    b = write_layout(tmp_path / "b", base, {"opt/a": b"2", "usr/bin/su": Member(data=b"su", mode=0o700)})
    with _blobs_read(a) as opened:
        comparison = _compared(request_, a, b)
    assert _words(comparison) == {"opt/a": ("content",), "usr/bin/su": ("mode",)}
    assert comparison.layers is not None
    assert comparison.layers.shared == 1
    shared = comparison.before.layers[0].digest.partition(":")[2]
    assert opened.count(shared) == 2, (
        "once for both, and once for /usr/bin/su, which the other image has again"
    )
    shutil.rmtree(tmp_path / "b")
    b = write_layout(tmp_path / "b", base, {"opt/a": b"2"})
    with _blobs_read(a) as opened:
        assert _words(_compared(request_, a, b)) == {"opt/a": ("content",)}
    assert opened.count(shared) == 1


def test_a_file_that_cannot_be_read(tmp_path: Path, request_: ReadRequest) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)
    with open_pair((str(tmp_path / "a"), str(tmp_path / "b")), request_) as pair:
        (tmp_path / "a" / "x").unlink()
        comparison = compare(*pair)
    assert comparison.unread == (b"x",)


def test_hostile_names_in_text(tmp_path: Path, request_: ReadRequest) -> None:
    root: Root = {**_EMPTY, "a\x1b[2J\n\u202e": b"", "b": "\x1b]0;title\x07"}
    a, b = str(write_tar(tmp_path / "a.tar", _EMPTY)), str(write_tar(tmp_path / "b.tar", root))
    text = comparison_text(_compared(request_, a, b))
    assert not set(text) & set("\x1b\x07\u202e")
    assert "/a\\x1b[2J\\n\\u202e" in text


def test_directories_that_are_new_take_one_line(tmp_path: Path, request_: ReadRequest) -> None:
    root: Root = {
        **_EMPTY,
        "opt": directory(),
        **{f"opt/{number}": b"12345" for number in range(5)},
        "z": directory(),
        "z/1": b"",
    }
    a, b = str(write_tar(tmp_path / "a.tar", _EMPTY)), str(write_tar(tmp_path / "b.tar", root))
    comparison = _compared(request_, a, b)
    lines = comparison_text(comparison).splitlines()
    assert lines[1:4] == [
        "  + /opt  directory 0755 with 5 files, 25 B",
        "  + /z    directory 0755",
        "  + /z/1  file 0644, 0 B",
    ]
    assert "  + /opt/4  file 0644, 5 B" in comparison_text(comparison, files=True).splitlines()


def test_of_long_lists_the_first_rows_are_shown(tmp_path: Path, request_: ReadRequest) -> None:
    root: Root = {**_EMPTY, **{f"new-{number:03}": b"" for number in range(70)}}
    a, b = str(write_tar(tmp_path / "a.tar", _EMPTY)), str(write_tar(tmp_path / "b.tar", root))
    comparison = _compared(request_, a, b)
    lines = comparison_text(comparison).splitlines()
    assert lines[1].startswith("  + /new-000 ")
    assert lines[60].startswith("  + /new-059 ")
    assert lines[61] == "    … and 10 more: --all lists them"
    assert "new-060" not in "".join(lines)
    for chosen in ({"complete": True}, {"files": True}):
        whole = comparison_text(comparison, **chosen)
        assert whole.count("+ /new-") == 70
        assert "more" not in whole
