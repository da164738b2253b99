"""cloud-init configurations: made, read, checked, on an ISO, over HTTP."""

from __future__ import annotations

import contextlib
import io
import urllib.error
import urllib.request
from pathlib import Path

import pycdlib
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import osvlab
from osvlab.guest.cloud_config import LARGEST, CloudConfig, CloudConfigError, config_of

GOOD = """\
hostname: web.example
files:
  /tmp/a: |
    two
    lines
run:
  - PUT: /app/
    command: "/prog args"
  - POST: /env/A
    val: 1
  - GET: /open-rest-api
include:
  - load-from-cloud
  - file: /etc/more.yaml
  - remote: {server: example.org, path: /x, port: 80}
  - load-from-cloud: {ignore-missing-source: true}
mounts:
  - ["server:/dir", /mnt, nfs, "ro", 0, 0]
httpserver:
  port: 8001
"""

BAD = [
    ("- a\n- b\n", 1, "a configuration must be a mapping (key: value), and is a list"),
    ("just text", 1, "a configuration must be a mapping"),
    ("hostname: web\nfile:\n  /a: b\n", 2, "unknown key: file"),
    ("hostname: web\nhostname: two\n", 2, "hostname is there twice"),
    ("hostname: [a]\n", 1, "a host name must be a text, and is a list"),
    ("hostname: 'no blanks'\n", 1, "not a host name: 'no blanks'"),
    ("files:\n  relative: x\n", 2, "not an absolute path of a file: relative"),
    ("files:\n  /a/../b: x\n", 2, "not an absolute path"),
    ("files:\n  /a: [x]\n", 2, "the contents of /a must be a text"),
    ("run:\n  PUT: /app/\n", 2, "run must be a list (- item), and is a mapping"),
    ("run:\n  - command: /x\n", 2, "exactly one of GET, PUT, POST, DELETE, and this one has none"),
    ("run:\n  - GET: /a\n    PUT: /b\n", 3, "exactly one of GET, PUT, POST, DELETE, and this one has 2"),
    ("run:\n  - GET: a\n", 2, "not a path of the REST API: a"),
    ("run:\n  - GET: /a\n    x: [1]\n", 3, "the parameter x must be a text"),
    ("include:\n  - nonsense\n", 2, "an entry of include"),
    ("include:\n  - remote: {server: x}\n", 2, "remote needs a server and a path"),
    ("mounts:\n  - [a, b, ext4]\n", 2, "a mount is"),
    ("run:\n  - GET: '/a\n", 2, "no YAML"),
    ("a: b\n\t- c\n", 2, "no YAML"),
    ("x: *nobody\n", 1, "no YAML"),
]


def test_a_good_one_is_taken_in_its_order() -> None:
    config = CloudConfig(GOOD)
    assert list(config.document) == ["hostname", "files", "run", "include", "mounts", "httpserver"]
    assert config.document["files"] == {"/tmp/a": "two\nlines\n"}


@pytest.mark.parametrize(("text", "line", "what"), BAD)
def test_a_bad_one_is_refused_with_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(CloudConfigError) as caught:
        CloudConfig(text, "my.yaml")
    assert f"my.yaml, line {line}: " in caught.value.message
    assert what in caught.value.message
    assert f"\n  {line} | {text.splitlines()[line - 1]}\n" in caught.value.message


def test_a_near_miss_is_told() -> None:
    with pytest.raises(CloudConfigError) as caught:
        CloudConfig("hostnme: a")
    assert caught.value.hint == "Did you mean hostname?"


def test_depth_and_size_are_bounded() -> None:
    with pytest.raises(CloudConfigError, match="nested too deeply"):
        CloudConfig("[" * 20_000)
    with pytest.raises(CloudConfigError, match=f"a guest takes {LARGEST} at most"):
        CloudConfig("hostname: " + "x" * LARGEST)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_any_text_is_taken_or_refused(text: str) -> None:
    with contextlib.suppress(CloudConfigError):
        assert isinstance(CloudConfig(text).document, dict)


def test_made_ones_are_good_ones() -> None:
    config = osvlab.CloudConfig.make(
        hostname="h", files={"/a": "ü: [", "/b": "- x\n"}, env={"A": "y: z"}, commands=["/p 'q'"]
    )
    again = yaml.safe_load(config.text)
    assert again["files"] == {"/a": "ü: [", "/b": "- x\n"}
    assert again["run"] == [{"POST": "/env/A", "val": "y: z"}, {"PUT": "/app/", "command": "/p 'q'"}]
    assert CloudConfig.make().document == {}


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CloudConfigError, match=r"cannot read .*/nothing: No such file"):
        CloudConfig.read(tmp_path / "nothing")
    (tmp_path / "latin").write_bytes(b"hostname: \xff")
    with pytest.raises(CloudConfigError, match=r"latin is no UTF-8"):
        CloudConfig.read(tmp_path / "latin")


def test_callers_may_mean_several_things(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("hostname: a\n")
    config = CloudConfig.read(path)
    assert config_of(config) is config
    for source in (path, str(path), "hostname: a\n", "hostname: a", {"hostname": "a"}):
        assert config_of(source).document == {"hostname": "a"}


def test_what_is_none_is_refused() -> None:
    with pytest.raises(CloudConfigError, match="not a cloud-init configuration: 5"):
        config_of(5)  # type: ignore[arg-type]


def test_the_iso_has_what_clouds_put_on_it(tmp_path: Path) -> None:
    CloudConfig(GOOD).write_iso(tmp_path / "seed.iso")
    iso = pycdlib.PyCdlib()
    iso.open(str(tmp_path / "seed.iso"))
    for path in ({"rr_path": "/user-data"}, {"joliet_path": "/user-data"}, {"iso_path": "/USERDATA.;1"}):
        data = io.BytesIO()
        iso.get_file_from_iso_fp(data, **path)
        assert data.getvalue() == GOOD.encode()
    assert iso.pvd.volume_identifier.strip() == b"cidata"
    iso.close()


def test_it_is_served_and_nothing_else_is() -> None:
    with CloudConfig(GOOD).serve() as address:
        with urllib.request.urlopen(address.url("/user-data")) as answer:
            assert answer.read() == GOOD.encode()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(address.url("/other"))
        refused.value.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address.url("/user-data"))


def test_a_key_that_a_kernel_lacks_is_named() -> None:
    with pytest.raises(CloudConfigError, match="the lab kernel does not support mounts"):
        CloudConfig(GOOD).require(["run", "files", "hostname", "include", "httpserver"], "the lab kernel")
