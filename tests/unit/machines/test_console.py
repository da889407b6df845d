"""What tells a machine that has died from one that is slow."""

from __future__ import annotations

import pytest

from dibo.machines.console import ConsoleText, CrashDetector, clean


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("[    1.81] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\n", "0000 [#1]"),
        ("[    9.00] int3: 0000 [#2] SMP NOPTI\n", "0000 [#2]"),
        ("[    9.00] Oops: Oops: 0002 [#1] SMP NOPTI\n", "0002 [#1]"),
        (
            "[    9.00] Kernel panic - not syncing: VFS: Unable to mount root fs\n",
            "Kernel panic - not syncing",
        ),
        ("error: no such device: x.\nEntering rescue mode...\ngrub rescue> ", "grub rescue>"),
        ("You are in emergency mode. After logging in", "You are in emergency mode"),
    ],
)
def test_signs(text: str, sign: str) -> None:
    assert CrashDetector().hopeless(text) == sign
    lookout = CrashDetector()
    assert next(each for each in map(lookout.hopeless, text) if each) == sign  # it comes letter by letter


@pytest.mark.parametrize(
    "text",
    [
        "[  60.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!\n",  # a guest on a busy machine; it goes on
        "[   2.0] virtio_blk virtio1: [vda] 4194304 512-byte logical blocks\nDebian GNU/Linux 13 demo ttyS0\n",
        "dibo: FAILED: deploy: no network\n/ # ",
    ],
)
def test_no_signs(text: str) -> None:
    assert CrashDetector().hopeless(text) is None


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_text_in_pieces_is_that_of_the_whole(size: int) -> None:
    data = "\x1b[0mwelcome\x1b[1;32m, m\N{LATIN SMALL LETTER U WITH DIAERESIS}de\x1b(B one\x1b[?2004h\r\n$ ".encode()
    text = ConsoleText()
    pieces = [text.more(data[at : at + size]) for at in range(0, len(data), size)]
    assert (
        "".join(pieces)
        == clean(data.decode())
        == "welcome, m\N{LATIN SMALL LETTER U WITH DIAERESIS}de one\n$ "
    )


def test_a_sequence_without_an_end_is_let_go() -> None:
    text = ConsoleText()
    assert "9" * 20 in "".join(text.more(piece) for piece in (b"\x1b[", b"9" * 40, b"\n"))
