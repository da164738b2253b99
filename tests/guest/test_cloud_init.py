"""The `cloud-init` module as a Linux program under the sanitizers: its sources and keys."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from osvlab.guest import CloudConfig
from osvlab.vm.boot import LAB_CLOUD_INIT
from tests.kernel import host

MODULE = host.KERNEL / "modules" / "cloud-init"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = [str(path) for path in sorted(MODULE.glob("*.c"))]
    return host.build(tmp_path_factory.mktemp("cloud-init") / "cloud-init", [*sources, "-lyaml"])


@pytest.fixture
def run(program: Path, tmp_path: Path) -> Run:
    def start(*options: object) -> subprocess.CompletedProcess[str]:
        argv = [str(program), f"--disks={tmp_path}/disk", *map(str, options)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert "Sanitizer" not in done.stderr, done.stderr
        return done

    return start


def apply(run: Run, folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "config.yaml").write_text(text)
    return run("--file", folder / "config.yaml", *options)


def test_the_lab_knows_what_the_module_can_do() -> None:
    table = re.search(r"handlers\[\] = \{(.*?)\n\};", (MODULE / "handlers.c").read_text(), re.DOTALL)
    assert table is not None
    keys = set(re.findall(r'\{"([a-z-]+)",', table[1]))
    assert keys == {*LAB_CLOUD_INIT, "mounts"}  # which it only refuses


def test_files_are_written_with_their_folders(run: Run, tmp_path: Path) -> None:
    text = "two\nlines\nü: [and more\n"
    config = CloudConfig.make(files={f"{tmp_path}/a/b/c": text, f"{tmp_path}/empty": ""})
    assert apply(run, tmp_path, config.text).returncode == 0
    assert (tmp_path / "a/b/c").read_text() == text
    assert (tmp_path / "empty").read_bytes() == b""


def test_a_disk_is_found_by_what_is_on_it(run: Run, tmp_path: Path) -> None:
    assert run().returncode == 0  # no disk is no error
    (tmp_path / "disk1").write_bytes(bytes(100_000))
    CloudConfig.make(files={f"{tmp_path}/found": "yes"}).write_iso(tmp_path / "disk3")
    assert run().returncode == 0
    assert (tmp_path / "found").read_text() == "yes"


@pytest.mark.parametrize(
    "options", [["-J"], ["-R"], ["-J", "-R"], ["-l", "-relaxed-filenames", "-allow-lowercase"]]
)
def test_disks_of_genisoimage_are_read(run: Run, tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "user-data").write_text(CloudConfig.make(files={f"{tmp_path}/found": "yes"}).text)
    for n in range(100):  # a directory of several sectors
        (tmp_path / "tree" / f"another-file-{n}").write_text("")
    argv = ["genisoimage", "-quiet", "-o", tmp_path / "disk1", *options, tmp_path / "tree"]
    subprocess.run(argv, check=True, capture_output=True)
    assert run().returncode == 0
    assert (tmp_path / "found").read_text() == "yes"


@pytest.mark.parametrize("seed", range(60))
def test_damaged_disks_do_no_harm(run: Run, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    CloudConfig("hostname: x").write_iso(tmp_path / "disk1")
    data = bytearray((tmp_path / "disk1").read_bytes())
    used = [i for i in range(16 * 2048, len(data)) if data[i]]
    for _ in range(dice.randint(1, 20)):
        data[dice.choice(used)] = dice.choice([0, 1, 255, dice.randrange(256)])
    if dice.random() < 0.2:
        del data[dice.randrange(len(data)) :]
    (tmp_path / "disk1").write_bytes(data)
    assert run().returncode in (0, 1)


def test_a_web_server_is_asked(run: Run, tmp_path: Path) -> None:
    config = CloudConfig.make(files={f"{tmp_path}/found": "yes"})
    with config.serve() as address:
        server = ["--server=127.0.0.1", f"--port={address.port}"]
        assert run(*server, "--url=/user-data").returncode == 0
        done = run(*server, "--url=/nothing")
    assert (tmp_path / "found").read_text() == "yes"
    assert (done.returncode, done.stdout) == (
        1,
        "cloud-init failed: 127.0.0.1: the server says: 404 Not Found\n",
    )
    done = run(*server, "--url=/user-data")
    assert (done.returncode, done.stdout) == (1, "cloud-init failed: 127.0.0.1: Connection refused\n")


def test_sources_include_each_other_within_bounds(run: Run, tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text(f"files: {{{tmp_path}/more: 'yes'}}")
    done = apply(run, tmp_path, f"include: [{{file: {tmp_path}/more.yaml}}, {{file: /nothing}}]")
    assert (tmp_path / "more").exists()
    assert done.stdout == "cloud-init failed when handling 'include': line 1: No such file or directory\n"
    done = apply(run, tmp_path, f"include: [{{file: {tmp_path}/config.yaml}}]")
    assert "more than 16 sources include each other" in done.stdout


def test_settings_of_other_programs_are_handed_on(run: Run, tmp_path: Path) -> None:
    bomb = "a: &a [x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n"
    config = "monitor-agent:\n  port: 8001\n  list: [1, 'two']\n  map: {a: b}\n"
    target = Path("/tmp/monitor-agent.conf")
    assert not target.exists()
    try:
        assert apply(run, tmp_path, config).returncode == 0
        assert target.read_text() == "port: 8001\nlist:\n- 1\n- 'two'\nmap:\n  a: b\n"
        nested = "\n".join(f"  {line}" for line in bomb.splitlines())
        assert apply(run, tmp_path, f"monitor-agent:\n{nested}\n").returncode == 0
        assert apply(run, tmp_path, "monitor-agent: &x\n  a: *x\n").returncode == 1
    finally:
        target.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("files: {}\nfile: x\n", "cloud-init failed when handling 'file': line 2: unknown key"),
        ("- a\n", "cloud-init failed: line 1: the configuration must be a mapping"),
        ("a: [\n", "cloud-init failed: line 2: no YAML: did not find expected node content"),
        ("\n\nfiles: [a]\n", "cloud-init failed when handling 'files': line 3: files must be a mapping"),
        ("files: {a: b}\n", "cloud-init failed when handling 'files': line 1: not an absolute path: a"),
        ("files: {/proc/x/y: b}\n", "cloud-init failed when handling 'files': line 1: /proc/x/y: "),
        ("run: x\n", "cloud-init failed when handling 'run': line 1: run must be a list"),
        ("run:\n  - a: b\n", "cloud-init failed when handling 'run': line 2: a call has exactly one of"),
        (
            "run:\n  - GET: /a\n",
            "cloud-init failed when handling 'run': line 2: the module httpserver",
        ),
        ("mounts: []\n", "cloud-init failed when handling 'mounts': line 1: this kernel has no NFS"),
        ("include: [x]\n", "cloud-init failed when handling 'include': line 1: an entry of include"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(run: Run, tmp_path: Path, text: str, said: str) -> None:
    done = apply(run, tmp_path, text)
    assert done.returncode == 1
    assert done.stdout.startswith(said)
    assert done.stdout.count("\n") == 1


def test_errors_are_skipped_when_that_is_asked_for(run: Run, tmp_path: Path) -> None:
    text = f"file: x\nfiles: {{{tmp_path}/after: 'yes'}}\n"
    assert apply(run, tmp_path, text).returncode == 1
    assert not (tmp_path / "after").exists()
    assert apply(run, tmp_path, text, "--skip-error").returncode == 1
    assert (tmp_path / "after").exists()


@pytest.mark.parametrize("options", [["--nonsense"], ["--file"], ["--server=x"], ["--url=/x"]])
def test_wrong_options_are_refused(run: Run, options: list[str]) -> None:
    done = run(*options)
    assert done.returncode == 2
    assert done.stdout.startswith("cloud-init: ")
