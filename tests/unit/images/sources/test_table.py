"""The table of sources."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dibo.errors import DiboError, UsageError
from dibo.images.sources.choose import choose_image, registry_name
from dibo.images.sources.table import POSSIBLE, SOURCES, ImagePlace, ImageRequest

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[4] / "dibo/images/sources"


def test_forms_begin_with_their_prefix() -> None:
    assert [prefix for prefix, kind in SOURCES.items() if not kind.form.startswith(prefix)] == []
    assert [kind.form for kind in SOURCES.values() if kind.form not in POSSIBLE] == []


@pytest.mark.parametrize("prefix", SOURCES)
def test_each_source_opens_or_says_why_not(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing here has the image, but each line leads to a function that looks for it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    name = "127.0.0.1:1/none" if SOURCES[prefix].place is ImagePlace.REGISTRY else str(tmp_path / "none")
    request = ImageRequest(reference=f"{prefix}{name}", name=name, architecture="amd64", scratch=tmp_path)
    with pytest.raises(DiboError), SOURCES[prefix].open(request):
        pass


def test_each_module_that_opens_images_is_in_the_table() -> None:
    opening = {
        path.stem for path in FOLDER.glob("*.py") if re.search(r"def open_\w+\(request:", path.read_text())
    }
    text = (FOLDER / "table.py").read_text()
    assert opening == set(re.findall(r'open=_imported\("(\w+)"', text))


@pytest.mark.parametrize("prefix", SOURCES)
def test_only_registries_have_names_of_registries(prefix: str) -> None:
    name = registry_name(f"{prefix}registry.example/web:1")
    assert (name is not None) == (SOURCES[prefix].place is ImagePlace.REGISTRY)
    assert name is None or str(name) == "registry.example/web:1"


def test_a_word_is_no_image(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="'web' names no image") as caught,
        choose_image("web", architecture="amd64", scratch=tmp_path),
    ):
        pass
    assert "docker://web" in caught.value.hint
    assert POSSIBLE in caught.value.hint


def test_a_layout_with_a_tag_and_no_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "index.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(UsageError) as caught,
        choose_image("web:1", architecture="amd64", scratch=tmp_path),
    ):
        pass
    assert caught.value.hint == "write oci:web:1"
