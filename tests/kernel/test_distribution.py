"""Unmodified programs of the distribution, of packages that every Debian has."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

import osvlab
from osvlab.image.build import build
from osvlab.image.image import Image
from osvlab.kernels import Kernel

pytestmark = pytest.mark.qemu

PROGRAMS = ["bash", "dash", "ls", "perl", "gzip", "tar", "sort", "date"]
SCRIPTS = {
    "script.sh": (
        'for i in 1 2 3; do printf %s $i; done; echo\ntrap "echo caught" USR1\nkill -USR1 $$\nexit 4\n'
    ),
    "script.pl": (
        '$SIG{ALRM} = sub { print "alarm\\n" }; alarm 1; sleep 9;\n'
        'print join(",", sort { $b <=> $a } 1..5), "\\n"; print "$1\\n" if "abc123" =~ /(\\d+)/;\n'
    ),
}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    tree = tmp_path_factory.mktemp("distribution") / "tree"
    libraries = tree / "usr" / "lib"
    libraries.mkdir(parents=True)
    supplied = Kernel.lab().supplies_libraries
    for name in PROGRAMS:
        program = shutil.which(name)
        assert program is not None
        shutil.copy(program, tree / name)
        lines = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for library, path in re.findall(r"(\S+) => (/\S+)", lines):
            if library not in supplied:
                shutil.copy(path, libraries / library)
    for name, text in SCRIPTS.items():
        (tree / name).write_text(text)
    return build(tree, command="/ls /", output=tree.parent / "distribution.img")


@pytest.mark.parametrize(
    ("command", "status", "output"),
    [
        ("/dash /script.sh", 4, r"^123\ncaught\n"),
        ("/bash /script.sh", 4, r"^123\ncaught\n"),
        ("/perl /script.pl", 0, r"^alarm\n5,4,3,2,1\n123\n"),
        ("/ls -l /script.sh", 0, r"^-r-xr-xr-x .* /script.sh\n$"),
        (
            "/tar -cf /tmp/a.tar /script.sh; /gzip /tmp/a.tar; /gzip -t /tmp/a.tar.gz; /ls /tmp",
            0,
            r"^(.*\n)?a.tar.gz\n$",
        ),
        ("/sort -r /script.sh", 0, r"^trap"),
        ("/date -u -d @0 +%F", 0, r"^1970-01-01\n$"),
    ],
)
def test_unmodified_program_runs(command: str, status: int, output: str, image: Image) -> None:
    with osvlab.run(image, command=command, memory="64M", timeout=60) as vm:
        assert vm.wait() == osvlab.Exited(status), vm.console.text
        text = vm.console.text.partition("Cmdline: ")[2].partition("\n")[2]
    assert re.search(output, text), text
