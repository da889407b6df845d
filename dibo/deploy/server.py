"""The boot server: tells machines what to boot, takes what they post, writes their disks, and gives them word.

    machines ──HTTP──► handlers ──► statuses ──► GET /machines, the terminal, the state file
                          │
                          └─► queue ──► workers ──► qemu-img ──iSCSI──► the machine's disk ──► word to its port 10000

    POST /             a form: docs/reference/deploy-protocol.md
    GET  /machines     how far each machine is, as JSON
    GET  /boot.ipxe    a script for iPXE: with ?mac= that of a machine
    GET  /kernel, /ramdisk

Clients are limited in bytes (MOST_BODY), in time and in connections (dibo/deploy/http_server.py).

Keys are compared in constant time, and are in no message, no argument of a program, and no answer but one: a script for
iPXE has a key in it. It is drawn for that deployment, counts from the address alone that asked for it, and as long as a
deployment is under way no other address gets one.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from dibo.deploy import ipxe, notify
from dibo.deploy.form import BadForm, Form, normal_address, parse_form, parse_url
from dibo.deploy.http_server import ConnectionLimits, Handler, Listener
from dibo.deploy.iscsi import Cancelled, IscsiTarget, IscsiWriter, check_digest, driver_problem, probe
from dibo.deploy.machines import Machine, MachinePlace
from dibo.deploy.state_file import recall, remember
from dibo.deploy.status import (
    SETTLED,
    Refused,
    State,
    Status,
    check_peer,
    document,
    has_key,
    judge,
    line,
    percent,
    reported,
)
from dibo.deploy.tls import ServerCertificate
from dibo.deploy.write_plan import DeploymentFailed
from dibo.errors import BootServerError, DiboError
from dibo.system.report import Say
from dibo.units import SECTOR

PORT: Final = 10000
LIMITS: Final = ConnectionLimits(connections=128, connections_per_address=16, request_seconds=20.0)
MOST_BODY: Final = 16 << 10
_STEP: Final = 10  # per cent between two lines on the terminal
_MAC: Final = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How long things may take, in seconds, and what is served."""

    listen: str = "0.0.0.0"
    port: int = PORT
    state_file: Path
    kernel: Path | None = None
    ramdisk: Path | None = None
    workers: int = 4
    patience: float = 120.0
    """Of one step over iSCSI that shows no progress; of the connection that gives word."""
    boot_seconds: float = 900.0
    pull_seconds: float = 120.0
    limits: ConnectionLimits = LIMITS
    token: str = field(default="", repr=False)
    """Clients that send it may list the machines; if it is empty, no client may."""
    tls: ServerCertificate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    form: Form
    machine: Machine
    writer: IscsiWriter
    before: IscsiWriter | None
    """Another of the same machine, which was told to end."""


class BootServer:
    """A context manager; entering listens. `machines` gives what the user wrote, as it is now; `say` shows a line."""

    def __init__(
        self, settings: ServerSettings, machines: Callable[[], dict[str, Machine]], say: Say
    ) -> None:
        self._settings, self._read_machines, self._say = settings, machines, say
        self._lock = threading.RLock()
        self._statuses = recall(settings.state_file)
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._writers: dict[str, IscsiWriter] = {}
        self._stopping = threading.Event()

    def __enter__(self) -> BootServer:
        remember(self._settings.state_file, self._statuses)  # what cannot be remembered had better not begin
        try:
            self._http = _Listener(self._settings, self, self._say)
        except OSError as error:
            address = MachinePlace(host=self._settings.listen, port=self._settings.port)
            raise BootServerError(
                f"cannot listen on {address}: {error.strerror}", hint="--listen, --port"
            ) from error
        works = [self._serve, self._watch, *[self._work] * self._settings.workers]
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._http.shutdown()
        self._http.server_close()
        with self._lock:
            for writer in self._writers.values():
                writer.cancel()
        for _worker in range(self._settings.workers):
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(10)
        self._keep()

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    def wait(self) -> None:
        """Until a signal comes."""
        self._stopping.wait()

    # What is known.

    def documents(self) -> list[dict[str, object]]:
        with self._lock:
            return [document(machine, self._status(machine.id)) for machine in self._machines().values()]

    def _machines(self) -> dict[str, Machine]:
        return self._read_machines()

    def _status(self, identity: str) -> Status:
        return self._statuses.get(identity, Status())

    def _set(self, identity: str, status: Status) -> None:
        with self._lock:
            before = self._status(identity)
            self._statuses[identity] = status
            if status.state is not before.state or percent(status) // _STEP > percent(before) // _STEP:
                self._say(line(identity, status))
            if status.state is not before.state:
                self._keep()

    def _keep(self) -> None:
        try:
            remember(self._settings.state_file, self._statuses)
        except (
            BootServerError
        ) as error:  # it could be written when the server began; what is under way goes on
            self._say(f"dibo: warning: {error.message}")

    # What machines ask.

    def script(self, mac: str, *, host: str, peer: str) -> str:
        """For iPXE, asked for by the address `peer`. Raises Refused."""
        mac = mac.lower().replace("-", ":")
        if _MAC.fullmatch(mac) is None:
            raise Refused(400, "mac= is no MAC address")
        with self._lock:
            machines = [candidate for candidate in self._machines().values() if candidate.mac == mac]
            if not machines:
                return ipxe.local(f"no machine has the MAC address {mac}")
            machine, status = machines[0], self._status(machines[0].id)
            if not status.wants_deployment(machine):
                return ipxe.local(f"machine {machine.id}: deployment {machine.deployment} is done")
            if self._settings.kernel is None:
                return ipxe.local(f"machine {machine.id} is to be deployed, but there is no ramdisk to boot")
            status = self._issue(machine, status, peer)
        tls = self._settings.tls is not None
        return ipxe.deploy(machine, key=status.issued_key, boot_server=host, tls=tls)

    def _issue(self, machine: Machine, status: Status, peer: str) -> Status:
        """The machine's status with a key for `peer`. Anybody can ask for one; only forms end what is under way."""
        known = status.issued_to or status.address
        if status.is_under_way and known and known != peer:
            self._say(
                f"refused: {peer} asks for the script of machine {machine.id}, which {known} is under way with"
            )
            raise Refused(403, f"machine {machine.id} is under way at another address")
        if not status.is_under_way or not status.issued_key:
            status = replace(status, issued_key=secrets.token_hex(16), issued_to=peer)
        if status.state in SETTLED:
            status = status.to(State.BOOTING, time.time())
        self._set(machine.id, status)
        self._keep()
        return status

    def take(self, form: Form, *, peer: str) -> None:
        """A form that was posted. Raises Refused."""
        with self._lock:
            machine = self._machines().get(form.id)
            status = self._status(form.id)
            if machine is None or not has_key(form, machine, status):
                self._say(f"refused: a form from {peer}, for its id or its key is not right")
                raise Refused(400, "key is not match")
            try:
                check_peer(form, machine, status, peer=peer)
                judge(form, machine, status, peer=peer)
                if not form.state and not form.error:
                    self._check_export(form, machine)
            except Refused as error:
                self._say(f"refused: {error.text}")
                raise
            if form.state or form.error:
                if form.error:
                    self._cancel(machine.id)
                self._set(machine.id, reported(form, machine, status, time.time()))
                return
            before = self._cancel(machine.id)
            writer = IscsiWriter(
                patience=self._settings.patience,
                progress=lambda done, all_: self._progress(machine.id, writer, done, all_),
            )
            self._writers[machine.id] = writer
            self._set(
                machine.id, status.to(State.QUEUED, time.time(), address=form.address, written=0, total=0)
            )
        self._jobs.put(_Job(form=form, machine=machine, writer=writer, before=before))

    def _check_export(self, form: Form, machine: Machine) -> None:
        """What would be found out only once the machine waits. Raises Refused, and says so of the machine."""
        problem = driver_problem()
        if form.sector_size != SECTOR:
            problem = (
                f"the disk has sectors of {form.sector_size} bytes, and images have partition tables and file systems"
                f" for {SECTOR}: take another disk, or set it to {SECTOR} (nvme format, sg_format)"
            )
        if problem:
            self._set(machine.id, self._status(machine.id).to(State.FAILED, time.time(), error=problem))
            raise Refused(409 if form.sector_size != SECTOR else 503, f"machine {machine.id}: {problem}")

    def _cancel(self, identity: str) -> IscsiWriter | None:
        if (writer := self._writers.pop(identity, None)) is not None:
            writer.cancel()
        return writer

    # The work.

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            machine, writer = job.machine, job.writer
            try:
                if job.before is not None:
                    job.before.finished.wait()  # never two on one disk
                self._deploy(job.form, machine, writer)
            except Cancelled:
                self._say(f"{machine.id}: what was under way was given up")
            except DeploymentFailed as error:
                self._fail(machine.id, writer, str(error))
            except DiboError as error:
                self._fail(machine.id, writer, f"{error.message} {error.hint}".strip())
            except Exception as error:  # a defect; the server goes on for the other machines
                self._fail(machine.id, writer, f"dibo failed: {error!r}")
            finally:
                writer.finished.set()

    def _fail(self, identity: str, writer: IscsiWriter, why: str) -> None:
        with contextlib.suppress(Cancelled):
            self._move(identity, writer, State.FAILED, error=why)

    def _deploy(self, form: Form, machine: Machine, writer: IscsiWriter) -> None:
        self._move(machine.id, writer, State.WRITING, image=machine.image)
        image = probe(Path(machine.image))
        digest = check_digest(image.path, cancelled=lambda: writer.cancelled)
        portal = machine.portal or MachinePlace(host=form.address, port=form.port)
        writes = writer.write(
            image, IscsiTarget(portal=portal, iqn=form.iqn, lun=form.lun), wipe=machine.wipe
        )
        if writes.kept is not None:
            self._say(f"{machine.id}: the partition persistent-state was kept")
        # Deployed from here on: should the word get lost, the machine boots from its disk when it is switched on again.
        self._move(
            machine.id,
            writer,
            State.TELLING,
            digest=digest,
            deployed=machine.deployment,
            issued_key="",
            issued_to="",
        )
        notify.give_word(
            machine.word or MachinePlace(host=form.address, port=notify.PORT),
            patience=self._settings.patience,
        )
        self._move(machine.id, writer, State.DONE)

    def _progress(self, identity: str, writer: IscsiWriter, written: int, total: int) -> None:
        self._move(identity, writer, State.WRITING, written=written, total=total)

    def _move(self, identity: str, writer: IscsiWriter, state: State, **changes: object) -> None:
        """As long as the writer is not another's."""
        with self._lock:
            if self._writers.get(identity) is not writer:
                raise Cancelled
            if state in (State.DONE, State.FAILED):
                del self._writers[identity]
            self._set(identity, self._status(identity).to(state, time.time(), **changes))

    def _serve(self) -> None:
        self._http.serve_forever(poll_interval=0.1)  # how soon it sees that it is to end

    def _watch(self) -> None:
        """Machines that were expected and do not come."""
        while not self._stopping.wait(1.0):
            with self._lock:
                for identity, status in list(self._statuses.items()):
                    if identity in self._writers:
                        continue
                    limits = {
                        "boot_seconds": self._settings.boot_seconds,
                        "pull_seconds": self._settings.pull_seconds,
                    }
                    if why := status.expired(time.time(), **limits):
                        self._set(identity, status.to(State.FAILED, time.time(), error=why))


class _Listener(Listener):
    def __init__(self, settings: ServerSettings, server: BootServer, say: Say) -> None:
        self.boot_server, self.token = server, settings.token
        self.files = {"/kernel": settings.kernel, "/ramdisk": settings.ramdisk}
        super().__init__(
            settings.listen,
            settings.port,
            _Handler,
            limits=settings.limits,
            say=say,
            tls=settings.tls,
        )


class _Handler(Handler):
    server: _Listener

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,9}", length):
            return self.answer(411, "Content-Length is missing")
        if int(length) > MOST_BODY:
            return self.answer(413, f"a form has at most {MOST_BODY} bytes")
        body = self.rfile.read(int(length))
        self.heard()
        if len(body) < int(length):
            return None
        try:
            form = parse_form(body)
            self.server.boot_server.take(form, peer=normal_address(self.client_address[0]))
        except BadForm as error:
            return self.answer(400, str(error))
        except Refused as error:
            return self.answer(error.status, error.text)
        return self.answer(200, "")

    def do_GET(self) -> None:
        self.heard()
        if (url := parse_url(self.path)) is None:
            return self.answer(400, "the request names no URL")
        match url.path:
            case "/machines" if not self.has_token(self.server.token):
                return self.answer(401, "the listing needs the server's token: Authorization: Bearer TOKEN")
            case "/machines":
                text = json.dumps({"machines": self.server.boot_server.documents()}, indent=1)
                return self.answer(200, text, kind="application/json")
            case "/boot.ipxe":
                # The address that the machine reaches this server by is that of its request: it may be translated.
                host = ipxe.host_of(self.headers.get("Host", "")) or normal_address(self.own_address())
                try:
                    if not (mac := parse_qs(url.query).get("mac")):
                        return self.answer(200, ipxe.ASK)
                    peer = normal_address(self.client_address[0])
                    return self.answer(200, self.server.boot_server.script(mac[0], host=host, peer=peer))
                except Refused as error:
                    return self.answer(error.status, error.text)
            case "/kernel" | "/ramdisk" if (path := self.server.files[url.path]) is not None:
                return self.send_file(path)
            case "/":
                return self.answer(501, "this takes POST alone")
        return self.answer(404, "there is no such thing here")

    do_HEAD = do_GET
