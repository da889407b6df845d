"""How far each machine is: a small machine of states, without clock and network.

    waiting ──► booting ──► queued ──► writing ──► telling ──► done        method iscsi
       │           │           └──────────┴───────────┴──────► failed
       └───────────┴──────► started ──► writing ──► done | failed          method pull

`booting`: it was given the ramdisk. `telling`: the disk is written, which is what `deployed`
counts, and the machine is to be told. A machine may post anew at any time before, for it may have been switched off and
on; after it only for another deployment.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum

from dibo.deploy.form import Form
from dibo.deploy.machines import Machine, Method
from dibo.units import human_size


class State(Enum):
    WAITING = "waiting"
    BOOTING = "booting"
    QUEUED = "queued"
    STARTED = "started"
    WRITING = "writing"
    TELLING = "telling"
    DONE = "done"
    FAILED = "failed"


SETTLED = (State.WAITING, State.BOOTING, State.DONE, State.FAILED)
"""Nothing is under way that could be lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Times are seconds since 1970."""

    state: State = State.WAITING
    since: float = 0.0
    heard: float = 0.0
    """When the machine last responded, or was last changed."""
    address: str = ""
    written: int = 0
    total: int = 0
    error: str = ""
    deployed: int = 0
    """The number of the last deployment that went well; 0: none."""
    number: int = 0
    """Of the pull under way: the file may say another one before it ends."""
    image: str = ""
    """What that deployment wrote; while one is under way, what it writes. Without a login."""
    digest: str = ""
    issued_key: str = field(default="", repr=False)
    """The key that a script gave out: it counts for one deployment, and from `issued_to` alone."""
    issued_to: str = ""

    def to(self, state: State, now: float, **changes: object) -> Status:
        """Into another state, or on in this one."""
        since = self.since if state is self.state else now
        values = {"error": "", **changes}
        return replace(self, state=state, since=since, heard=now, **values)  # type: ignore[arg-type]

    @property
    def is_under_way(self) -> bool:
        """Whether another client could interfere with the machine."""
        return self.state is State.BOOTING or self.state not in SETTLED

    def wants_deployment(self, machine: Machine) -> bool:
        return self.deployed != machine.deployment

    def expired(self, now: float, *, boot_seconds: float, pull_seconds: float) -> str:
        """Why nothing is to be waited for any longer, or empty."""
        silent = now - self.heard
        match self.state:
            case State.BOOTING if silent > boot_seconds:
                return f"no report for {silent:.0f} s since the machine got the ramdisk"
            case State.STARTED | State.WRITING if silent > pull_seconds:
                return f"silent for {silent:.0f} s while it fetched its image; the disk may be half written"
        return ""


class Refused(Exception):
    """`status` is that of HTTP; the text is the answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def has_key(form: Form, machine: Machine, status: Status) -> bool:
    """Whether the form has the machine's own key, or the one that was drawn for this deployment."""
    given = form.key.encode(errors="replace")
    return any(key and hmac.compare_digest(key.encode(), given) for key in (machine.key, status.issued_key))


def check_peer(form: Form, machine: Machine, status: Status, *, peer: str) -> None:
    """Raises Refused for a key that was given to another address."""
    if (
        status.issued_key
        and form.key == status.issued_key
        and peer not in (status.issued_to, *machine.addresses)
    ):
        raise Refused(
            403,
            f"the key of machine {machine.id} was given to {status.issued_to}, and is used by {peer}:"
            " where that is the same machine, say so by `address`",
        )


def judge(form: Form, machine: Machine, status: Status, *, peer: str) -> None:
    """Whether a form whose key is right counts. Raises Refused."""
    if form.address not in (peer, *machine.addresses):
        raise Refused(403, f"the form of machine {machine.id} says {form.address}, and comes from {peer}")
    if _is_of_another(form, status):
        raise Refused(
            403,
            f"the form of machine {machine.id} comes from {form.address}, and {status.address} is under way with it",
        )
    if form.error and not form.state:
        return
    method = Method.PULL if form.state else Method.ISCSI
    if method is not machine.method:
        raise Refused(
            409, f"machine {machine.id} is to be deployed by {machine.method.value}, not {method.value}"
        )
    if machine.iqn and form.iqn != machine.iqn and method is Method.ISCSI:
        raise Refused(409, f"machine {machine.id} offers {form.iqn}, not {machine.iqn}")
    if form.state in ("", "started") and not status.wants_deployment(machine):
        raise Refused(
            409, f"machine {machine.id} is deployed: for another deployment, change its number `deployment`"
        )


def _is_of_another(form: Form, status: Status) -> bool:
    """Whether a report comes from an address other than the one that began. A new beginning may have any address."""
    begins = not form.error and form.state in ("", "started")
    return not begins and status.state not in SETTLED and form.address != status.address


def reported(form: Form, machine: Machine, status: Status, now: float) -> Status:
    """After a form about a pull, or about an error."""
    if form.error or form.state == "failed":
        return status.to(State.FAILED, now, address=form.address, error=form.error or "it did not say why")
    more: dict[str, object] = {"address": form.address, "image": shown(form.image or machine.image)}
    if form.state == "started":
        more |= {"written": 0, "total": 0, "digest": "", "number": machine.deployment}
        return status.to(State.STARTED, now, **more)
    if form.written is not None:
        more["written"] = form.written
    if form.total is not None:
        more["total"] = form.total
    if form.state == "writing":
        return status.to(State.WRITING, now, **more)
    number = status.number or machine.deployment
    more |= {"deployed": number, "number": 0, "digest": form.digest, "issued_key": "", "issued_to": ""}
    return status.to(State.DONE, now, **more)


def line(identity: str, status: Status) -> str:
    """For the terminal."""
    words = f"{identity}: {status.state.value}"
    if status.state is State.WRITING:
        words += f", {percent(status)} %" if status.total else f", {human_size(status.written)}"
    elif status.state is State.DONE:
        words += f", {status.image}"
    elif status.state in (State.QUEUED, State.STARTED):
        words += f", at {status.address}"
    return f"{words}: {status.error}" if status.error else words


def percent(status: Status) -> int:
    return min(100, 100 * status.written // status.total) if status.total else 0


def document(machine: Machine, status: Status) -> dict[str, object]:
    """Of a machine, for everybody: no key, and no command line, which may have secrets."""
    return {
        "id": machine.id,
        "mac": machine.mac or None,
        "method": machine.method.value,
        "state": status.state.value,
        "since": datetime.fromtimestamp(status.since, tz=UTC).isoformat() if status.since else None,
        "address": status.address or None,
        "deployment": machine.deployment,
        "deployed": status.deployed or None,
        "image": shown(status.image or machine.image),
        "written": status.written,
        "total": status.total or None,
        "digest": status.digest or None,
        "error": status.error or None,
    }


def shown(image: str) -> str:
    """An image without the user's name, the password and the query that a URL may have."""
    scheme, slashes, rest = image.partition("://")
    if not slashes:
        return image
    host, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def kept(statuses: Mapping[str, Status]) -> dict[str, object]:
    """What is remembered of all machines from one run of the server to the next: what `remembered` reads."""
    return {
        identity: {
            "deployed": status.deployed,
            "number": status.number,
            "state": status.state.value,
            "since": status.since,
            "image": status.image,
            "digest": status.digest,
            "error": status.error,
            "issued_key": status.issued_key,
            "issued_to": status.issued_to,
        }
        for identity, status in statuses.items()
        if status.state is not State.WAITING or status.deployed
    }


def remembered(data: object) -> dict[str, Status]:
    """What `kept` has written; what was under way when the server ended has failed. Raises ValueError and TypeError."""
    if not isinstance(data, dict):
        raise TypeError("expected a mapping")
    statuses = {}
    for identity, value in data.items():
        try:
            state = State(value["state"])
            status = Status(
                state=state,
                since=float(value["since"]),
                deployed=int(value["deployed"]),
                number=int(value["number"]),
                image=str(value["image"]),
                digest=str(value["digest"]),
                error=str(value["error"]),
                issued_key=str(value.get("issued_key", "")),
                issued_to=str(value.get("issued_to", "")),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{identity}: {error}") from error
        if state is State.BOOTING:
            status = replace(status, state=State.WAITING)
        elif state not in SETTLED:
            status = replace(status, state=State.FAILED, error=f"the server ended while it was {state.value}")
        statuses[str(identity)] = status
    return statuses
