"""Forms, as ramdisks of then and now post them, and as others might."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dibo.deploy.form import BadForm, Form, parse_form

IQN = "iqn.2026-11.example:m7"


def test_an_export_as_it_always_was() -> None:
    form = parse_form(f"i=7&k=open%2Dsesame&a=192.0.2.7&n={IQN}".encode())
    assert form == Form(id="7", key="open-sesame", address="192.0.2.7", iqn=IQN, port=3260, lun=1)
    assert "sesame" not in repr(form)


def test_what_may_be_there_too() -> None:
    form = parse_form(f"i=7&k=x&a=2001:DB8::7&n={IQN}&p=3261&l=0&zz=later".encode())
    assert (form.address, form.port, form.lun) == ("2001:db8::7", 3261, 0)


def test_an_error_of_an_export() -> None:
    form = parse_form(b"i=7&k=x&a=192.0.2.7&n=&e=none%20of%20these%0Adisks%1b[31m")
    assert (form.error, form.iqn) == ("none of these disks [31m", "")


def test_a_key_that_is_empty_is_one() -> None:
    assert parse_form(f"i=&k=&a=192.0.2.7&n={IQN}".encode()).key == ""


def test_reports_of_a_pull() -> None:
    form = parse_form(b"i=7&k=x&a=192.0.2.7&s=writing&m=oci://r.example/web:1&b=70&t=290")
    assert (form.state, form.image, form.written, form.total) == ("writing", "oci://r.example/web:1", 70, 290)
    form = parse_form(f"i=7&k=x&a=192.0.2.7&s=done&m=x&b=2&t=2&d=sha256:{'0a' * 32}".encode())
    assert form.digest == f"sha256:{'0a' * 32}"


@pytest.mark.parametrize("missing", ["i", "k", "a", "n"])
def test_what_is_missing_is_named(missing: str) -> None:
    fields = {"i": "7", "k": "x", "a": "192.0.2.7", "n": IQN}
    del fields[missing]
    with pytest.raises(BadForm, match=f"parameter '{missing}' is not defined"):
        parse_form("&".join(f"{name}={value}" for name, value in fields.items()).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff=1",
        b"i=7&k=x&a=localhost&n=iqn.x",
        b"i=7&k=x&a=fe80::1%2525x%0a&n=iqn.x",
        b"i=7&k=x&a=fe80::1%25x%0a&n=iqn.x",
        b"i=7&k=x&a=192.0.2.7&n=",
        b"i=7&k=x&a=192.0.2.7&n=a,file.filename=/etc/passwd",
        b"i=7&k=x&a=192.0.2.7&n=iqn.x&p=0",
        b"i=7&k=x&a=192.0.2.7&n=iqn.x&p=65536",
        b"i=7&k=x&a=192.0.2.7&n=iqn.x&l=-1",
        b"i=7&k=x&a=192.0.2.7&n=iqn.x&l=%D9%A1",
        b"i=7&k=x&a=192.0.2.7&s=finished",
        b"i=7&k=x&a=192.0.2.7&s=writing&b=many",
        f"i=7&k=x&a=192.0.2.7&n={IQN}&{'&'.join(f'x{number}=1' for number in range(40))}".encode(),
    ],
)
def test_what_is_no_form(body: bytes) -> None:
    with pytest.raises(BadForm):
        parse_form(body)


@given(st.binary(max_size=300))
def test_anything_is_a_form_or_is_none(body: bytes) -> None:
    for each in (body, b"i=7&k=x&a=192.0.2.7&n=iqn.x&" + body):
        try:
            form = parse_form(each)
        except BadForm:
            continue
        assert (form.error + form.image).isprintable() and "," not in form.iqn
