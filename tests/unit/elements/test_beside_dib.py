"""What judges dibo beside diskimage-builder: differences of trees, their reasons, menus of GRUB."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.beside_dib.grub_menu import read_menu
from tests.support.beside_dib.trees import Aspect, Reason, differences, not_explained, read_tar

ACL = "\x02\x00\x00\x00\x01\x00\x07\x00\udcff\udcff\udcff\udcff"
"""user::rwx, as the kernel keeps it."""
USERS = {"etc/passwd": "root:x:0:0::/:/bin/sh\n", "etc/group": "root:x:0:\nweb:x:{gid}:\n"}


def tree(
    path: Path,
    headers: Mapping[str, str] | None = None,
    *,
    gid: int = 7,
    file: str = "text",
    mode: int = 0o644,
) -> Path:
    """A tar in which `srv/file`, with PAX `headers`, is of the group web, and `srv/link` another name of it."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, text in {**USERS, "srv/file": file}.items():
            data = text.replace("{gid}", str(gid)).encode()
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            if name == "srv/file":
                info.mode, info.gid, info.pax_headers = mode, gid, dict(headers or {})
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("./srv/link")
        link.type, link.linkname = tarfile.LNKTYPE, "./srv/file"
        archive.addfile(link)
    return path


def compared(theirs: Path, ours: Path) -> list[str]:
    """Differences but for /etc/group, whose ids are not the same."""
    found = differences(read_tar(theirs), read_tar(ours))
    return [str(one) for one in found if one.path != "etc/group"]


def test_ids_are_compared_by_name_and_acls_in_both_forms(tmp_path: Path) -> None:
    theirs = tree(tmp_path / "a", {"SCHILY.xattr.system.posix_acl_access": ACL}, gid=7)
    ours = tree(tmp_path / "b", {"SCHILY.acl.access": "user::rwx"}, gid=8)
    assert compared(theirs, ours) == []


def test_each_aspect_of_a_file_is_a_difference(tmp_path: Path) -> None:
    theirs = tree(tmp_path / "a", {"SCHILY.xattr.user.colour": "red"})
    ours = tree(tmp_path / "b", mode=0o4644, file="other")
    aspects = {line.split(" is ")[0] for line in compared(theirs, ours)}
    assert aspects == {
        f"srv/{name}: {aspect}" for name in ("file", "link") for aspect in ("mode", "xattrs", "content")
    }


def test_what_no_reason_explains_is_wrong_and_so_is_a_reason_for_nothing(tmp_path: Path) -> None:
    found = [*differences(read_tar(tree(tmp_path / "a")), read_tar(tree(tmp_path / "b", file="other")))]
    content = Reason(paths=r"srv/(file|link)", aspects=(Aspect.CONTENT,), text="it differs")
    assert not_explained(found, [content]) == []
    assert [line.split(" is ")[0] for line in not_explained(found, [])] == [
        "srv/file: content",
        "srv/link: content",
    ]
    unused = Reason(paths=r"srv/fil", aspects=(Aspect.CONTENT,), text="of nothing")
    assert not_explained(found, [content, unused]) == ["explains nothing: srv/fil (content)"]
    one_tree = [*differences(read_tar(tmp_path / "a"), {})]
    assert {difference.aspect for difference in one_tree} == {Aspect.THEIRS}
    assert not_explained(one_tree, [content])


def test_a_menu_is_its_first_entry_its_last_timeout_and_the_serial_port() -> None:
    entry = "\tlinux\t/vmlinuz root=LABEL=x ro  quiet\n\tinitrd\t/initrd\n}\n"
    theirs = f"serial --speed=115200 --unit=0\nset timeout=30\n  set timeout=5\nmenuentry a {{\n{entry}linux /other x\n"
    ours = f"set timeout=5\n\tif serial --speed=115200 --unit=0; then\nmenuentry b {{\n{entry}"
    assert read_menu(theirs) == read_menu(ours)
    assert read_menu(ours).arguments == ("root=LABEL=x", "ro", "quiet")
    assert read_menu(ours.replace("timeout=5", "timeout=6")) != read_menu(ours)
