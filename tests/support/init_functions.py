"""The functions of a ramdisk's /init, without what it does with them: for shells of this machine."""

from __future__ import annotations

from dibo.system import resources


def init_functions() -> str:
    parts = sorted((resources.shared("converters") / "initramfs" / "init.d" / "begin.d").iterdir())
    text = "".join(part.read_text() for part in parts)
    return text[: text.index("\nmount_file_systems\nstart_log")]
