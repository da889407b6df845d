"""The commands in a shell script."""

from __future__ import annotations

import pytest

from dibo.elements.checks.shell_commands import shell_commands, unwrapped
from tests.support import dib
from tests.support.dib import needs_wheel


def texts(script: str) -> list[str]:
    return [str(command) for command in shell_commands(script)]


@pytest.mark.parametrize(
    ("script", "commands"),
    [
        ("a b; c && d || e | f & g", ["a b", "c", "d", "e", "f", "g"]),
        ("# mount\na # mount\nb '#' c#d", ["a", "b # c#d"]),
        ("if [ -e x ]; then a; elif ! b; then c; else d; fi", ["[ -e x ]", "a", "b", "c", "d"]),
        ("while read x; do a; done < f", ["read x", "a"]),
        ("for x in 1 2; do a $x; done", ["for x in 1 2", "a $x"]),
        ("case $x in a|b) c ;; *) d;; esac; e", ["c", "d", "e"]),
        ("case $x in\n  (a) c; f ;;\n  b)\n    d\n    ;;\nesac\ne", ["c", "f", "d", "e"]),
        ("f() { a; }\nfunction g { b; }\nf", ["a", "b", "f"]),
        ("(cd x && a) 2>/dev/null", ["cd x", "a"]),
        ("A=1 B=$(c d) e f", ["A=1 B=$(...) e f", "c d"]),
        ("A=1", ["A=1"]),
        ('export X=$(a "$(b)" `c \\`d\\``)', ["export X=$(...)", "a $(...) $(...)", "b", "c $(...)", "d"]),
        ("echo \"mount $(a) 'x'\" 'mount $(b)'", ["echo mount $(...) 'x' mount $(b)", "a"]),
        ("echo $(case x in a) b;; esac; c) d", ["echo $(...) d", "b", "c"]),
        ("x=$((1 + (2)))\n((y = 3))\na", ["x=$((...))", "a"]),
        ("[[ a && -n $b || c ]] && d", ["d"]),
        ("a <<EOF\nmount x\nEOF\nb", ["a", "b"]),
        ("a <<'X' >f\nmount\nX\nb <<-Y\n\tz\n\tY\nc", ["a", "b", "c"]),
        ("a <<< mount\nb", ["a", "b"]),
        ("diff <(a b) >(c)", ["diff", "a b", "c"]),
        ("a \\\n  b\nc", ["a b", "c"]),
        ("echo ${x:-$(a)} ${y//[()]/} b", ["echo ${x:-$(a)} ${y//[()]/} b", "a"]),
        ("a=(1 2)\nb", ["a=", "1 2", "b"]),
        ("echo 'it", ["echo it"]),
        ('echo "it', ["echo it"]),
        ("echo $(a", ["echo $(...)", "a"]),
    ],
)
def test_commands(script: str, commands: list[str]) -> None:
    assert sorted(texts(script)) == sorted(commands)


def test_lines_targets_and_substitutions() -> None:
    one, two = shell_commands('#!/bin/bash\n\na \\\n  "$(b)" >f 2>&1\n')
    assert (one.line, one.targets, one.substituted) == (3, ("f", "1"), False)
    assert (two.program, two.line, two.substituted) == ("b", 4, True)
    assert shell_commands("x <<E\n\n\nE\n/usr/bin/y")[1].line == 5
    assert shell_commands("/usr/bin/y z")[0].program == "y"


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("sudo mount x", "mount x"),
        ("sudo -E -u root A=b mount x", "mount x"),
        ("sudo chroot $R env -u X PATH=/bin make install", "make install"),
        ("chroot --userspec=1 /x make", "make"),
        ("timeout -k 5 10 make", "make"),
        ("find | xargs -n 1 rm", "rm"),
        ("exec make", "make"),
        ("sudo -v", "sudo -v"),
        ("make sudo", "make sudo"),
    ],
)
def test_what_runs_in_the_end(command: str, program: str) -> None:
    assert str(unwrapped(shell_commands(command)[-1])) == program


@needs_wheel
def test_scripts_of_all_elements_are_read_to_their_end() -> None:
    """A command that is added at the end of each is found, and on its line: no quote or here-document stayed open."""
    scripts = [
        path
        for path in dib.elements().rglob("*")
        if path.is_file() and path.read_bytes().startswith((b"#!/bin/bash", b"#!/usr/bin/env bash"))
    ]
    assert len(scripts) > 200
    for path in scripts:
        text = path.read_text().rstrip("\n") + "\n"
        *_, last = shell_commands(f"{text}the-last-command here\n")
        assert (str(last), last.line) == ("the-last-command here", text.count("\n") + 1), path
