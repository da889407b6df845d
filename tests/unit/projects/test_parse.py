"""Each key of an image: what it becomes, and what is refused, with file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.layout.parse import Statement
from dibo.projects.model import BootOptions, ConversionOptions, Destination, RamdiskOptions
from tests.unit.projects.project_files import images, project, refused, write


def test_every_key_of_an_image(tmp_path: Path) -> None:
    (web,) = project(
        tmp_path,
        """\
        images:
          web:
            flavours: [vm, web-server]
            base: debian
            release: trixie
            arch: arm64/v8
            types: [qcow2, raw]
            layout: layouts/web.yaml
            packages: [vim]
            size: 1.5
            fs-type: xfs
            variables: {PORT: 8080, GREETING: "no"}
            secrets: {token: env:TOKEN, key: keys/key.pem}
            boot: {memory: 2048, cpus: 2, firmware: uefi, ports: [80, "8443:443/tcp"], timeout: 300}
            tests:
              - expect: 'login:'
              - run: systemctl is-system-running
              - wait: 1.5
              - name: bios
                firmware: bios
                steps: [{screenshot: bios.png}]
            destination: out/{name}
            no-base: true
            flavours-path: [flavours, /usr/share/flavours]
            converters-path: [converters]
            epoch: 2026-11
            mirror: http://mirror.example/debian
            network: none
            host-hooks: sandbox
            cache: registry.example/team/cache
            cache-from: [registry.example/a, registry.example/b]
            cache-to: [registry.example/c]
            cache-files: true
        """,
    ).images
    assert (web.name, web.entry, web.position.line) == ("web", "web", 2)
    assert (web.flavours, web.base, web.release) == (("vm", "web-server"), "debian", "trixie")
    assert (web.architecture, web.types, web.size) == ("arm64/v8", ("qcow2", "raw"), "1.5")
    assert web.packages == ("vim",)
    assert (web.layout, web.filesystem) == (tmp_path / "layouts/web.yaml", "xfs")
    assert web.variables == (("GREETING", "no"), ("PORT", "8080"))
    assert web.secrets == ("token", "key")
    assert web.secret_sources == ("token=env:TOKEN", f"key={tmp_path}/keys/key.pem")
    assert web.boot == BootOptions(
        memory=2048, cpus=2, firmware="uefi", ports=("80", "8443:443/tcp"), timeout=300
    )
    boot, bios = web.tests
    assert [step.value for step in bios.steps] == [str(tmp_path / "bios.png")]
    assert [(step.kind, step.value) for step in boot.steps] == [
        ("expect", "login:"),
        ("run", "systemctl is-system-running"),
        ("wait", "1.5"),
    ]
    assert (boot.name, boot.boot) == ("boot", web.boot)
    assert (bios.name, bios.boot.firmware, bios.boot.memory) == ("bios", "bios", 2048)
    assert web.destination == Destination(directory=tmp_path / "out/web")
    assert not web.with_base
    assert web.flavours_path == (tmp_path / "flavours", Path("/usr/share/flavours"))
    assert web.converters_path == (tmp_path / "converters",)
    assert (web.epoch, web.mirror) == ("2026-11", "http://mirror.example/debian")
    assert (web.network, web.host_hooks) == ("none", "sandbox")
    assert web.caches == ("registry.example/team/cache",)
    assert web.cache_files
    assert (web.caches_from, web.caches_to) == (
        ("registry.example/a", "registry.example/b"),
        ("registry.example/c",),
    )


def test_an_image_to_convert(tmp_path: Path) -> None:
    found = images(
        tmp_path,
        """\
        images:
          short: {convert: registry.example/apps/shop:3, kit: "oci:kits/cloud:1"}
          long:
            convert: {image: "oci:images/shop", boot-loader: uki, prepare: true, init: false, restart: never}
        """,
    )
    assert found["short"].convert == "registry.example/apps/shop:3"
    assert found["short"].kit == f"oci:{tmp_path}/kits/cloud:1"
    assert found["long"].convert == f"oci:{tmp_path}/images/shop"
    assert found["long"].conversion == ConversionOptions(
        boot_loader="uki", prepare=True, own_init=False, restart="never"
    )


def test_a_ramdisk(tmp_path: Path) -> None:
    found = images(
        tmp_path,
        """\
        images:
          plain: {flavours: [deploy], ramdisk: true}
          more: {flavours: [deploy], ramdisk: {compress: "zstd:19", microcode: true}}
          disk: {flavours: [vm], ramdisk: false}
        """,
    )
    assert found["plain"].ramdisk
    assert found["more"].ramdisk
    assert not found["disk"].ramdisk
    assert found["more"].ramdisk_options == RamdiskOptions(compression="zstd:19", microcode=True)


def test_a_layout_may_stand_in_the_file(tmp_path: Path) -> None:
    found = images(
        tmp_path,
        "images: {web: {flavours: [vm], layout: {table: gpt, partitions: [{name: root, size: rest}]}}}",
    )
    layout = found["web"].layout
    assert isinstance(layout, Statement)
    assert [partition.name for partition in layout.partitions] == ["root"]
    error = refused(tmp_path, "images:\n  web:\n    flavours: [vm]\n    layout: {tabel: gpt}\n")
    assert error.message == f"{tmp_path}/dibo.yaml:4: images.web.layout.tabel: unknown key"
    assert error.hint == "did you mean table?"


def test_a_base_in_a_file_is_beside_the_project_file(tmp_path: Path) -> None:
    found = images(
        tmp_path, "images: {a: {flavours: [vm], base: ./r.tar}, b: {flavours: [vm], base: 'oci:d:t'}}"
    )
    assert (found["a"].base, found["b"].base) == (f"{tmp_path}/r.tar", f"oci:{tmp_path}/d:t")


def test_a_destination_in_a_registry(tmp_path: Path) -> None:
    found = images(
        tmp_path,
        """\
        defaults: {destination: "docker://registry.example/images/{image}:{release}"}
        images: {web: {flavours: [vm], matrix: {release: [bookworm, trixie]}}}
        """,
    )
    assert found["web-trixie"].destination == Destination(
        directory=tmp_path, registry="registry.example/images/web:trixie"
    )


def image(keys: str) -> str:
    return f"images:\n  web:\n    flavours: [vm]\n    {keys}\n"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("release: 3.10", "web.release: expected text, got the number 3.10"),
        ("release: no", "web.release: expected text, got the boolean no"),
        ("release: on", "web.release: expected text, got the boolean on"),
        ("release:", "web.release: expected text, got nothing"),
        ("release: [trixie]", "web.release: expected text, got a list"),
        ("release: ''", "web.release: expected text, got ''"),
        ("relase: trixie", "web.relase: unknown key; did you mean 'release'"),
        ("arch: amd65", "web.arch: expected an architecture, such as amd64 or arm64/v8, got 'amd65'"),
        ("architectures: []", "web.architectures: expected at least one architecture, and each once"),
        ("types: qcow2", "web.types: expected a list, got 'qcow2'"),
        ("types: []", "web.types: the list is empty"),
        ("types: [no]", "web.types[0]: expected text, got the boolean no"),
        ("size: 0", "web.size: expected a number of GB such as 4 or 1.5, got '0'"),
        ("size: 0x10", "web.size: expected a number of GB such as 4 or 1.5, got the number 0x10"),
        ("size: 010", "web.size: expected a number of GB such as 4 or 1.5, got the number 010"),
        ("size: 4G", "web.size: expected a number of GB such as 4 or 1.5, got '4G'"),
        (
            "variables: {A: yes}",
            "web.variables.A: expected text of one line, or a whole number, got the boolean yes",
        ),
        (
            "variables: {A: 1.10}",
            "web.variables.A: expected text of one line, or a whole number, got the number 1.10",
        ),
        ("variables: {RELEASE: trixie}", "web.variables.RELEASE: RELEASE is not set by variables"),
        ("variables: {a-b: c}", "web.variables.a-b: 'a-b' is not the name of a variable"),
        ("secrets: [a/b]", "web.secrets[0]: expected the name of a secret, got 'a/b'"),
        (
            "secrets: {a: 'env:1'}",
            "web.secrets.a: expected a file, or env:VARIABLE; the value itself never stands",
        ),
        ("boot: {memory: 1G}", "web.boot.memory: expected a whole number of 1 or more, got '1G'"),
        (
            "boot: {firmware: efi}",
            "web.boot.firmware: expected one of auto, bios, uefi, secure-boot, u-boot, built-in",
        ),
        ("tests: [{expect: '('}]", "web.tests[0].expect: '(' is no regular expression"),
        (
            "tests: [{expect: a, run: b}]",
            "web.tests[0]: expected one of expect, type, run, wait, screenshot, got 2",
        ),
        ("tests: [{runn: a}]", "web.tests[0].runn: unknown key; did you mean 'run'"),
        ("tests: [{name: a}]", "web.tests[0]: the key steps is missing"),
        ("tests: [{screenshot: ../a.png}]", "web.tests[0].screenshot: the path ../a.png leads out of"),
        ("boot: {memory: 99999999999}", "web.boot.memory: expected a whole number from 1 to 1000000000, got"),
        ("tests: [{wait: 1e9}]", "web.tests[0].wait: expected a number of seconds, got '1e9'"),
        ("destination: out/{relase}", "web.destination: nothing is called {relase} here"),
        ("destination: 'docker://A'", "web.destination: "),
        ("destination: ../../x", "web.destination: the path ../../x leads out of"),
        ("layout: ../layout.yaml", "web.layout: the path ../layout.yaml leads out of"),
        ("no-base: 'true'", "web.no-base: expected true or false, got 'true'"),
        ("cache: host", "web.cache: "),
        ("sha256: abc", "web.sha256: expected 64 hexadecimal digits, got 'abc'"),
        ("network: lan", "web.network: expected one of host, none, got 'lan'"),
        ("name: a/b", "web.name: 'a/b' cannot be the name of an image"),
        ("extends: x", "web.extends: there is no template or image 'x'"),
        ("convert: h.example/a:1", "web.flavours: flavours cannot be combined with convert"),
    ],
)
def test_what_is_refused(tmp_path: Path, keys: str, message: str) -> None:
    line = 3 if message.startswith("web.flavours") else 4
    assert refused(tmp_path, image(keys)).message.startswith(f"{tmp_path}/dibo.yaml:{line}: images.{message}")


def test_text_that_yaml_takes_for_something_else_is_to_be_quoted(tmp_path: Path) -> None:
    assert '"3.10"' in refused(tmp_path, image("release: 3.10")).hint
    assert images(tmp_path, image('release: "3.10"'))["web"].release == "3.10"
    assert images(tmp_path, image("epoch: 2026-11-01"))["web"].epoch == "2026-11-01", "no time of YAML"
    error = refused(tmp_path, "images:\n  no: {flavours: [vm]}\n")
    assert error.message == f'{tmp_path}/dibo.yaml:2: the key no is a boolean for YAML: write "no", in quotes'


def test_the_value_of_a_secret_is_not_shown(tmp_path: Path) -> None:
    for value in ("'env:hunter-2'", "[hunter-2]", "{a: hunter-2}"):
        error = refused(tmp_path, image(f"secrets: {{token: {value}}}"))
        assert "hunter-2" not in f"{error.message} {error.hint}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images: {a: {flavours: [vm]}, a: {}}", "dibo.yaml:1: the key 'a' stands there twice"),
        ("images: [", "dibo.yaml:1: while parsing a flow node"),
        ("image: {}", "dibo.yaml:1: image: unknown key; did you mean 'images'"),
        (
            "text",
            "dibo.yaml:1: expected a mapping with the keys include, defaults, templates, images, got 'text'",
        ),
        ("images: {a: }", "dibo.yaml:1: images.a: the key flavours or convert is missing"),
        ("images: {'a b': {flavours: [vm]}}", "dibo.yaml:1: images.a b: 'a b' cannot be a name"),
        ("images: {a: !!python/object:os.system {}}", "dibo.yaml:1: "),
        ("images: {a: !x b}", "dibo.yaml:1: the tag !x is not known"),
        ("a: &a [*a]", "dibo.yaml:1: an alias stands for what it is in"),
        ("images: " + "[" * 80 + "]" * 80, "dibo.yaml:1: more than 64 lists and mappings in each other"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    assert refused(tmp_path, text).message.startswith(f"{tmp_path}/{message}")


def test_aliases_that_stand_for_too_much(tmp_path: Path) -> None:
    lines = ["x-a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"x-a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert "aliases stand for more than 100000 values" in refused(tmp_path, "\n".join(lines)).message


def test_anchors_and_merges(tmp_path: Path) -> None:
    found = images(
        tmp_path,
        """\
        x-common: &common {base: debian, release: trixie}
        images:
          a: {<<: *common, flavours: [vm]}
          b: {<<: *common, release: bookworm, flavours: [vm]}
          c: {<<: *common, flavours: [vm]}
        """,
    )
    assert [(image.base, image.release) for image in found.values()] == [
        ("debian", "trixie"),
        ("debian", "bookworm"),
        ("debian", "trixie"),
    ]


def test_an_empty_file_has_no_images(tmp_path: Path) -> None:
    assert project(tmp_path, "").images == ()
    assert write(tmp_path, "").is_file()


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    assert "larger than 4 MiB" in refused(tmp_path, "#" * (4 << 20) + "\n").message


@pytest.mark.parametrize(
    ("port", "message"),
    [
        ("22:22", "expected a port, such as 80 or 8080:80/tcp, got the number 22:22"),
        ("'8080:99999'", "'8080:99999': ports are numbers from 1 to 65535"),
        ("'70000:80/udp'", "'70000:80/udp': ports are numbers from 1 to 65535"),
        ("0", "'0': ports are numbers from 1 to 65535"),
    ],
)
def test_ports(tmp_path: Path, port: str, message: str) -> None:
    """YAML 1.1 has numbers of base 60, which two ports can look like."""
    error = refused(tmp_path, f"images: {{a: {{flavours: [vm], boot: {{ports: [{port}]}}}}}}")
    assert error.message.partition("ports[0]: ")[2] == message
