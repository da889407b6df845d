"""Which images a matrix makes, and what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.projects.project_files import images, refused

MATRIX = """\
images:
  web:
    flavours: [vm]
    matrix:
      release: [bookworm, trixie]
      arch: [amd64, arm64]
      {more}
"""


def test_every_combination_the_last_axis_fastest(tmp_path: Path) -> None:
    found = images(tmp_path, MATRIX.replace("{more}", ""))
    assert list(found) == ["web-bookworm-amd64", "web-bookworm-arm64", "web-trixie-amd64", "web-trixie-arm64"]
    one = found["web-trixie-arm64"]
    assert (one.entry, one.release, one.architecture) == ("web", "trixie", "arm64")
    assert one.axes == (("release", "trixie"), ("arch", "arm64"))


def test_exclude(tmp_path: Path) -> None:
    found = images(tmp_path, MATRIX.replace("{more}", "exclude: [{release: bookworm, arch: [arm64]}]"))
    assert list(found) == ["web-bookworm-amd64", "web-trixie-amd64", "web-trixie-arm64"]
    found = images(tmp_path, MATRIX.replace("{more}", "exclude: [{arch: arm64}]"))
    assert list(found) == ["web-bookworm-amd64", "web-trixie-amd64"]


def test_variants_and_names(tmp_path: Path) -> None:
    found = images(
        tmp_path,
        """\
        images:
          fleet:
            name: "{role}.{release}"
            flavours: [vm]
            size: 2
            matrix:
              release: [trixie]
              role:
                web: {flavours: [web-server], size: 4}
                db: {flavours: [mysql], variables: {A: b}}
        """,
    )
    assert list(found) == ["web.trixie", "db.trixie"]
    assert (found["web.trixie"].flavours, found["web.trixie"].size) == (("vm", "web-server"), "4")
    assert (found["db.trixie"].size, found["db.trixie"].variables) == ("2", (("A", "b"),))


def test_architectures_are_an_axis_if_there_are_several(tmp_path: Path) -> None:
    found = images(
        tmp_path,
        """\
        defaults: {flavours: [vm], architectures: [amd64, arm64/v8]}
        images:
          web:
          db: {architectures: [amd64]}
          box: {arch: riscv64}
          all: {matrix: {release: [trixie]}}
        """,
    )
    assert list(found) == [
        "web-amd64",
        "web-arm64-v8",
        "db",
        "box",
        "all-trixie-amd64",
        "all-trixie-arm64-v8",
    ]
    assert [image.architecture for image in found.values()][:4] == ["amd64", "arm64/v8", "amd64", "riscv64"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "relaese: [a]",
            "web.matrix.relaese: relaese is no key that a list of values can set; did you mean 'release'",
        ),
        ("types: [raw]", "web.matrix.types: types is no key that a list of values can set"),
        ("role: {a: {relase: x}}", "web.matrix.role.a.relase: unknown key; did you mean 'release'"),
        ("role: {}", "web.matrix.role: an axis has at least one value"),
        ("base: []", "web.matrix.base: an axis has at least one value"),
        ("base: [debian, debian]", "web.matrix.base[1]: the value debian stands there twice"),
        (
            "base: debian",
            "web.matrix.base: expected a list of values, or a mapping of names to keys, got 'debian'",
        ),
        ("Role: {a: {}}", "web.matrix.Role: 'Role' cannot be an axis"),
        ("name: {a: {}}", "web.matrix.name: 'name' cannot be an axis"),
        ("size: [3, no]", "web.matrix.size[1]: expected a number of GB such as 4 or 1.5, got the boolean no"),
        ("exclude: [{relase: a}]", "web.matrix.exclude[0].relase: unknown key; did you mean 'release'"),
        ("exclude: [{release: sid}]", "web.matrix.exclude[0].release: release has no value 'sid'"),
        ("exclude: [{}]", "web.matrix.exclude[0]: expected values of axes"),
    ],
)
def test_what_is_refused(tmp_path: Path, more: str, message: str) -> None:
    error = refused(tmp_path, MATRIX.replace("{more}", more))
    assert error.message.startswith(f"{tmp_path}/dibo.yaml:7: images.{message}")


def test_a_matrix_that_is_too_large_or_empty(tmp_path: Path) -> None:
    axes = "".join(f"\n      a{axis}: {{{', '.join(f'v{n}: {{}}' for n in range(40))}}}" for axis in range(5))
    assert (
        "has 409600000 combinations, more than 10000"
        in refused(tmp_path, MATRIX.replace("{more}", axes)).message
    )
    every = "exclude: [{release: [bookworm, trixie]}]"
    assert (
        "exclude leaves out every combination" in refused(tmp_path, MATRIX.replace("{more}", every)).message
    )
    both = "images: {a: {flavours: [vm], arch: amd64, architectures: [amd64]}}"
    assert "arch and architectures are both given" in refused(tmp_path, both).message
    both = "images: {a: {flavours: [vm], architectures: [amd64, arm64], matrix: {arch: [amd64, arm64]}}}"
    assert "the matrix has an axis arch, too" in refused(tmp_path, both).message


def test_thousands_of_excluded_combinations(tmp_path: Path) -> None:
    """Without a comparison of each rule with each combination, of which these would be 25 million."""
    values = {axis: ", ".join(f"{axis}{number}: {{}}" for number in range(100)) for axis in "ab"}
    rules = ", ".join(f"{{a: a{number // 100}, b: b{number % 100}}}" for number in range(2500))
    matrix = f"{{a: {{{values['a']}}}, b: {{{values['b']}}}, exclude: [{rules}]}}"
    found = images(tmp_path, f"images: {{web: {{flavours: [vm], matrix: {matrix}}}}}")
    assert len(found) == 7500
    assert "web-a25-b0" in found and "web-a24-b99" not in found
