"""Settings of apt as files have them, beside what apt-config reads in them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from dibo.build.archives.apt_settings import apt_settings, says_yes
from tests.support.requirements import need

TEXTS = (
    'apt::install-recommends "false";',
    "APT::Install-Recommends false;",
    'Foo::Install-Recommends "false";',
    'APT { Get { Assume-Yes "true"; }; Install-Recommends "no" };',
    'APT\n{\n  Install-Recommends\n "no";\n}\n',
    'Acquire::http::Proxy "http://p:1"; APT::Install-Recommends "no"; // "x";',
    'DPkg::Post-Invoke { "rm -f /var/cache/*.deb || true"; };\nFoo::Bar "a//b";\n// x */',
    '/* Foo::No "1";\n */ Foo::Yes "a;b{c}"; # Foo::No "1";\n#Foo::No "1";',
    'Foo::Bar "1"; Foo::Bar "";',
    'Foo::Bar "1"; Foo::Bar;',
    'Foo::Bar "1" "2";;;',
    'Foo "x" { Bar "y"; }; }\nFoo::Baz no//x\n;',
    'Foo { "Bar" "y"; Baz /etc/x; };',
)


@pytest.mark.parametrize("text", TEXTS)
def test_as_apt_reads_them(text: str, tmp_path: Path) -> None:
    need("apt-config")
    file = tmp_path / "apt.conf"
    file.write_text(text + "\n")
    (tmp_path / "empty").touch()
    said = subprocess.run(
        ["apt-config", "-oDir::Etc::parts=/dev/null", f"-c{file}", "dump"],
        env={"APT_CONFIG": str(tmp_path / "empty"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    values = {name.lower(): value for name, value in re.findall(r'^(\S+) "(.*)";$', said, re.MULTILINE)}
    settings = apt_settings([text])
    assert settings or "::no" not in text
    assert {name: values.get(name) for name in settings} == settings
    names = ("apt::install-recommends", "foo::bar", "foo::baz", "foo::no")
    assert {name: values.get(name, "") for name in names} == (
        {name: settings.get(name, values.get(name, "")) for name in names}
    )


def test_a_later_file_counts_more() -> None:
    assert apt_settings(['A::B "1"; A::C "1";', 'a { b "2"; };']) == {"a::b": "2", "a::c": "1"}


@pytest.mark.parametrize("text", ["#clear A;", '#include "/etc/x";', 'A "b"', 'A "b', "{ A b; };"])
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"no setting|not ended|cannot be read|no name"):
        apt_settings([text])


def test_values_that_are_neither_yes_nor_no() -> None:
    settings = apt_settings(["A maybe; B Yes; C OFF; D; "])
    assert [says_yes(settings, name, default=False) for name in "abcd"] == [False, True, False, False]
    assert [says_yes(settings, name, default=True) for name in "abcd"] == [True, True, False, True]
