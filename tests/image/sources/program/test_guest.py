"""Programs of this distribution, as they are, from one call to a guest that runs them."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

import osvlab
from osvlab.image.build import build_recipe
from osvlab.image.image import Image
from osvlab.image.recipe import Recipe
from osvlab.kernels import Kernel

pytestmark = pytest.mark.qemu


def built(folder: Path, program: str, *arguments: str, **options: object) -> Image:
    """Make an image of a program, which has to pass preflight; skip what is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"no {program} here")
    recipe = Recipe.from_program(program, arguments, **options)  # type: ignore[arg-type]
    return build_recipe(recipe, Kernel.lab(), folder / "image")


def output_of(image: Image, memory: str = "128M") -> str:
    with osvlab.run(image, memory=memory, timeout=120) as vm:
        assert vm.wait() == osvlab.Exited(0), vm.console.text
        return vm.console.text.partition("Cmdline: ")[2].partition("\n")[2]


@pytest.mark.parametrize(
    ("program", "arguments", "output"),
    [
        ("/usr/bin/sqlite3", [":memory:", "select sum(value) from generate_series(1, 1000)"], r"^500500$"),
        ("git", ["--version"], r"^git version \d"),
        ("perl", ["-e", 'print "a" x 3, "\\n"'], r"^aaa$"),
        ("busybox", ["sha256sum", "/etc/hosts"], r"^[0-9a-f]{64}  /etc/hosts$"),
        ("openssl", ["dgst", "-sha256", "/etc/hosts"], r"^SHA2-256\(/etc/hosts\)= [0-9a-f]{64}$"),
        ("/bin/date", ["-u", "-d", "@0", "+%F"], r"^1970-01-01$"),
    ],
)
def test_a_program_runs(tmp_path: Path, program: str, arguments: list[str], output: str) -> None:
    text = output_of(built(tmp_path, program, *arguments))
    assert re.search(output, text, re.MULTILINE), text


PYTHON = "/usr/bin/python3"
CODE = """\
import ctypes, json, sqlite3, ssl, sys, zlib
assert zlib.decompress(zlib.compress(b"x" * 99)) == b"x" * 99
print(json.dumps([sys.version_info[:2], sqlite3.connect(":memory:").execute("select 6 * 7").fetchone()]))
"""


def test_python_with_its_modules_and_the_libraries_that_these_need(tmp_path: Path) -> None:
    if not Path(PYTHON).exists():
        pytest.skip(f"no {PYTHON} here")
    ask = 'import sys, sysconfig; print(*sys.version_info[:2], sysconfig.get_path("stdlib"), sep="\\n")'
    said = subprocess.run([PYTHON, "-c", ask], capture_output=True, text=True, check=True).stdout.split("\n")
    (tmp_path / "script").write_text(f"#!{PYTHON}\n{CODE}")
    (tmp_path / "script").chmod(0o755)
    image = built(
        tmp_path,
        str(tmp_path / "script"),
        data=[said[2]],
        exclude=["__pycache__", "test", "idlelib", "config-*"],
    )
    assert f"[[{said[0]}, {said[1]}], [42]]" in output_of(image, memory="256M")


def test_a_server_behind_a_link_that_gives_it_another_name(tmp_path: Path) -> None:
    """redis-server is redis-check-rdb, and becomes the server by its name."""
    real = shutil.which("redis-check-rdb")
    if real is None:
        pytest.skip("no redis-check-rdb here")
    (tmp_path / "redis-server").symlink_to(real)
    options = ["--save", "", "--appendonly", "no", "--protected-mode", "no"]
    image = built(tmp_path, str(tmp_path / "redis-server"), *options)
    with osvlab.run(image, memory="128M", timeout=120, ports=[6379]) as vm:
        vm.wait_for("Ready to accept connections")
        with socket.create_connection(("127.0.0.1", vm.ports[6379]), timeout=30) as client:
            client.sendall(b"SET name value\r\nGET name\r\n")
            reply = b""
            while not reply.endswith(b"value\r\n"):
                received = client.recv(100)
                assert received, reply
                reply += received
        assert reply == b"+OK\r\n$5\r\nvalue\r\n"


CONFIGURATION = """\
daemon off; master_process off; error_log stderr notice; pid /tmp/pid; events {}
http { access_log off; client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy;
       fastcgi_temp_path /tmp/fastcgi; uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
       server { listen 80; root /srv/www; } }
"""


def test_a_web_server_with_data_at_places_of_their_own(tmp_path: Path) -> None:
    program = "/usr/sbin/nginx"
    if not Path(program).exists():
        pytest.skip(f"no {program} here")
    (tmp_path / "www").mkdir()
    (tmp_path / "www/index.html").write_text("served by a library OS")
    (tmp_path / "conf").write_text(CONFIGURATION)
    (tmp_path / "log").touch()
    data = {
        "/etc/nginx/nginx.conf": tmp_path / "conf",
        "/srv/www": tmp_path / "www",
        "/var/log/nginx/error.log": tmp_path / "log",
        "/etc/passwd": "/etc/passwd",
        "/etc/group": "/etc/group",
    }
    image = built(tmp_path, program, data=data)
    with osvlab.run(image, memory="128M", timeout=120, ports=[80]) as vm:
        vm.wait_for("using the .epoll")
        with urllib.request.urlopen(f"{vm.url(80)}/index.html", timeout=30) as answer:
            assert answer.read() == b"served by a library OS"


DLOPENS = r"""
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *library = dlopen("libz.so.1", RTLD_NOW);
    const char *(*version)(void) = library ? (const char *(*)(void))dlsym(library, "zlibVersion") : 0;
    printf("%s\n", version ? version() : dlerror());
    return !version;
}
"""


CONVERTS = r"""
#include <iconv.h>
#include <pwd.h>
#include <stdio.h>
int main(void) {
    char in[] = "\xe2\x82\xac", out[8] = {0}, *from = in, *to = out;
    size_t left = 3, room = sizeof(out);
    iconv_t converter = iconv_open("ISO-8859-15", "UTF-8");
    struct passwd *root = getpwnam("root");
    if (converter == (iconv_t)-1 || iconv(converter, &from, &left, &to, &room))
        return 1;
    printf("%02x %s\n", (unsigned char)out[0], root ? root->pw_dir : "nobody");
    return 0;
}
"""
GCONV = "/usr/lib/x86_64-linux-gnu/gconv"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_what_a_static_glibc_opens_by_itself_with_the_real_libc_that_this_needs(tmp_path: Path) -> None:
    if not Path(f"{GCONV}/ISO8859-15.so").exists():
        pytest.skip(f"no {GCONV} here")
    program = tmp_path / "p"
    command = ["gcc", "-w", "-static", "-x", "c", "-", "-o", program]
    subprocess.run(command, input=CONVERTS.encode(), check=True, capture_output=True, timeout=60)
    data = [f"{GCONV}/gconv-modules*", f"{GCONV}/ISO8859-15.so", "/etc/passwd", "/etc/nsswitch.conf"]
    image = built(tmp_path, os.fspath(program), data=data, libraries=["libnss_files.so.2"])
    assert output_of(image) == "a4 /root\n"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_a_library_that_is_opened_while_the_program_runs(tmp_path: Path) -> None:
    program = tmp_path / "p"
    subprocess.run(["gcc", "-x", "c", "-", "-o", program], input=DLOPENS.encode(), check=True, timeout=60)
    host = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert output_of(built(tmp_path, os.fspath(program), libraries=["libz.so.1"])) == host


def test_a_recipe_runs_by_itself_with_modules_and_another_command() -> None:
    recipe = Recipe.from_program("/bin/cat", data=["/etc/hostname"])
    modules = {"modules": ["httpserver"], "ports": [8000]}
    with osvlab.run(recipe, "/usr/bin/cat /etc/hostname", timeout=120, **modules) as vm:  # type: ignore[arg-type]
        assert vm.wait() == osvlab.Exited(0), vm.console.text
        # One short line: the network and the module tell of themselves on the same console.
        assert Path("/etc/hostname").read_text().strip() in vm.console.text
    with pytest.raises(
        osvlab.OsvlabError, match=r"the image that is made of a recipe goes away with the VM"
    ):
        osvlab.run(recipe, persist=True)


def test_messages_in_the_language_that_was_asked_for(tmp_path: Path) -> None:
    if not Path("/usr/share/locale/de/LC_MESSAGES/coreutils.mo").exists():
        pytest.skip("this host has no messages in German")
    recipe = Recipe.from_program("/bin/ls", ["/absent"], locale="de_DE.UTF-8")
    with osvlab.run(recipe, timeout=120, env={"LANG": "de_DE.UTF-8"}) as vm:
        vm.wait()
        assert "Zugriff auf '/absent' nicht möglich" in vm.console.text
