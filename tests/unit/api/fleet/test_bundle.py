"""What goes along to workers: paths are found again there, and values of secrets never leave."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from dibo.api.baking.planning import PlannedImage
from dibo.api.baking.spec import ImageSpec, ImageTest, TaskKind
from dibo.api.conversion import ConvertRequest
from dibo.api.fleet.bundle import WorkerPlaces, bundle_images, load_image, require_portable
from dibo.api.fleet.execute import require_small
from dibo.api.fleet.orders import LARGEST, FleetOrder, ParcelName
from dibo.api.machines.request import BootRequest
from dibo.api.settings import current_settings
from dibo.errors import Defect, UsageError
from dibo.images.layers.limits import Limits
from dibo.machines.steps import parse_steps
from dibo.settings.settings import Options, Settings

VALUE = "the-value-of-a-secret"


def settings_of(tmp_path: Path) -> Settings:
    environment = {
        "DB_PASSWORD": VALUE,
        "DIBO_SIGN_PASSWORD": VALUE,
        "OTHER": VALUE,
        "DIBO_MIRROR": "http://m/",
    }
    layout = tmp_path / "layout.yaml"
    layout.write_text("partitions: []\n")
    (tmp_path / "base.tar").write_text("base")
    return current_settings(
        Options(
            name=str(tmp_path / "out" / "web"),
            types="raw",
            base=str(tmp_path / "base.tar"),
            cache_dir=str(tmp_path / "cache"),
            secrets=("db=env:DB_PASSWORD",),
            converters_path=(str(tmp_path / "converters"),),
        ),
        environment,
    )


def spec_of(tmp_path: Path) -> ImageSpec:
    settings = settings_of(tmp_path)
    return ImageSpec(name="web", settings=settings, layout=tmp_path / "layout.yaml")


def test_paths_are_found_again_on_a_worker(tmp_path: Path) -> None:
    (tmp_path / "converters").mkdir()
    contents = bundle_images([PlannedImage(spec=spec_of(tmp_path), decided=None)], tmp_path / "bundle")
    files = tmp_path / "worker"
    (files / "images").mkdir(parents=True)
    (files / "images" / "web").write_bytes(contents["images/web"].read_bytes())
    places = WorkerPlaces(files=files, output=Path("/worker/out"), cache=Path("/worker/cache"))
    image = load_image(places, "web", {"DB_PASSWORD": "of the worker", "DIBO_ISOLATION": "chroot"})
    settings = image.spec.settings
    assert settings.output == Path("/worker/out/web")
    assert settings.cache == Path("/worker/cache")
    assert settings.isolation == "chroot"
    names = {name: path for name, path in contents.items() if name.startswith("files/")}
    assert sorted(path.name for path in names.values()) == ["base.tar", "converters", "layout.yaml"]
    for path in (settings.base, image.spec.layout, *settings.converters_path):
        assert str(Path(str(path)).relative_to(files)) in names
    assert settings.environment["DB_PASSWORD"] == "of the worker"
    assert settings.environment["DIBO_MIRROR"] == "http://m/"
    assert "OTHER" not in settings.environment


def test_what_a_test_boots_and_its_pictures_are_beside_artefacts_on_a_worker(tmp_path: Path) -> None:
    (tmp_path / "converters").mkdir()
    steps = parse_steps([{"screenshot": str(tmp_path / "pictures" / "login.png")}, {"wait": 1}])
    test = ImageTest(name="boot", request=BootRequest(image=str(tmp_path / "out" / "web.raw"), steps=steps))
    image = PlannedImage(spec=replace(spec_of(tmp_path), tests=(test,)), decided=None)
    contents = bundle_images([image], tmp_path / "bundle")
    files = tmp_path / "worker"
    (files / "images").mkdir(parents=True)
    (files / "images" / "web").write_bytes(contents["images/web"].read_bytes())
    places = WorkerPlaces(files=files, output=Path("/worker/out"), cache=Path("/worker/cache"))
    (there,) = load_image(places, "web", {}).spec.tests
    assert there.request.image == "/worker/out/web.raw"
    assert [step.value for step in there.request.steps] == ["/worker/out/login.png", "1"]


def test_no_value_of_a_secret_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "converters").mkdir()
    contents = bundle_images([PlannedImage(spec=spec_of(tmp_path), decided=None)], tmp_path / "bundle")
    assert VALUE.encode() not in contents["images/web"].read_bytes()
    assert VALUE.encode() in pickle.dumps(spec_of(tmp_path)), "it would be, as it is"


def test_an_image_of_this_machine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "converters").mkdir()
    for reference in ("oci:/srv/web:1", "docker-daemon:web:1"):
        conversion = ConvertRequest(
            reference=reference, layout_file=None, bare=False, prepare=False, checksums=True, limits=Limits()
        )
        spec = replace(spec_of(tmp_path), conversion=conversion)
        with pytest.raises(UsageError, match="which is on this machine alone"):
            require_portable([PlannedImage(spec=spec, decided=None)])


def test_what_goes_through_the_scheduler_is_small() -> None:
    bundle = ParcelName(repository="registry.example/cache", tag="bake-1", digest=f"sha256:{'0' * 64}")
    order = FleetOrder(
        id="1" * 64,
        kind=TaskKind.LAYERS,
        image="web",
        keys=tuple(f"{number:064x}" for number in range(100)),
        bundle=bundle,
    )
    assert require_small(order) < LARGEST / 4
    many = replace(order, keys=tuple(f"{number:064x}" for number in range(5000)))
    with pytest.raises(Defect, match="would go through the scheduler"):
        require_small(many)
