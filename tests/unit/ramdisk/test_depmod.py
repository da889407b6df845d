"""depmod's files for a part of the modules: the texts cut down, the indexes written anew."""

from __future__ import annotations

from dibo.ramdisk.depmod import depmod, index, module_name, normal
from tests.support.readers.kmod_index import read_index

TEXTS = {
    "modules.dep": "kernel/a/one-a.ko.xz: kernel/b/two.ko.xz\nkernel/b/two.ko.xz:\nkernel/c/three.ko:\n",
    "modules.alias": "# x\nalias pci:v*[a-c]-d one_a\nalias with blank two\nalias pci:v3 three\n",
    "modules.symbols": "alias symbol:two_f two\nalias symbol:three_f three\n",
    "modules.softdep": "# soft\nsoftdep one-a pre: two\nsoftdep three pre: one_a\n",
    "modules.devname": "two vcs c5:1\nthree net/tun c10:200\n",
    "modules.order": "kernel/a/one-a.ko\nkernel/c/three.ko\nkernel/b/two.ko\n",
}


def test_only_what_stays() -> None:
    files = depmod(TEXTS, {"one_a", "two"}, paths={"one_a": "kernel/a/one-a.ko", "two": "kernel/b/two.ko"})
    assert files["modules.dep"] == b"kernel/a/one-a.ko: kernel/b/two.ko\nkernel/b/two.ko:\n"
    assert files["modules.alias"] == b"alias pci:v*[a-c]-d one_a\nalias with blank two\n"
    assert files["modules.symbols"] == b"alias symbol:two_f two\n"
    assert files["modules.softdep"] == b"# soft\nsoftdep one-a pre: two\n"
    assert files["modules.devname"] == b"two vcs c5:1\n"
    assert files["modules.order"] == b"kernel/a/one-a.ko\nkernel/b/two.ko\n"
    assert "modules.weakdep" not in files
    assert read_index(files["modules.dep.bin"]) == [
        ("one_a", 0, "kernel/a/one-a.ko: kernel/b/two.ko"),
        ("two", 1, "kernel/b/two.ko:"),
    ]
    assert read_index(files["modules.alias.bin"]) == [
        ("pci:v*[a-c]_d", 0, "one_a"),
        ("with blank", 1, "two"),
    ]
    assert read_index(files["modules.symbols.bin"]) == [("symbol:two_f", 1, "two")]


def test_names() -> None:
    assert module_name("kernel/net/8021q/8021q.ko.zst") == "8021q"
    assert module_name("a/b-c_d.ko") == "b_c_d"
    assert normal("of:N-x[-a]-b") == "of:N_x[-a]_b"


def test_an_index_splits_prefixes_and_sorts_values() -> None:
    entries = [("abc", "x", 2), ("abd", "y", 1), ("ab", "z", 0), ("abc", "w", 1), ("", "root", 7)]
    assert sorted(read_index(index(entries))) == sorted(
        [("", 7, "root"), ("ab", 0, "z"), ("abc", 1, "w"), ("abc", 2, "x"), ("abd", 1, "y")]
    )
    assert [value for key, _, value in read_index(index(entries)) if key == "abc"] == ["w", "x"]
    assert read_index(index([])) == []
