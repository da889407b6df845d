"""A layer that another build made since the plan is not made again, whether or not somebody waited for it."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dibo.api.settings import image_settings
from dibo.build.build import _alone, catalogue
from dibo.build.flavour_warnings import warn_of_flavours
from dibo.flavours.stack import make_stack
from dibo.projects.load import load_project
from dibo.settings.settings import Options
from dibo.system.report import Report

KEY = "layer"


@pytest.mark.parametrize(
    ("at_plan", "now", "expected"),
    [
        ({}, {}, False),
        ({}, {KEY: 7.0}, True),  # made in between
        ({KEY: 5.0}, {KEY: 7.0}, True),  # made anew in between, and wanted anew
        ({KEY: 5.0}, {KEY: 5.0}, False),  # wanted anew
        ({"other": 5.0}, {"other": 5.0}, False),
    ],
)
def test_what_another_build_made_since_the_plan(
    tmp_path: Path, at_plan: dict[str, float], now: dict[str, float], expected: bool
) -> None:
    build_run = SimpleNamespace(
        engine=SimpleNamespace(held=lambda: now),
        workspace=SimpleNamespace(locks=tmp_path / "locks"),
        report=SimpleNamespace(say=lambda _: None),
    )
    job = SimpleNamespace(origins=SimpleNamespace(distrusted=lambda engine, keys: {}))
    with _alone(cast(Any, job), KEY, "title", cast(Any, build_run), held=at_plan) as made_by_another:
        assert made_by_another is expected


PROJECT = """\
defaults:
  variables: {SITE_NAME: a, SITE_NAM: b}
images:
  web:
    flavours: [site]
    variables: {SITE_PROT: 80, SITE_PORT: 80, SOURCE_DATE_EPOCH: 1, DIBO_MINE: x, ELSE: y}
  db:
    flavours: [other]
"""


def test_variables_of_a_project_file_that_no_flavour_declares(tmp_path: Path) -> None:
    """Those of all images are wrong only where they are nearly right."""
    for name, variables in (("site", "{SITE_NAME: x, SITE_PORT: 1}"), ("other", "{USER: y}")):
        (tmp_path / "flavours" / name).mkdir(parents=True)
        (tmp_path / "flavours" / name / "flavour.yaml").write_text(
            f"packages: [x]\nenvironment: {variables}\n"
        )
    (tmp_path / "dibo.yaml").write_text(PROJECT)
    warnings = {}
    for image in load_project(tmp_path / "dibo.yaml").images:
        options = Options(flavours_path=(str(tmp_path / "flavours"),), with_base=False)
        settings = image_settings(image, options, {})
        stack = make_stack(settings.flavours, catalogue(settings).get, architecture="amd64")
        stream = io.StringIO()
        warn_of_flavours(settings, stack, Report(stream))
        warnings[image.name] = stream.getvalue().replace("dibo: warning: ", "").splitlines()
    file = tmp_path / "dibo.yaml"
    none = "no flavour of the image declares it"
    assert warnings == {
        "web": [
            f"{file}:2: defaults.variables.SITE_NAM: {none}; did you mean 'SITE_NAME'?",
            f"{file}:6: images.web.variables.SITE_PROT: {none}; did you mean 'SITE_PORT'?",
            f"{file}:6: images.web.variables.ELSE: {none}",
        ],
        "db": [],
    }
