"""What images inherit, and from where."""

from __future__ import annotations

from pathlib import Path

from tests.unit.projects.project_files import images, refused


def test_defaults_then_templates_then_the_image(tmp_path: Path) -> None:
    found = images(
        tmp_path,
        """\
        defaults: {flavours: [vm], base: debian, types: [qcow2], variables: {A: d, B: d}, boot: {memory: 512, cpus: 2}}
        templates:
          big: {extends: common, size: 8, variables: {B: t}}
          common: {flavours: [ssh], secrets: [token], boot: {memory: 1024}, tests: [{expect: a}]}
        images:
          web:
            extends: big
            flavours: [web-server, vm]
            types: [raw]
            variables: {C: i}
            secrets: {key: env:KEY}
            tests: [{run: b}]
          plain:
          alone: {defaults: false, flavours: [swift-storage]}
        """,
    )
    web = found["web"]
    assert web.flavours == ("vm", "ssh", "web-server"), "flavours add up, each once"
    assert (web.base, web.types, web.size) == ("debian", ("raw",), "8")
    assert web.variables == (("A", "d"), ("B", "t"), ("C", "i"))
    assert web.secrets == ("token", "key")
    assert (web.boot.memory, web.boot.cpus) == (1024, 2)
    assert [step.kind for step in web.tests[0].steps] == ["expect", "run"]
    assert (found["plain"].flavours, found["plain"].base) == (("vm",), "debian")
    assert (found["alone"].flavours, found["alone"].base) == (("swift-storage",), None)


def test_an_image_extends_another_without_its_name(tmp_path: Path) -> None:
    found = images(
        tmp_path,
        """\
        templates: {named: {name: "{image}-x"}}
        images:
          a: {name: first, flavours: [vm], size: 4}
          b: {extends: a, flavours: [mysql]}
          c: {extends: [a, named]}
        """,
    )
    assert list(found) == ["first", "b", "c-x"]
    assert (found["b"].flavours, found["b"].size) == (("vm", "mysql"), "4")


def test_circles(tmp_path: Path) -> None:
    error = refused(tmp_path, "templates:\n  a: {extends: b}\n  b: {extends: a}\nimages: {}\n")
    assert error.message == f"{tmp_path}/dibo.yaml:3: templates.b.extends: b extends itself: a → b → a"
    assert "extends itself" in refused(tmp_path, "images: {a: {extends: a}}").message
    chain = "".join(f"  t{number}: {{extends: t{number + 1}}}\n" for number in range(2000))
    error = refused(tmp_path, f"templates:\n{chain}  t2000: {{}}\nimages: {{a: {{extends: t0}}}}\n")
    assert "more than 64 templates extend each other" in error.message


def test_what_is_inherited_gives_way_to_another_kind_of_image(tmp_path: Path) -> None:
    found = images(
        tmp_path,
        """\
        defaults: {base: debian, release: trixie, flavours: [vm], size: 4, types: [qcow2]}
        images:
          shop: {convert: registry.example/shop:1}
          deploy: {ramdisk: true, defaults: false, flavours: [deploy]}
          probe: {ramdisk: true, flavours: [hwdiscovery]}
        """,
    )
    assert (found["shop"].flavours, found["shop"].base, found["shop"].size) == ((), None, "4")
    assert (found["probe"].types, found["probe"].size, found["probe"].base) == ((), None, "debian")
    error = refused(tmp_path, "images: {a: {flavours: [deploy], ramdisk: true, size: 4}}")
    assert "size cannot be combined with ramdisk" in error.message
    error = refused(
        tmp_path, "templates: {t: {convert: 'h.example/a:1'}}\nimages: {a: {extends: t, base: debian}}"
    )
    assert "base cannot be combined with convert" in error.message


def test_names_that_are_taken(tmp_path: Path) -> None:
    error = refused(tmp_path, "templates: {a: {}}\nimages:\n  a: {flavours: [vm]}\n")
    assert (
        error.message
        == f"{tmp_path}/dibo.yaml:3: images.a: the name a is taken: {tmp_path}/dibo.yaml:1 has it"
    )
    error = refused(tmp_path, "images: {a: {flavours: [vm], name: c}, b: {flavours: [vm], name: a}}")
    assert "an image is called a, as the entry at" in error.message
    error = refused(tmp_path, "images: {a: {flavours: [vm], name: c}, b: {flavours: [vm], name: c}}")
    assert "two images are called c" in error.message


def test_two_images_at_one_reference(tmp_path: Path) -> None:
    error = refused(
        tmp_path,
        "defaults: {flavours: [vm], destination: 'docker://r.example/a:1'}\nimages: {a: {}, b: {}}",
    )
    assert "a and b have the same destination r.example/a:1" in error.message
    assert "{name}" in error.hint
