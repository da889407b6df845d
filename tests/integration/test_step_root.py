"""What a step finds in its root and leaves there: names that engines usually mount over, and links that lead out."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from dibo.errors import EngineError
from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.images.oci_layouts import LayerTar, OciLayout
from tests.support.requirements import need, unmet

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def builder() -> pwd.struct_passwd:
    need("buildah", "newuidmap", "busybox", "setpriv", "bwrap")
    return user.need_ordinary_user()


def write(place: BuildEnv, name: str, hook: str) -> None:
    write_flavour(place.flavours, name, {f"install.d/10-{name}": hook})


@pytest.mark.parametrize(
    ("before", "hook", "after"),
    [
        ("", "echo nameserver 192.0.2.7 > /etc/resolv.conf", "nameserver 192.0.2.7\n"),
        ("nameserver 192.0.2.1\n", "true", "nameserver 192.0.2.1\n"),
        (
            "nameserver 192.0.2.1\n",
            "sed -i '$a search x' /etc/resolv.conf; grep -q 'search x' /etc/resolv.conf",
            None,
        ),
        ("-> ../run/resolver/stub.conf", "test -s /etc/resolv.conf", "-> ../run/resolver/stub.conf"),
        (
            "-> ../run/systemd/resolve/stub.conf",
            "echo 'nobody:x:65534:65534::/:/bin/sh' >> /etc/passwd; su nobody -c 'cat /etc/resolv.conf > /dev/null'",
            "-> ../run/systemd/resolve/stub.conf",
        ),
        (
            "-> ../run/resolver/stub.conf",
            "echo nameserver 192.0.2.7 > /etc/resolv.conf",
            "nameserver 192.0.2.7\n",
        ),
        (
            "-> /run/resolver/stub.conf",
            "rm /etc/resolv.conf && echo own > /etc/resolv.conf",
            "own\n",
        ),
        (
            "",
            "ln -s ../run/x /etc/resolv.conf.new && mv /etc/resolv.conf.new /etc/resolv.conf",
            "-> ../run/x",
        ),
    ],
)
def test_what_a_hook_made_of_resolv_conf_stays_and_nothing_else(
    builder: pwd.struct_passwd, before: str, hook: str, after: str | None
) -> None:
    with build_env(builder) as place:
        write(place, "before", f"#!/bin/sh\nset -e\n{put_resolv_conf(before)}\n")
        said = place.run("dibo", "build", "--no-base", "before")
        assert said.code == 0, said.err
        write(place, "hook", f"#!/bin/sh\nset -e\n{hook}\n")
        said = place.run("dibo", "build", "--no-base", "before", "hook")
        assert said.code == 0, said.err
        tree = place.directory / "tree"
        tree.mkdir()
        tar = place.tree(said.out.strip())
        subprocess.run(["tar", "-C", tree, "-xf", tar, "./etc", "./run"], check=True)
        file = tree / "etc/resolv.conf"
        if after is None:
            assert "search x" in file.read_text()
        elif after.startswith("-> "):
            assert str(file.readlink()) == after.removeprefix("-> ")
        else:
            assert (file.is_symlink(), file.read_text()) == (False, after)
        assert not any((tree / "run").iterdir())


def put_resolv_conf(content: str) -> str:
    """The line of a hook that has /etc/resolv.conf be this: a text, a link, or nothing."""
    if content.startswith("-> "):
        return f"rm -f /etc/resolv.conf; ln -s {content.removeprefix('-> ')} /etc/resolv.conf"
    return f"printf '{content}' > /etc/resolv.conf" if content else "true"


@pytest.mark.parametrize(
    ("change", "after"),
    [
        ("echo nameserver 192.0.2.7 > etc/resolv.conf", "nameserver 192.0.2.7\n"),
        ("ln -sf elsewhere etc/resolv.conf", "-> elsewhere"),
        (": > etc/resolv.conf", "-> ../run/systemd/resolve/stub-resolv.conf"),
        ("rm -f etc/resolv.conf", "-> ../run/systemd/resolve/stub-resolv.conf"),
    ],
)
def test_resolv_conf_of_a_base_stays_as_its_author_left_it(
    builder: pwd.struct_passwd, change: str, after: str
) -> None:
    with build_env(builder) as place:
        layout = image_with(place, change)
        write(place, "hook", "#!/bin/sh\ntest -s /etc/resolv.conf\n")
        said = place.run("dibo", "build", "--no-base", "--base", f"oci:{layout}", "hook")
        assert said.code == 0, said.err
        tree = place.directory / "tree"
        tree.mkdir()
        subprocess.run(
            ["tar", "-C", tree, "-xf", place.tree(said.out.strip()), "./etc/resolv.conf"], check=True
        )
        file = tree / "etc/resolv.conf"
        assert (f"-> {file.readlink()}" if file.is_symlink() else file.read_text()) == after


@pytest.mark.parametrize("change", ["mkdir", "mkdir -p run/d; ln -sf ../run/d"])
def test_a_directory_in_place_of_resolv_conf_is_an_error_of_the_root(
    builder: pwd.struct_passwd, change: str
) -> None:
    with build_env(builder) as place:
        layout = image_with(place, f"rm -f etc/resolv.conf; {change} etc/resolv.conf")
        write(place, "hook", "#!/bin/sh\ntrue\n")
        said = place.run("dibo", "build", "--no-base", "--base", f"oci:{layout}", "hook")
        assert said.code == EngineError.exit_code, said.err
        assert "/etc/resolv.conf of the root is a directory" in said.error


@pytest.mark.parametrize("link", ["etc", "run", "dev", "usr", "tmp", "proc"])
def test_links_of_an_image_lead_nowhere_outside(builder: pwd.struct_passwd, link: str) -> None:
    """A base whose directory is a link to one of the host: nothing is made, changed or removed there."""
    with build_env(builder) as place:
        victim = place.directory / "victim"
        for name in ("systemd", "lib/systemd", "in_target.d"):
            (victim / name).mkdir(parents=True)
        for name in ("resolv.conf", "hosts", ".containerenv"):
            (victim / name).write_text("of the host")
        subprocess.run(["chown", "-R", f"{builder.pw_uid}:{builder.pw_gid}", victim], check=True)
        before = sorted((path, path.lstat().st_mtime_ns) for path in victim.rglob("*"))
        layout = image_with_link(place, link, victim)
        write(place, "hook", "#!/bin/sh\ntrue\n")
        said = place.run("dibo", "build", "--no-base", "--base", f"oci:{layout}", "hook")
        assert "Traceback" not in said.err
        assert sorted((path, path.lstat().st_mtime_ns) for path in victim.rglob("*")) == before, said.err
        if link in ("dev", "tmp", "proc"):
            assert "is a symbolic link" in said.err
            assert "--isolation chroot" not in said.err


@pytest.mark.parametrize("owner", ["user", "root"])
@pytest.mark.parametrize(
    ("before", "hook"),
    [
        ("true", "mv /etc /other; ln -s @VICTIM@ /etc"),
        (
            "rm -f /etc/resolv.conf; ln -s ../run/a/empty /etc/resolv.conf",
            "mv /run/a /run/b; ln -s @VICTIM@ /run/a",
        ),
        (
            "rm -f /etc/resolv.conf; ln -s ../run/a/new/x /etc/resolv.conf",
            "mv /run/a /run/b; ln -s @VICTIM@ /run/a",
        ),
        (
            "rm -f /etc/resolv.conf; ln -s ../run/x /etc/resolv.conf",
            "echo own > /etc/resolv.conf; mv /etc /other; ln -s @VICTIM@ /etc",
        ),
        (
            "echo nameserver 192.0.2.6 > /etc/resolv.conf",
            "mv /etc /other; ln -s ../../../../../../../../../../../..@VICTIM@ /etc",
        ),
        (
            "rm -f /etc/resolv.conf; ln -s /run/a/new/empty /etc/resolv.conf",
            "mv /run/a /run/b; ln -s @VICTIM@ /run/a",
        ),
    ],
    ids=["etc", "file of run", "directory of run", "etc by link", "etc by a way up", "file below run"],
)
def test_links_that_a_hook_leaves_lead_nowhere_outside(
    builder: pwd.struct_passwd, before: str, hook: str, owner: str
) -> None:
    """A hook puts a link to a directory of the host where dibo clears up after it."""
    if owner == "root" and os.geteuid() != 0:
        unmet("root builds only where root runs the tests")
    who = builder if owner == "user" else pwd.getpwuid(0)
    with build_env(who) as place:
        victim = place.directory / "victim"
        (victim / "new").mkdir(parents=True)
        (victim / "empty").touch()
        (victim / "new/empty").touch()
        (victim / "resolv.conf").write_bytes(Path("/etc/resolv.conf").read_bytes())
        (victim / "x").symlink_to("resolv.conf")
        subprocess.run(["chown", "-R", f"{who.pw_uid}:{who.pw_gid}", victim], check=True)
        state = sorted((path, path.lstat().st_mtime_ns) for path in [victim, *victim.rglob("*")])
        write(place, "before", f"#!/bin/sh\nset -e\n{before}\n")
        write(place, "hook", f"#!/bin/sh\nset -e\n{hook.replace('@VICTIM@', str(victim))}\necho planted\n")
        said = place.run("dibo", "build", "-x", "--no-base", "before", "hook")
        assert "    planted" in said.err, said.err
        assert sorted((path, path.lstat().st_mtime_ns) for path in [victim, *victim.rglob("*")]) == state
        assert place.left() == []


def test_the_environment_of_an_image_gives_the_sandbox_no_arguments(builder: pwd.struct_passwd) -> None:
    """A NUL in a variable, and after it arguments of bwrap that mount the host's root."""
    with build_env(builder) as place:
        victim = place.directory / "victim"
        victim.mkdir(mode=0o777)
        victim.chmod(0o777)
        tar = place.directory / "base.tar"
        tar.write_bytes(Path(place.environment["DIBO_BASE"]).read_bytes())
        layout = OciLayout(place.directory / "image")
        variables = ["PATH=/bin", "X=1\0--bind\0/\0/mnt"]
        layout.write_index({"it": layout.image([LayerTar(tar=tar)], environment=variables)})
        subprocess.run(["chmod", "-R", "a+rX", layout.directory], check=True)
        write(place, "hook", f"#!/bin/sh\necho planted > /mnt{victim}/file\n")
        said = place.run("dibo", "build", "--no-base", "--base", f"oci:{layout.directory}:it", "hook")
        assert not any(victim.iterdir())
        assert (said.code, "'X'" in said.err) == (33, True), said.err


def image_with_link(place: BuildEnv, link: str, target: Path) -> Path:
    """An OCI layout of the base, where one directory of the root is a link out of it."""
    return image_with(place, 'rm -rf "$3"; ln -s "$4" "$3"', link, str(target))


def image_with(place: BuildEnv, change: str, *arguments: str) -> Path:
    """An OCI layout of the base, with systemd-resolved and a change that a shell makes in the root's directory; its
    `arguments` are $3 and those after it."""
    layout = place.directory / "image"
    script = f"""set -e
    cp -a "$1" "$2/root.tar"; mkdir "$2/root"; tar -C "$2/root" -xf "$2/root.tar"
    mkdir -p "$2/root/usr/lib/systemd"; cp "$2/root/bin/busybox" "$2/root/usr/lib/systemd/systemd-resolved"
    cd "$2/root"; {change}
    c=$(buildah from scratch); buildah add -q $c "$2/root" / > /dev/null
    buildah commit -q --rm $c "oci:$2/image:it" > /dev/null"""
    base, directory = place.environment["DIBO_BASE"], place.directory
    said = place.run("buildah", "unshare", "sh", "-c", script, "sh", base, directory, *arguments)
    assert said.code == 0, said.err
    return layout
