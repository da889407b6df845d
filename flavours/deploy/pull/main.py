"""The order of a deployment. Nothing is written before image and disk were compared and the boot server agreed; nothing
boots before the digest held; `done` is said when all is on the disk."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pull import cmdline, reference
from pull.disk import Disk
from pull.errors import Passing, PullError
from pull.images import Progress, open_image, open_input
from pull.server import Console, Server
from pull.target import Target
from pull.web import Client, Patience

_PORT = 10000
_PAUSES = (5.0,) * 5
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
_FAILURE = "/run/dibo/failure"


@dataclass(frozen=True)
class Machine:
    """What the ramdisk knows: its disk, and the network. `disk` is empty where none was found."""

    disk: str
    wanted_disks: str
    address: str
    boot_server: str
    port: int = _PORT
    authorities: str | None = None
    patience: Patience = field(default_factory=Patience)
    telling: Patience = field(default_factory=lambda: Patience(pauses=_PAUSES))
    every: float = 5.0


def run() -> None:
    """The program, in the ramdisk. Ends with 0, or with 1 and the reason in a file."""
    environment = os.environ
    given = cmdline.parameters(Path("/proc/cmdline").read_text(errors="replace"))
    authorities = _AUTHORITIES if Path(_AUTHORITIES).exists() else None
    machine = Machine(
        disk=environment.get("TARGET_DISK", ""),
        wanted_disks=environment.get("DISK", ""),
        address=environment.get("BOOT_IP_ADDRESS", ""),
        boot_server=environment.get("BOOT_SERVER", ""),
        authorities=authorities,
    )
    if why := deploy(given, machine, _say):
        Path(_FAILURE).write_text(f"{why}\n")
        sys.exit(1)


def _say(text: str) -> None:
    sys.stdout.write(f"dibo: {text}\n")
    sys.stdout.flush()


def deploy(given: Mapping[str, str], machine: Machine, say: Callable[[str], None]) -> str:
    """Deploy as the command line in `given` says; nothing, or why it failed: what, and what is on the disk."""
    server = _server(dict(given), machine, say)
    if not server.hears:
        say("deployment_id= is not on the command line: no boot server is told")
    deployment = _Deployment(machine, server, say)
    try:
        deployment.run(cmdline.parse(dict(given)))
    except PullError as error:
        why = str(error)
    except Exception as error:  # whatever it is, it is told, and nothing is claimed
        why = f"a defect of the ramdisk: {type(error).__name__}: {error}"
        say(why)
    else:
        return ""
    why = f"{why}; {deployment.state}"
    if server.hears:
        try:
            server.failed(why)
        except PullError as error:
            say(f"the boot server could not be told: {error}")
    return why


def _server(given: dict[str, str], machine: Machine, say: Callable[[str], None]) -> Server:
    client = Client(replace(machine.telling, tell=say), machine.authorities)
    host = f"[{machine.boot_server}]" if ":" in machine.boot_server else machine.boot_server
    scheme = "https" if "boot_server_tls" in given else "http"
    known = bool(given.get("deployment_id")) and bool(host)
    fields = {"i": given.get("deployment_id", ""), "k": given.get("deployment_key", ""), "a": machine.address}
    return Server(
        client,
        f"{scheme}://{host}:{machine.port}/" if known else "",
        machine=fields,
        image=reference.shown(given.get("image", "")),
        every=machine.every,
    )


class _Deployment:
    """One. `state` says at any time what is on the disk."""

    def __init__(self, machine: Machine, server: Server, say: Callable[[str], None]) -> None:
        self._machine, self._server, self._say = machine, server, say
        self._target: Target | None = None
        self._written = False

    @property
    def state(self) -> str:
        if self._written:
            return "the disk is written, and boots"
        return self._target.state if self._target is not None else "the disk is as it was"

    def run(self, wish: cmdline.Wish) -> None:
        if wish.deployment_id and not self._machine.boot_server:
            raise PullError(
                "the boot server is not known: give ip=client:server:gateway:netmask, or boot_server="
            )
        if not self._machine.disk:
            raise PullError(f"none of these disks is there: {self._machine.wanted_disks}")
        disk = Disk(self._machine.disk)
        try:
            self._write(wish, disk)
            if not disk.reread():
                self._say("the kernel did not read the new partition table; the machine boots anew anyway")
        finally:
            disk.close()

    def _write(self, wish: cmdline.Wish, disk: Disk) -> None:
        patience = replace(self._machine.patience, tell=self._say)
        if wish.silence is not None:
            patience = replace(patience, silence=float(wish.silence))
        if wish.tries is not None:
            longest = patience.pauses[-1:] * wish.tries
            patience = replace(patience, pauses=(*patience.pauses, *longest)[: wish.tries - 1])
        client = Client(patience, self._machine.authorities)
        self._say(f"fetching {reference.shown(wish.image)}")
        source = open_input(wish, client)
        try:
            image = open_image(source, wish, self._progress(), room=disk.size)
            target = Target(disk, image.beginning, image.size, wipe=wish.wipe)
            try:
                self._server.started()
            except Passing as error:
                raise PullError(f"the boot server does not answer: {error}") from error
            self._target = target
            self._say_what(target, disk, source.digest, image.size)
            target.begin()
            for offset, size in image.gaps():
                target.zero(offset, size)
            for offset, data in image.contents():
                target.write(offset, data)
            source.check()
            target.finish(image.came)
            self._written = True
        finally:
            source.close()
        self._say(f"the digest holds; {disk.path} is written")
        try:
            self._server.done(source.digest)
        except PullError as error:
            raise PullError(f"the boot server could not be told that it is done: {error}") from error

    def _say_what(self, target: Target, disk: Disk, digest: str, size: int | None) -> None:
        large = f"{size >> 20} MiB" if size is not None else "an unknown size"
        self._say(f"writing {digest}, a disk of {large}, to {disk.path} of {disk.size >> 20} MiB")
        if target.kept is not None:
            self._say(f"keeping the partition {target.kept.name}: {target.kept.size >> 20} MiB")

    def _progress(self) -> Progress:
        console = Console(self._say)

        def tell(come: int, size: int | None) -> None:
            if self._target is not None:
                console.writing(come, size)
                self._server.writing(come, size)

        return tell
