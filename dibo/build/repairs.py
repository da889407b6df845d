"""What `dibo doctor --fix` repairs: without root, without a question, and nothing that it does not understand.

A repair is tried only where a finding offers it. It says what it did; a second time there is nothing left to do.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dibo.build.bases.settings import BaseSettings
from dibo.build.bases.ubuntu_keys import UbuntuKeys
from dibo.build.finding import Finding
from dibo.errors import DiboError, EngineError
from dibo.images.sources.buildah_environment import chooses_driver, engine_environment
from dibo.settings.settings import Settings
from dibo.system import process, resources
from dibo.system.report import Report
from dibo.system.workspace import Workspace

STORAGE_CONF: Final = (
    '# written by `dibo doctor --fix`; containers-storage.conf(5)\n[storage]\ndriver = "overlay"\n'
)


def cache_directory(cache: Path) -> Iterator[Finding]:
    """A cache directory that is missing, or open to others, or another user's."""
    try:
        state = cache.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        yield Finding(
            title="cache directory", works=False, detail=f"{cache}: {error.strerror}", advice=_ANOTHER
        )
        return
    if not stat.S_ISDIR(state.st_mode):
        return  # a link leads where the user wants it
    if state.st_uid != os.geteuid():
        detail = f"{cache} belongs to the user with id {state.st_uid}"
        yield Finding(
            title="cache directory",
            works=state.st_uid == 0 and os.access(cache, os.W_OK),
            detail=detail,
            advice=f"sudo chown -R {os.geteuid()}:{os.getegid()} {cache}\nor {_ANOTHER}",
        )
    elif state.st_mode & 0o077:

        def close() -> str:
            cache.chmod(0o700)
            return f"chmod 700 {cache}"

        yield Finding(
            title="cache directory",
            works=False,
            needed=False,
            detail=f"{cache} is open to other users",
            advice=f"chmod 700 {cache}",
            repair=close,
        )


def runtime_directory() -> Iterator[Finding]:
    """XDG_RUNTIME_DIR that is not this user's, as `su` and `sudo -u` leave it: buildah fails in it."""
    text = os.environ.get("XDG_RUNTIME_DIR")
    if not text:
        return
    directory, title = Path(text), "runtime directory"
    try:
        owner = directory.stat().st_uid
        reason = "" if owner == os.geteuid() else f"it belongs to the user with id {owner}"
    except OSError as error:
        reason = error.strerror or str(error)
    if not reason:
        return

    def make() -> str:
        directory.mkdir(mode=0o700)
        return f"mkdir -m 700 {directory}"

    can_be_made = not os.path.lexists(directory) and os.access(directory.parent, os.W_OK)
    yield Finding(
        title=title,
        works=False,
        detail=f"XDG_RUNTIME_DIR is {directory}: {reason}",
        advice=f"mkdir -m 700 {directory}" if can_be_made else "unset XDG_RUNTIME_DIR",
        repair=make if can_be_made else None,
    )


def storage_configuration() -> Iterator[Finding]:
    """A store of containers without a configuration: dibo uses overlay, the user's own buildah may use vfs."""
    if os.geteuid() == 0 or process.find("buildah") is None or not chooses_driver():
        return
    data = Path(os.environ.get("XDG_DATA_HOME") or resources.home() / ".local" / "share")
    uses_vfs = os.path.exists(data / "containers/storage/vfs-images")  # noqa: PTH110 - a foreign one is no error
    path = Path(os.environ.get("XDG_CONFIG_HOME") or resources.home() / ".config") / "containers/storage.conf"

    def write() -> str:
        text = _configuration()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("x") as file:
            file.write(text)
        return f"wrote {path}: driver overlay"

    advice = (
        f'there are images of the driver vfs, which that would hide: in {path}, [storage] driver = "overlay"'
        if uses_vfs
        else f'in {path}: [storage] driver = "overlay"'
    )
    yield Finding(
        title="storage.conf",
        works=False,
        needed=False,
        detail="none; dibo stores layers with overlay, and buildah as you type it may choose vfs",
        advice=advice,
        repair=None if uses_vfs else write,
    )


def _configuration() -> str:
    """The directories that buildah uses now, since some versions refuse a file without them, and the driver of dibo."""
    info = process.run(["buildah", "info"], env=engine_environment(), capture=True).stdout
    try:
        store = json.loads(info)["store"]
        fields = {"driver": "overlay", "graphroot": str(store["GraphRoot"]), "runroot": str(store["RunRoot"])}
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError("`buildah info` does not say where layers are stored") from error
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in fields.items()]
    return f"# written by `dibo doctor --fix`; containers-storage.conf(5)\n[storage]\n{''.join(lines)}"


def image_keys(settings: Settings, base: BaseSettings, report: Report) -> Iterator[Finding]:
    """Ubuntu's image keys, where the base is Ubuntu and no package has them."""
    if settings.base.partition(":")[0] != "ubuntu":
        return
    title = "keys of Ubuntu's images"
    if UbuntuKeys.are_kept(base, settings.cache):
        yield Finding(title=title, works=True)
        return

    def fetch() -> str:
        UbuntuKeys(base, Workspace(settings.cache), report).fetch()
        return f"fetched the keys of Ubuntu's images from {base.keyserver}"

    yield Finding(
        title=title,
        works=False,
        needed=False,
        detail="not on this machine; a build fetches the one that it needs",
        advice="sudo apt-get install ubuntu-keyring, where the distribution has it",
        repair=fetch,
    )


def repaired(findings: list[Finding], report: Report) -> list[str]:
    """What was done about the findings that offer a repair. What cannot be done is a warning."""
    done = []
    for finding in findings:
        if finding.works or finding.repair is None:
            continue
        try:
            done.append(finding.repair())
        except DiboError as error:
            report.warn(f"{finding.title}: {error.message}")
        except OSError as error:
            report.warn(f"{finding.title}: {error}")
    return done


_ANOTHER: Final = "set IMG_PATH or --cache-dir to a directory of your own"
