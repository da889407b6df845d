from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from dibo.deploy.form import Form
from dibo.deploy.machines import Machine, Method
from dibo.deploy.status import (
    Refused,
    State,
    Status,
    document,
    judge,
    kept,
    line,
    remembered,
    reported,
    shown,
)

EXPORT = Machine(id="7", key="open-sesame", image="/srv/web.qcow2")
PULL = replace(EXPORT, method=Method.PULL, image="oci://registry.example/web:1")
FORM = Form(id="7", key="open-sesame", address="192.0.2.7", iqn="iqn.x")
STARTED = Form(
    id="7", key="open-sesame", address="192.0.2.7", state="started", image="oci://registry.example/web:1"
)


def refusal(form: Form, machine: Machine, status: Status, peer: str = "192.0.2.7") -> int:
    with pytest.raises(Refused) as caught:
        judge(form, machine, status, peer=peer)
    assert "sesame" not in caught.value.text
    return caught.value.status


def test_the_address_is_the_one_that_posted_or_one_that_is_allowed() -> None:
    judge(FORM, EXPORT, Status(), peer="192.0.2.7")
    assert refusal(FORM, EXPORT, Status(), peer="192.0.2.8") == 403
    judge(FORM, replace(EXPORT, addresses=("192.0.2.7",)), Status(), peer="192.0.2.8")
    assert refusal(replace(FORM, error="no disk"), EXPORT, Status(), peer="192.0.2.8") == 403


def test_a_machine_is_deployed_once_for_each_number() -> None:
    done = Status(state=State.DONE, deployed=1)
    assert refusal(FORM, EXPORT, done) == 409 and refusal(STARTED, PULL, done) == 409
    judge(FORM, replace(EXPORT, deployment=2), done, peer="192.0.2.7")
    judge(replace(STARTED, state="done"), PULL, done, peer="192.0.2.7")  # said again, for the answer was lost


def test_by_the_method_and_the_name_that_were_agreed() -> None:
    assert refusal(FORM, PULL, Status()) == 409 and refusal(STARTED, EXPORT, Status()) == 409
    judge(replace(FORM, error="none of these disks"), PULL, Status(), peer="192.0.2.7")
    assert refusal(FORM, replace(EXPORT, iqn="iqn.y"), Status()) == 409


def test_a_pull_from_start_to_end() -> None:
    status = reported(STARTED, PULL, Status(error="earlier", written=5), 10.0)
    assert (status.state, status.written, status.error, status.since) == (State.STARTED, 0, "", 10.0)
    status = reported(replace(STARTED, state="writing", written=50, total=200), PULL, status, 15.0)
    assert line("7", status) == "7: writing, 25 %"
    status = reported(replace(STARTED, state="writing", written=100), PULL, status, 20.0)
    assert (status.total, status.since, status.heard) == (200, 15.0, 20.0)
    status = reported(replace(STARTED, state="done", written=200, digest="sha256:0"), PULL, status, 25.0)
    assert (status.state, status.deployed, status.digest) == (State.DONE, 1, "sha256:0")
    assert not status.wants_deployment(PULL) and status.wants_deployment(replace(PULL, deployment=2))


def test_a_pull_counts_for_the_number_that_it_began_with() -> None:
    status = reported(STARTED, PULL, Status(), 1.0)
    assert reported(replace(STARTED, state="done"), replace(PULL, deployment=2), status, 2.0).deployed == 1
    again = remembered(json.loads(json.dumps(kept({"7": status}))))["7"]
    assert reported(replace(STARTED, state="done"), replace(PULL, deployment=2), again, 2.0).deployed == 1


def test_a_failure_says_what_the_machine_said() -> None:
    status = reported(
        replace(STARTED, state="failed", error="digest mismatch"), PULL, Status(deployed=3), 1.0
    )
    assert line("7", status) == "7: failed: digest mismatch" and status.deployed == 3
    assert reported(replace(STARTED, state="failed"), PULL, Status(), 1.0).error == "it did not say why"
    assert reported(replace(FORM, error="no disk"), EXPORT, Status(), 1.0).error == "no disk"


@pytest.mark.parametrize(
    ("state", "silent", "given_up"),
    [
        (State.BOOTING, 90, False),
        (State.BOOTING, 110, True),
        (State.STARTED, 60, True),
        (State.WRITING, 60, True),
        (State.WRITING, 40, False),
        (State.DONE, 10_000, False),
        (State.FAILED, 10_000, False),
        (State.WAITING, 10_000, False),
    ],
)
def test_silence(state: State, silent: float, given_up: bool) -> None:
    status = Status(state=state, heard=1000.0)
    assert bool(status.expired(1000.0 + silent, boot_seconds=100, pull_seconds=50)) is given_up


def test_what_everybody_may_see() -> None:
    machine = replace(
        PULL, image="https://user:secret@files.example/web.qcow2?token=secret", cmdline="password=secret"
    )
    text = json.dumps(document(machine, Status(state=State.WRITING, since=0.5, written=7, total=70)))
    assert "sesame" not in text and "secret" not in text
    assert json.loads(text)["image"] == "https://files.example/web.qcow2"
    assert shown("/srv/what?.qcow2") == "/srv/what?.qcow2"


def test_what_is_remembered() -> None:
    statuses = {
        "1": Status(state=State.DONE, since=5.0, deployed=2, image="i", digest="sha256:0"),
        "2": Status(state=State.WRITING, deployed=1),
        "3": Status(state=State.BOOTING, deployed=1),
        "4": Status(),
        "5": Status(state=State.FAILED, error="no disk"),
    }
    found = remembered(json.loads(json.dumps(kept(statuses))))
    assert found["1"] == statuses["1"] and found["5"] == statuses["5"]
    assert (found["2"].state, found["2"].deployed) == (State.FAILED, 1) and "ended while" in found["2"].error
    assert (found["3"].state, found["3"].deployed) == (State.WAITING, 1) and "4" not in found


@pytest.mark.parametrize("data", [None, [], {"1": None}, {"1": {}}, {"1": {"state": "odd"}}, {"1": "x"}])
def test_what_nobody_wrote_is_not_remembered(data: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        remembered(data)
