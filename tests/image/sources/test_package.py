"""Packages: what they say of themselves, what they require, and how they are run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from osvlab.events import Event, Note, listening
from osvlab.filesystems.tree import Content
from osvlab.image.collection import RecipeError
from osvlab.image.recipe import Recipe
from tests.image.sources.packages import archive, entry, package
from tests.image.sources.test_manifest import host

NATIVE = "runtime: native\nconfig_set:\n  {name}: {{bootcmd: {command}}}\n"


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CAPSTAN_ROOT", str(tmp_path / "store"))


def script(recipe: Recipe, name: str) -> str:
    node = recipe.tree.find(b"/run/" + name.encode())
    assert isinstance(node, Content)
    assert node.mode == 0o755
    return node.data.decode()


def refusal(place: Path, command: str | None = "/x", **options: object) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_package(place, command, **options)  # type: ignore[arg-type]
    return caught.value


# --- the directory -----------------------------------------------------------------------------------------


def test_a_directory_goes_in_without_what_is_ignored(tmp_path: Path) -> None:
    files = {
        "app.js": "",
        "src/a.c": "",
        "src/a.o": "",
        "build/x/y": "",
        ".capstanignore": "# objects\n/**/*.o\n/build/*\n\n",
        ".git/config": "",
        ".gitignore": "",
        "mpm-pkg/old": "",
        "volumes/disk": "",
        "meta/README.md": "",
        "sub/meta/kept": "",
    }
    place = package(tmp_path, "app", files)
    os.mkfifo(place / "build/pipe")  # what stays out is not looked at
    recipe = Recipe.from_package(place, "/x")
    names = {path for path, _ in recipe.tree.walk() if path.count(b"/") > 1 or path == b"/app.js"}
    names -= {b"/etc/fstab", b"/etc/hosts", b"/etc/mnttab", b"/etc/resolv.conf"}
    assert names == {b"/app.js", b"/src/a.c", b"/sub/meta", b"/sub/meta/kept"}
    assert recipe.tree.find(b"/build") is not None
    for absent in (b"/meta", b"/.git", b"/.gitignore", b"/.capstanignore", b"/mpm-pkg", b"/volumes"):
        assert recipe.tree.find(absent) is None
    assert recipe.why("/src/a.c") == f"/src/a.c comes from the package app ({place}/src/a.c)"
    assert recipe.folders == (place,)


def test_the_image_made_of_it_before_is_left_out_when_told(tmp_path: Path) -> None:
    place = package(tmp_path, "app", {"x": "", "my.img": "", "sub/my.img": ""})
    (tmp_path / "link").symlink_to(place)
    recipe = Recipe.from_package(tmp_path / "link", "/x", leave_out=place / "my.img")
    assert recipe.tree.find(b"/my.img") is None
    assert recipe.tree.find(b"/sub/my.img") is not None


def test_the_image_that_is_usually_made_of_it_is_left_out(tmp_path: Path) -> None:
    place = package(tmp_path, "app", {"x": "", "app.img": "", "sub/app.img": ""})
    (tmp_path / "link").symlink_to(place)
    for options, said in (({}, 1), ({"leave_out": place / "app.img"}, 0)):
        heard: list[Event] = []
        with listening(heard.append):
            recipe = Recipe.from_package(tmp_path / "link", "/x", **options)
        assert recipe.tree.find(b"/app.img") is None
        assert recipe.tree.find(b"/sub/app.img") is not None
        texts = [event.text for event in heard if isinstance(event, Note)]
        assert texts == [f"left out: {tmp_path}/link/app.img, where osvlab build writes the image"] * said


def test_a_package_without_a_description_is_called_app(tmp_path: Path) -> None:
    place = package(tmp_path, "app", run=NATIVE.format(name="main", command="/x"))
    (place / "meta/package.yaml").unlink()
    heard: list[Event] = []
    with listening(heard.append):
        assert Recipe.from_package(place).command == "runscript /run/main;"
    assert any(isinstance(event, Note) and "is called App" in event.text for event in heard)
    (place / "meta/run.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"is no package: it has neither meta/package.yaml nor"):
        Recipe.from_package(place)


# --- package.yaml ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("name: a\nrequires: [b]", 2, "unknown key: requires"),
        ("name: a\nrequire: b", 2, "require must be a list"),
        ("name: a\nrequire:\n- b\n- ../../etc", 4, "not a name of a package: '../../etc'"),
        ("name: a\nname: b", 2, "name is there twice"),
        ("name: [a]", 1, "name must be a text"),
        ("- a", 1, "a package must be a mapping"),
        ("name: 'a", 1, "no YAML"),
    ],
)
def test_what_cannot_be_right_in_a_description(tmp_path: Path, text: str, line: int, what: str) -> None:
    place = package(tmp_path, "app")
    (place / "meta/package.yaml").write_text(text)
    message = refusal(place).message
    assert message.startswith(f"{place}/meta/package.yaml, line {line}: {what}")
    assert f"\n  {line} | " in message


def test_keys_that_capstan_does_not_know_either_are_no_trouble(tmp_path: Path) -> None:
    place = package(tmp_path, "app", {"x": ""}, homepage="https://example.com", created="2017-09-14 18:08")
    assert Recipe.from_package(place, "/x").command == "/x"
    (place / "meta/package.yaml").write_text("title: nameless")
    assert "has no name" in refusal(place).message


# --- requirements ------------------------------------------------------------------------------------------


def test_what_is_required_goes_in_first_wherever_it_is(tmp_path: Path) -> None:
    """By an archive in Capstan's store, by a directory in a folder that is named; the later file wins."""
    archive(
        tmp_path / "store/packages/libs.mpm", entry("/lib/z", b"libs"), entry("/a", b"libs"), name="libs"
    )
    package(tmp_path / "near", "tools", {"a": "tools", "b": "tools"}, require="[libs]")
    archive(tmp_path / "near/extra.mpm.x86_64", entry("c", b"extra"), name="extra")
    app = package(tmp_path, "app", {"b": "app"}, require="[tools, libs]")
    recipe = Recipe.from_package(app, "/x", packages=[tmp_path / "near"], require=["extra"])
    assert recipe.tree.find(b"/lib/z") == Content(b"libs")
    assert host(recipe, "/a") == f"{tmp_path}/near/tools/a"
    assert host(recipe, "/b") == f"{app}/b"
    assert recipe.tree.find(b"/c") == Content(b"extra")
    stored = tmp_path / "store/packages/libs.mpm"
    assert recipe.why("/lib/z") == (
        f"/lib/z comes from the package libs, which tools requires ({stored}, entry /lib/z)"
    )
    assert recipe.why("/c").startswith("/c comes from the package extra, which app requires")


def test_the_nearer_folder_counts(tmp_path: Path) -> None:
    archive(tmp_path / "store/packages/lib.mpm", entry("/a", b"far"), name="lib")
    archive(tmp_path / "near/lib.mpm", entry("/a", b"near"), name="lib")
    app = package(tmp_path, "app", require="[lib]")
    assert Recipe.from_package(app, "/x").tree.find(b"/a") == Content(b"far")
    near = Recipe.from_package(app, "/x", packages=[tmp_path / "near"])
    assert near.tree.find(b"/a") == Content(b"near")


def test_all_that_are_missing_are_named_with_who_wants_them(tmp_path: Path) -> None:
    package(tmp_path, "lib", require="[deep, osv.bootstrap]")
    app = package(tmp_path, "app", require="[lib, gone]")
    heard: list[Event] = []
    with listening(heard.append):
        error = refusal(app, packages=[tmp_path])
    assert error.message == (
        "packages are missing:\n  deep, required by lib\n  gone, required by app\n"
        f"looked for in {tmp_path}, {tmp_path}/store/packages"
    )
    assert "capstan package pull deep" in str(error.hint)
    assert [event.text for event in heard if isinstance(event, Note)] == [
        "the package osv.bootstrap is not here; every image of the lab has what it is for"
    ]


def test_packages_that_require_each_other_are_named(tmp_path: Path) -> None:
    package(tmp_path, "a", require="[b]")
    package(tmp_path, "b", require="[c]")
    package(tmp_path, "c", require="[a]")
    app = package(tmp_path, "app", require="[a]")
    error = refusal(app, packages=[tmp_path])
    assert error.message == "packages require each other: a requires b requires c requires a"
    itself = package(tmp_path, "selfish", require="[selfish]")
    assert Recipe.from_package(itself, "/x").command == "/x"


def test_a_package_that_calls_itself_otherwise(tmp_path: Path) -> None:
    archive(tmp_path / "lib.mpm", name="other")
    app = package(tmp_path, "app", require="[lib]")
    assert refusal(app, packages=[tmp_path]).message == (
        f"{tmp_path}/lib.mpm calls itself other, and app requires lib"
    )


def test_an_archive_with_trouble_is_named(tmp_path: Path) -> None:
    archive(tmp_path / "lib.mpm", entry("../x"), name="lib")
    app = package(tmp_path, "app", require="[lib]")
    assert (
        f"{tmp_path}/lib.mpm holds what a package may not hold" in refusal(app, packages=[tmp_path]).message
    )


# --- what is run -------------------------------------------------------------------------------------------


def test_every_config_set_of_every_package_is_a_script(tmp_path: Path) -> None:
    package(tmp_path, "base", run=NATIVE.format(name="hello", command="/hello base"))
    run = """runtime: native
config_set:
  hello: {bootcmd: "/hello app; /second"}
  quiet:
    bootcmd: /quiet
    env: {PORT: 8000, NAME: two words, B: ""}
config_set_default: hello , quiet
"""
    app = package(tmp_path, "app", run=run, require="[base]")
    recipe = Recipe.from_package(app, packages=[tmp_path])
    assert recipe.command == "runscript /run/hello;runscript /run/quiet;"
    assert script(recipe, "hello") == "/hello app; /second\n"
    assert script(recipe, "quiet") == '--env=B?= "--env=NAME?=two words" --env=PORT?=8000 /quiet\n'
    assert recipe.why("/run/quiet") == (
        f"/run/quiet is the config_set quiet of the package app ({app}/meta/run.yaml, line 4)"
    )
    assert Recipe.from_package(app, packages=[tmp_path], boot=["quiet"]).command == "runscript /run/quiet;"
    assert Recipe.from_package(app, "/other", packages=[tmp_path]).command == "/other"


def test_a_base_of_another_package_is_told_what_is_set(tmp_path: Path) -> None:
    command = '"--cwd $DIR --port $PORT $WHO"'
    package(
        tmp_path,
        "server",
        run=f"runtime: native\nconfig_set:\n  web: {{bootcmd: {command}, env: {{PORT: 80, DIR: /}}}}",
    )
    package(
        tmp_path,
        "mine",
        require="[server]",
        run="""runtime: native
config_set:
  web: {base: "server:web", env: {PORT: 81, WHO: me}}
""",
    )
    app = package(
        tmp_path,
        "app",
        run="""runtime: native
config_set:
  final: {base: "mine:web", env: {PORT: 82}}
""",
    )
    recipe = Recipe.from_package(app, packages=[tmp_path])  # a base is required without being told
    assert (
        script(recipe, "final") == "--env=DIR?=/ --env=PORT?=82 --env=WHO?=me --cwd $DIR --port $PORT $WHO\n"
    )
    assert (
        script(recipe, "web") == "--env=DIR?=/ --env=PORT?=81 --env=WHO?=me --cwd $DIR --port $PORT $WHO\n"
    )


JAVA = "/java.so -Xms$XMS -Xmx$XMX -cp $CLASSPATH $JVM_ARGS $MAIN $ARGS"


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (
            "runtime: java\nconfig_set: {x: {main: main.Hello}}",
            "--env=CLASSPATH?=/ --env=JVM_ARGS?=-Dx=y --env=MAIN?=main.Hello " + JAVA,
        ),
        (
            "runtime: java\nconfig_set: {x: {main: /a.jar, xms: 64m, xmx: 1g, args: [one], "
            "classpath: [/a, /b]}}",
            "--env=ARGS?=one --env=CLASSPATH?=/a:/b --env=JVM_ARGS?=-jar --env=MAIN?=/a.jar --env=XMS?=64m "
            "--env=XMX?=1g " + JAVA,
        ),
        (
            "runtime: java\nconfig_set: {x: {main: a.jar, jvm_args: [-Da=b, -Dc=d], "
            "args: ['two words', b]}}",
            "--env=CLASSPATH?=/ --env=MAIN?=a.jar /java.so -Xms$XMS -Xmx$XMX -cp $CLASSPATH "
            '-Da=b -Dc=d -jar $MAIN "two words" b',
        ),
        (
            "runtime: java\nconfig_set: {x: {main: M, env: {MAIN: N, JVM_ARGS: -Xint}}}",
            "--env=CLASSPATH?=/ --env=JVM_ARGS?=-Xint --env=MAIN?=N " + JAVA,
        ),
        (
            "runtime: node\nconfig_set: {x: {main: /s.js}}",
            "--env=MAIN?=/s.js --env=NODE_ARGS?=-- /node $NODE_ARGS $MAIN $ARGS",
        ),
        (
            "runtime: node\nconfig_set: {x: {main: /s.js, node_args: [--inspect], args: [--port, '80']}}",
            "--env=MAIN?=/s.js --env=NODE_ARGS?=--inspect /node $NODE_ARGS $MAIN --port 80",
        ),
        (
            "runtime: node\nconfig_set: {x: {shell: true}}",
            "--env=ARGS?= --env=MAIN?= --env=NODE_ARGS?=-- /node $NODE_ARGS $MAIN $ARGS",
        ),
        (
            "runtime: python\nconfig_set: {x: {main: /s.py, shell: no, args: }}",
            "--env=MAIN?=/s.py --env=PYTHON_ARGS?=-O /python $PYTHON_ARGS $MAIN $ARGS",
        ),
        (
            "runtime: python\nconfig_set: {x: {shell: yes}}",
            "--env=ARGS?= --env=MAIN?=- --env=PYTHON_ARGS?=-O /python $PYTHON_ARGS $MAIN $ARGS",
        ),
        (
            "runtime: python\nconfig_set: {x: {base: 'osv.python3x:py', main: /s.py}}",
            "--env=MAIN?=/s.py --env=PYTHON_ARGS?=-O /python3 $MAIN",
        ),
        (
            "runtime: java\nconfig_set: {x: {base: 'openjdk-mine:j', main: M}}",
            "--env=CLASSPATH?=/ --env=JVM_ARGS?=-Dx=y --env=MAIN?=M /mine $MAIN",
        ),
        ("runtime: java\nconfig_set: {x: {base: 'spark:go', env: {A: b}}}", "--env=A?=b /spark"),
    ],
)
def test_the_four_runtimes(tmp_path: Path, run: str, expected: str) -> None:
    for name, config_set, command in (
        ("openjdk8-zulu-compact1", "java", JAVA),
        ("node-4.4.5", "node", "/node $NODE_ARGS $MAIN $ARGS"),
        ("python-2.7", "python", "/python $PYTHON_ARGS $MAIN $ARGS"),
        ("osv.python3x", "py", "/python3 $MAIN"),
        ("openjdk-mine", "j", "/mine $MAIN"),
        ("spark", "go", "/spark"),
    ):
        package(tmp_path, name, run=NATIVE.format(name=config_set, command=command))
    app = package(tmp_path, "app", run=run)
    recipe = Recipe.from_package(app, packages=[tmp_path])
    assert script(recipe, "x") == expected + "\n"
    assert recipe.command == "runscript /run/x;"


@pytest.mark.parametrize(
    ("run", "line", "what"),
    [
        ("config_set: {}", 0, "names no runtime"),
        ("", 0, "names no runtime"),
        ("runtime: ruby\nconfig_set: {x: {}}", 1, "unknown runtime: ruby"),
        ("runtime: native", 1, "there has to be at least one config_set"),
        ("runtime: native\nconfig_set: {x: }", 2, "must be a mapping"),
        ("runtime: native\nconfig_set:\n  x: {main: a}", 3, "unknown key: main"),
        ("runtime: native\nconfig_set:\n  x: {}", 3, "bootcmd is missing"),
        ("runtime: native\nconfig_set:\n  x: {bootcmd: ';'}", 3, "bootcmd is empty"),
        ("runtime: native\nconfig_set:\n  x: {bootcmd: '\"open'}", 3, "a double quote without its end"),
        ("runtime: native\nconfig_set:\n  ../x: {bootcmd: /x}", 3, "not a name for a config_set"),
        (
            "runtime: native\nconfig_set:\n  x: {bootcmd: /x, env: {a b: c}}",
            3,
            "not a name for an environment",
        ),
        (
            "runtime: native\nconfig_set:\n  x: {bootcmd: /x, env: {a: [c]}}",
            3,
            "the value of a must be a text",
        ),
        ("runtime: native\nconfig_set:\n  x: {base: nocolon}", 3, "base is PACKAGE:CONFIG_SET"),
        ("runtime: java\nconfig_set:\n  x: {xms: 1g}", 3, "main is missing"),
        ("runtime: java\nconfig_set:\n  x: {main: a, args: b}", 3, "args must be a list"),
        ("runtime: java\nconfig_set:\n  x: {base: 'spark:go', main: a}", 3, "main does not go together"),
        ("runtime: node\nconfig_set:\n  x: {shell: true, main: a}", 3, "shell: true does not go together"),
        ("runtime: node\nconfig_set:\n  x: {shell: maybe}", 3, "shell must be true or false"),
        ("runtime: java\nconfig_set:\n  x: {main: a, shell: true}", 3, "unknown key: shell"),
    ],
)
def test_what_cannot_be_right_in_a_run_yaml(tmp_path: Path, run: str, line: int, what: str) -> None:
    app = package(tmp_path, "app", run=run)
    message = refusal(app).message
    assert what in message
    assert message.startswith(f"{app}/meta/run.yaml" + (f", line {line}: " if line else ""))


def test_bases_that_are_not_there_or_lead_in_a_circle(tmp_path: Path) -> None:
    package(tmp_path, "lib", run=NATIVE.format(name="one", command="/x"))
    package(tmp_path, "bare")
    for base, what in (
        ("lib:two", "the package lib has no config_set two; it has one"),
        ("bare:x", "the base bare:x is in no package that is required and has a run.yaml"),
        ("app:x", "bases lead in a circle: app:x -> app:x"),
    ):
        app = package(tmp_path, "app", run=f"runtime: native\nconfig_set:\n  x: {{base: '{base}'}}")
        assert refusal(app, packages=[tmp_path]).message == f"{app}/meta/run.yaml, line 3: {what}"


def test_which_script_is_run_has_to_be_clear(tmp_path: Path) -> None:
    two = "runtime: native\nconfig_set:\n  a: {bootcmd: /a}\n  b: {bootcmd: /b}\n"
    app = package(tmp_path, "app", run=two)
    error = refusal(app, None)
    assert error.message == "nothing says which config_set of app to run: a, b"
    assert refusal(app, None, boot=["c"]).message == "no such config_set: c"
    assert "There are: a, b." in str(refusal(app, None, boot=["c"]).hint)
    (app / "meta/run.yaml").write_text(two + "config_set_default: b,zz")
    told = "no such config_set: zz, which config_set_default of the package app names"
    assert refusal(app, None).message == told
    (app / "meta/run.yaml").write_text(two.replace("a:", "default:"))
    assert Recipe.from_package(app).command == "runscript /run/default;"


def test_a_script_called_default_is_what_capstan_runs(tmp_path: Path) -> None:
    app = archive(tmp_path / "app.mpm", entry("/run/default", b"/x\n"), entry("/x", b""))
    assert Recipe.from_package(app).command == "runscript /run/default;"


def test_without_a_run_yaml_the_only_program_is_run(tmp_path: Path, app: Path) -> None:
    place = archive(tmp_path / "app.mpm", entry("/hello", (app / "hello").read_bytes()))
    assert Recipe.from_package(place).command == "/hello"
    with pytest.raises(RecipeError, match=r"no program at the top of .*none\.mpm"):
        Recipe.from_package(archive(tmp_path / "none.mpm"))
