"""The machines file: what is wrong in it is told by its path, and without any key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dibo.deploy.machines import Machine, MachinePlace, Method, parse_machines
from dibo.errors import BootServerError

HERE = Path("/srv/boot")


def parse(data: object) -> dict[str, Machine]:
    return parse_machines(data, origin="machines.yaml", directory=HERE)


def test_a_machine_and_its_defaults() -> None:
    found = parse(
        {
            "defaults": {"image": "web.qcow2", "disk": "vda,sda", "cmdline": "console=ttyS0 quiet"},
            "machines": {
                "7": {"key": "k7", "mac": "52-54-00-AA-BB-CC"},
                "8": {
                    "key": "k8",
                    "method": "pull",
                    "image": "oci://registry.example/web:1",
                    "persistent_state": "wipe",
                    "deployment": "3",
                    "address": ["192.0.2.7", "2001:DB8::7"],
                    "portal": "[2001:db8::7]:3260",
                    "word": "gate.example:10000",
                },
            },
        }
    )
    assert found["7"] == Machine(
        id="7",
        key="k7",
        image="/srv/boot/web.qcow2",
        mac="52:54:00:aa:bb:cc",
        disk="vda,sda",
        cmdline="console=ttyS0 quiet",
    )
    other = found["8"]
    assert (other.method, other.image, other.wipe) == (Method.PULL, "oci://registry.example/web:1", True)
    assert (other.deployment, other.addresses) == (3, ("192.0.2.7", "2001:db8::7"))
    assert (
        other.portal == MachinePlace(host="2001:db8::7", port=3260)
        and str(other.portal) == "[2001:db8::7]:3260"
    )
    assert str(other.word) == "gate.example:10000"


SECRET = "do-not-tell"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"key": None}, "machines.7.key: expected a text"),
        ({"key": f"{SECRET} and a blank"}, "machines.7.key: expected a text"),
        ({"key": f"{SECRET}'quoted"}, "machines.7.key: expected a text"),
        ({"key": f"{SECRET}${{mac}}"}, "machines.7.key: expected a text"),
        ({"key": f"{SECRET}\n"}, "machines.7.key: expected a text"),
        ({"image": ""}, "machines.7.image: expected the path"),
        ({"method": "pull", "image": "http://user:a b@h/i"}, "machines.7.image: expected a URL"),
        ({"method": "push"}, "machines.7.method: expected iscsi or pull"),
        ({"mac": "52:54:00:12:34"}, "machines.7.mac: expected a MAC address"),
        ({"address": "here"}, "machines.7.address: expected an address"),
        ({"deployment": "0"}, "machines.7.deployment: expected a number"),
        ({"deployment": "two"}, "machines.7.deployment: expected a number"),
        ({"persistent_state": "no"}, "machines.7.persistent_state: expected keep or wipe"),
        ({"disk": "vda sda"}, "machines.7.disk: expected sda,vda"),
        ({"iqn": "iqn.2026-11.example,lun=2"}, "machines.7.iqn: expected the name"),
        ({"cmdline": "a\nb"}, "machines.7.cmdline: expected words"),
        ({"cmdline": "a ${net0/ip}"}, "machines.7.cmdline: expected words"),
        ({"portal": "192.0.2.7"}, "machines.7.portal: expected HOST:PORT"),
        ({"portal": "192.0.2.7:70000"}, "machines.7.portal: expected HOST:PORT"),
        ({"word": 10000}, "machines.7.word: expected HOST:PORT"),
        ({"imgae": "x"}, "machines.7.imgae: no such key"),
    ],
)
def test_mistakes_of_a_machine(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BootServerError) as caught:
        parse({"machines": {"7": {"key": SECRET, "image": "web.qcow2", **changes}}})
    assert caught.value.message.startswith(f"machines.yaml: {said}")
    assert SECRET not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "machines.yaml: expected a mapping"),
        ({}, "machines.yaml: machines: expected a mapping from ids"),
        ({"machines": {}}, "machines.yaml: machines: expected a mapping from ids"),
        ({"machines": {"7": None}}, "machines.yaml: machines.7: expected a mapping"),
        ({"machines": {"7": {"key": "k"}}}, "machines.yaml: machines.7: image is missing"),
        ({"machines": {"": {"key": "k", "image": "i"}}}, "machines.yaml: machines.: expected an id"),
        ({"machines": {"a b": {"key": "k", "image": "i"}}}, "machines.yaml: machines.a b: expected an id"),
        (
            {"defaults": {"key": "k"}, "machines": {"7": {"image": "i"}}},
            "machines.yaml: defaults.key: each machine",
        ),
        ({"machines": {}, "default": {}}, "machines.yaml: default: no such key"),
    ],
)
def test_mistakes_of_the_file(data: object, said: str) -> None:
    with pytest.raises(BootServerError) as caught:
        parse(data)
    assert caught.value.message.startswith(said)


def test_one_interface_is_of_one_machine() -> None:
    one = {"key": "k", "image": "i", "mac": "52:54:00:12:34:56"}
    with pytest.raises(BootServerError, match=r"machines.8.mac: machine 7 has the same"):
        parse({"machines": {"7": one, "8": {**one, "mac": "52-54-00-12-34-56"}}})


def test_a_key_is_in_no_repr() -> None:
    assert SECRET not in repr(parse({"machines": {"7": {"key": SECRET, "image": "i"}}}))
