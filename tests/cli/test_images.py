"""`osvlab ls, tree, cat, du, cp, check, explain, unpack`: images from a shell."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from osvlab.cli import main
from osvlab.cli.cp import _meant
from osvlab.cli.place import Place
from osvlab.errors import OsvlabError
from osvlab.filesystems import disk
from osvlab.filesystems.bootfs import write_bootfs
from osvlab.filesystems.disk import Partition
from osvlab.filesystems.rofs import write_rofs
from osvlab.filesystems.tree import Content, Directory, Symlink
from osvlab.filesystems.zfs.writer import labels
from osvlab.vm.machine import Disk, DiskAccess, Machine
from osvlab.vm.vm import VM
from tests.cli.conftest import Lab
from tests.filesystems.packing import elf, loader
from tests.filesystems.test_cpio_reader import END, record
from tests.filesystems.zfs.writer.pools import write_pool
from tests.vm.guests import Guest

Said = Callable[..., str]


def tree() -> Directory:
    tree = Directory()
    tree.add(b"/etc/hosts", Content(b"127.0.0.1\n"))
    tree.add(b"/etc/deep/er/f", Content(b"x" * 3000))
    tree.add(b"/bad\x1b[31m\xff", Content(b""))
    tree.add(b"/link", Symlink(b"etc/hosts"))
    return tree


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with open("x.img", "wb") as file:
        file.seek(1 << 20)
        size = write_rofs(tree(), file)
        file.seek(0)
        file.write(
            disk.make_boot_sector(None, 0, [Partition(2, 0x83, 1 << 20, size)]) + b"--rootfs=rofs /x\0"
        )
    same = {"ino": 3, "nlink": 2}
    Path("y.cpio").write_bytes(
        record(b"d", mode=0o41777, mtime=0)
        + record(b"d/f", b"12345", 0o104755, uid=7, gid=8, mtime=1_000_000_000)
        + record(b"d/one", b"", **same)
        + record(b"d/two", b"22", **same)
        + record(b"null", mode=0o20666, rdevmajor=1, rdevminor=3)
        + record(b"l", b"d/f", 0o120777)
        + END
    )
    return tmp_path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    def run(*words: str | Path, status: int = 0) -> str:
        assert main([*map(str, words)]) == status
        ended = capsys.readouterr()
        assert "Traceback" not in ended.err
        return ended.out if status == 0 or ended.out else ended.err

    return run


def test_ls(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said("ls", "x.img").splitlines() == [r"bad\x1b[31m\xff", "etc", "link"]
    assert said("ls", "x.img:/etc").split() == ["deep", "hosts"]
    assert said("ls", "x.img:/link") == "/etc/hosts\n"
    monkeypatch.setenv("TZ", "UTC")
    assert said("ls", "-l", "y.cpio:/d").splitlines() == [
        "-rwsr-xr-x 1 7 8 5 2001-09-09 01:46 f",
        "-rw-r--r-- 2 0 0 2 1970-01-01 00:00 one",
        "-rw-r--r-- 2 0 0 2 1970-01-01 00:00 two",
    ]
    long = said("ls", "-l", "y.cpio")
    assert "drwxrwxrwt" in long
    assert "crw-rw-rw- 1 0 0 1, 3 1970-01-01 00:00 null" in long
    assert "l -> d/f" in long
    assert "-r-xr-xr-x 1 0 0 10 - hosts" in said("ls", "-l", "x.img:/etc/hosts").replace("/etc/", "")


def test_ls_recursive_and_as_json(said: Said) -> None:
    assert said("ls", "-R", "x.img:/etc").split("\n\n") == [
        "/etc:\ndeep\nhosts",
        "/etc/deep:\ner",
        "/etc/deep/er:\nf\n",
    ]
    told = [json.loads(line) for line in said("ls", "-R", "--json", "y.cpio").splitlines()]
    assert {entry["path"] for entry in told} == {"/d", "/null", "/l", "/d/f", "/d/one", "/d/two"}
    null = next(entry for entry in told if entry["path"] == "/null")
    assert (null["kind"], null["device"], null["permissions"]) == ("character device", [1, 3], "0666")
    assert next(entry for entry in told if entry["path"] == "/l")["target"] == "d/f"


def test_tree(said: Said) -> None:
    assert said("tree", "x.img").splitlines() == [
        "/",
        r"  bad\x1b[31m\xff  0 B",
        "  etc/",
        "    deep/",
        "      er/",
        "        f  2.9 KiB",
        "    hosts  10 B",
        "  link -> etc/hosts",
    ]
    assert said("tree", "--depth", "1", "x.img:/etc").splitlines() == ["/etc/", "  deep/", "  hosts  10 B"]


def test_files_that_begin_with_a_dash(said: Said, here: Path) -> None:
    os.rename("x.img", "-x.img")
    assert said("ls", "--", "-x.img:/etc").split() == ["deep", "hosts"]
    assert said("ls", "--json", "./-x.img:/etc", "--").count("path") == 2
    said("cp", "--", "-x.img:/etc/hosts", "-hosts")
    assert Path("-hosts").read_text() == "127.0.0.1\n"
    assert said("ls", "--", "-x.img", "more", status=1) == "osvlab: ls takes no command after --\n"


def test_cat_writes_bytes(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["cat", "x.img:/etc/hosts", "y.cpio:/d/two", "x.img:/link"]) == 0
    assert capfdbinary.readouterr().out == b"127.0.0.1\n22127.0.0.1\n"
    assert main(["cat", "x.img:/etc"]) == 1
    assert b"/etc is a directory, not a file" in capfdbinary.readouterr().err
    assert main(["cat", "y.cpio:/null"]) == 1
    assert b"is a character device" in capfdbinary.readouterr().err


@pytest.mark.parametrize("command", ["ls", "tree", "cat", "du", "explain", "cp"])
def test_only_directories_end_with_a_slash(said: Said, command: str) -> None:
    more = ["out"] if command == "cp" else []
    for file in ("/etc/hosts/", "/etc/hosts/.", "/link/"):
        message = "not a directory: /etc/hosts (in " + file
        assert message in said(command, f"x.img:{file}", *more, status=1)
    if command != "cat":
        said(command, "x.img:/etc/", *more)


def test_du_counts_what_is_stored(said: Said) -> None:
    assert said("du", "-b", "x.img").splitlines() == [
        "3000\t/etc/deep/er",
        "3000\t/etc/deep",
        "3010\t/etc",
        "3010\t/",
    ]
    assert said("du", "-s", "x.img") == "2.9 KiB\t/\n"
    assert said("du", "-s", "-b", "y.cpio") == "7\t/\n"  # two names, one file
    (line,) = said("du", "--json", "-s", "x.img:/etc/hosts").splitlines()
    assert json.loads(line) == {"path": "/etc/hosts", "stored": 10, "size": 10}
    assert "10 B\t/etc/hosts" in said("du", "-a", "x.img")


def test_check_says_what_is_wrong_and_so_does_its_status(said: Said) -> None:
    assert said("check", "x.img").splitlines() == [
        "disk: 1 partitions: no problem",
        "ROFS: 8 inodes, 7 entries, 3,584 bytes: no problem",
    ]
    with open("x.img", "r+b") as file:
        file.seek((1 << 20) + 24)  # where the structure area begins
        file.write(b"\xff" * 4)
    reports = json.loads(said("check", "--json", "x.img", status=1))
    assert [report["ok"] for report in reports] == [True, False]
    (problem,) = reports[1]["problems"]
    assert (problem["structure"], problem["offset"]) == ("superblock", 1 << 20)
    assert "ROFS: 1 problem\n" in said("check", "x.img", status=1)
    assert "a whole image is checked" in said("check", "x.img:/etc", status=1)


def test_names_in_images_do_not_steer_the_terminal(said: Said) -> None:
    Path("evil.cpio").write_bytes(record(b"\x1b]0;x\x07", b"", 0o644))
    for words in (("ls", "evil.cpio"), ("check", "evil.cpio")):
        assert "\x1b" not in said(*words, status=1)
    assert "\x1b" not in said("cat", "x.img:/bad\x1b[31m", status=1)


def test_explain_leads_from_the_boot_sector_to_a_file(said: Said) -> None:
    top = said("explain", "x.img")
    assert "boot sector at byte 0x0, 512 bytes" in top
    assert "leads to: command line, partition 2" in top
    steps = "partition 2/filesystem/root directory/etc/inode/hosts/inode/contents"
    assert "127.0.0.1." in said("explain", "x.img", "--follow", steps, "--hex")
    assert "--rootfs=rofs /x" in said("explain", "x.img", "--depth", "1")
    assert said("explain", "x.img:/etc/hosts").startswith("inode 7 at byte")
    assert said("explain", "x.img:/").startswith("inode 1 at byte")
    assert said("explain", "x.img:/link").startswith("inode 8 at byte")
    told = json.loads(said("explain", "x.img", "--depth", "2", "--json"))
    fields = told["leads_to"]["partition 2"]["leads_to"]["filesystem"]["fields"]
    assert fields[0] | {"meaning": ""} == {
        "name": "magic",
        "offset": 0,
        "length": 8,
        "value": 0xDEADBEAD,
        "meaning": "",
    }
    error = said("explain", "x.img", "--follow", "nowhere", status=1)
    assert "does not point to 'nowhere'" in error
    assert "hint: It points to: command line, partition 2." in error


def test_explain_goes_on_where_something_is_damaged(said: Said) -> None:
    with open("x.img", "r+b") as file:
        file.seek(1 << 20)
        file.write(b"\0")
    shown = said("explain", "x.img", "--depth", "3")
    assert "command line at byte" in shown
    assert "filesystem: damaged ROFS: superblock at byte 0x100000" in shown
    assert json.loads(said("explain", "--json", "x.img", "--depth", "3"))


def test_explain_cuts_long_lists(said: Said) -> None:
    with open("many.rofs", "wb") as file:
        write_rofs(Directory({b"f%03d" % n: Content(b"") for n in range(50)}), file)
    words = ["explain", "many.rofs", "--follow", "root directory"]
    assert "and 38 more" in said(*words)
    assert "and 38 more" in said(*words, "--depth", "1")
    assert "f049" in said(*words, "--all")


def test_unpack_gets_a_kernel_out(said: Said) -> None:
    kernel = elf(b"code" * 50_000)
    Path("loader.img").write_bytes(loader(kernel, "/x"))
    assert "loader.img, compressed" in said("unpack", "loader.img", "-o", "kernel.elf")
    assert Path("kernel.elf").read_bytes() == kernel
    assert "is no ELF file" in said("unpack", "x.img", "-o", "none.elf", status=1)
    assert not Path("none.elf").exists()


# --- cp ----------------------------------------------------------------------------------------------------


def test_cp_out_and_in(said: Said, here: Path) -> None:
    said("cp", "x.img:/etc", "out")
    assert Path("out/deep/er/f").read_bytes() == b"x" * 3000
    said("cp", "x.img:/etc", "out")  # into what is there
    assert Path("out/etc/hosts").read_text() == "127.0.0.1\n"
    said("cp", "x.img:/etc/hosts", ".")
    assert Path("hosts").read_text() == "127.0.0.1\n"
    said("cp", f"{here}/x.img:/", "whole")
    assert os.readlink("whole/link") == "etc/hosts"
    Path("hosts").write_text("changed")
    said("cp", "hosts", "x.img:/etc")
    said("cp", "out/deep", "./x.img:/etc/copy")
    said("cp", "x.img:/etc/hosts", "again")
    assert Path("again").read_text() == "changed"
    assert "f" in said("ls", "x.img:/etc/copy/er")
    assert said("check", "x.img")


def test_cp_into_an_image_says_what_it_does(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in ((), ("--quiet",)):
        assert main(["cp", "y.cpio", "x.img:/etc", *quiet]) == 0
        told = capsys.readouterr().err
        if quiet:
            assert told == ""
        else:
            assert re.search(r"read the files in x.img: .*\n.*write x.img again: .*\n.*verify: ", told)


def test_a_pool_that_was_not_exported_is_read_and_that_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pool(tree(), Path("exported.img"))
    monkeypatch.setattr(labels, "_EXPORTED", 0)
    write_pool(tree(), Path("active.img"))
    for name, said in (
        ("exported.img", ""),
        ("active.img", "osvlab: active.img: pool osv was not exported: its machine runs"),
    ):
        assert main(["cat", f"{name}:/etc/hosts"]) == 0
        ended = capsys.readouterr()
        assert ended.out == "127.0.0.1\n"
        assert (said in ended.err) if said else not ended.err


def test_cp_and_unpack_leave_the_image_itself(said: Said, here: Path) -> None:
    Path("file").write_text("not an image")
    said("cp", "file", "x.img:/x.img")
    before = Path("x.img").read_bytes()
    for target in ("x.img", "."):
        message = f"{here}/x.img is in the way of /x.img: it is what is copied from"
        assert message in said("cp", "x.img:/x.img", target, status=1)
    assert "it is what is copied from" in said("cp", "x.img:/", ".", status=1)
    Path("loader.img").write_bytes(loader(elf(b"code"), "/x"))
    packed = Path("loader.img").read_bytes()
    assert "./loader.img is the image itself" in said("unpack", "loader.img", "-o", "./loader.img", status=1)
    assert (Path("x.img").read_bytes(), Path("loader.img").read_bytes()) == (before, packed)


def test_cp_makes_no_file_of_what_should_be_a_directory(said: Said, here: Path) -> None:
    Path("mine").write_text("mine")
    assert "no such directory: mine/" in said("cp", "x.img:/etc/hosts", "mine/", status=1)
    assert "no such directory: new/" in said("cp", "x.img:/etc/hosts", "new/", status=1)
    assert Path("mine").read_text() == "mine"
    assert not Path("new").exists()
    said("cp", "x.img:/etc", "new/")
    assert Path("new/hosts").read_text() == "127.0.0.1\n"


def test_what_is_no_file_is_no_image(said: Said) -> None:
    os.mkfifo("pipe")
    for word, kind in (("pipe", "a pipe"), ("/dev/null:/etc", "a character device"), ("/", "a folder")):
        name = word.partition(":")[0]
        assert f"{name} is {kind}, not an image\n" in said("ls", word, status=1)
    assert "cannot open " in said("run", "pipe", status=125)


def test_cp_tells_what_it_leaves_out(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cp", "y.cpio:/", "out"]) == 0
    assert capsys.readouterr().err == "osvlab: left out /null: a character device\n"
    assert sorted(os.listdir("out")) == ["d", "l"]


def test_cp_refuses_with_a_reason(said: Said) -> None:
    assert "holds a cpio that the lab only reads" in said("cp", "x.img", "y.cpio:/d", status=1)
    assert "no such file in the image: /none" in said("cp", "x.img:/none", "out", status=1)
    assert "no such file: none" in said("cp", "none", "x.img:/etc", status=1)
    assert "one of the two" in said("cp", "x.img:/etc", "y.cpio:/d", status=1)
    assert "one of the two" in said("cp", "x.img", "y", status=1)
    assert "no such image: ./none.img" in said("cp", "./none.img:/x", ".", status=1)
    assert "no such image, and no running guest: none.img" in said("cp", "none.img:/x", ".", status=1)
    assert not Path("out").exists()


def test_what_is_an_image_a_guest_and_a_file_here(
    here: Path, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    assert _meant("x.img:/etc") == Place("x.img", "/etc")
    assert _meant("./x.img:/etc:/x") == Place("./x.img", "/etc:/x")
    assert _meant("plain") == "plain"
    assert _meant("x.img") == "x.img"
    Path("abc123").write_bytes(Path("x.img").read_bytes())
    assert _meant("abc123:/etc") == Place("abc123", "/etc")
    monkeypatch.setattr("osvlab.cli.cp._is_guest", lambda word: word == "abc123")
    with pytest.raises(OsvlabError, match=r"abc123 is a file here, and a running guest") as caught:
        _meant("abc123:/etc")
    assert "./abc123:/etc" in str(caught.value.hint)
    assert _meant("./abc123:/etc") == Place("./abc123", "/etc")
    Path("x.img:").mkdir()
    Path("x.img:/etc").write_text("a file of the host")
    with pytest.raises(OsvlabError, match=r"can mean a path in x.img, and other files"):
        _meant("x.img:/etc")
    assert "can mean /etc in x.img or / in x.img:/etc" in said("ls", "x.img:/etc", status=1)


@pytest.mark.qemu
def test_cp_into_an_image_that_runs_names_the_guest(lab: Lab) -> None:
    path, *kernel = lab.image(Guest().say("ready\n").hang())
    process = lab.start("run", "--quiet", path, *kernel)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    before = path.read_bytes()
    ended = lab("cp", Path(__file__), f"{path}:/etc")
    assert ended.returncode == 1
    assert re.search(r"is a disk of the running guest [0-9a-f]{8} ", ended.stderr), ended.stderr
    assert path.read_bytes() == before


@pytest.mark.qemu
def test_nothing_takes_the_place_of_a_disk_that_a_guest_writes_to(said: Said, guest_folder: Path) -> None:
    Path("loader.img").write_bytes(loader(elf(b"code"), "/x"))
    Path("file").write_text("to be copied out again")
    said("cp", "file", "x.img:/etc/disk")
    Path("etc").mkdir()
    disk = Path("etc/disk")
    disk.write_bytes(b"precious".ljust(512))
    machine = Machine(
        kernel=Guest().hang().assemble(guest_folder),
        memory=16 << 20,
        disks=(Disk(disk, DiskAccess.WRITE),),
    )
    ways = [("cp", "x.img:/etc/disk", disk), ("cp", "x.img:/etc", "."), ("unpack", "loader.img", "-o", disk)]
    with VM(machine) as vm:
        for words in ways:
            refusal = said(*words, status=1)
            assert "etc/disk is a disk of the running guest " in refusal
            assert f"or kill {vm.pid}." in refusal
            assert disk.read_bytes().startswith(b"precious")
    for words in ways:
        said(*words)


# --- whatever it is kept in --------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["qcow2", "vmdk", "vdi"])
def test_the_same_out_of_a_container(said: Said, format: str) -> None:
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", format, "x.img", f"x.{format}"], check=True)
    name = f"x.{format}"
    assert said("ls", f"{name}:/etc") == said("ls", "x.img:/etc")
    assert said("tree", name) == said("tree", "x.img")
    assert said("check", name) == said("check", "x.img")
    said("cp", f"{name}:/etc", "out")
    assert Path("out/hosts").read_text() == "127.0.0.1\n"
    assert "which is only read" in said("cp", "out/hosts", f"{name}:/etc", status=1)


def test_a_partition_can_be_chosen(said: Said) -> None:
    with open("two.img", "wb") as file:
        file.seek(1 << 20)
        size = write_bootfs(Directory({b"early": Content(b"1")}), file)
        file.seek(2 << 20)
        file.truncate((2 << 20) + 4096)
        table = [Partition(1, 0x83, 1 << 20, -(-size // 512) * 512), Partition(3, 0x83, 2 << 20, 4096)]
        file.seek(0)
        file.write(disk.make_boot_sector(None, 0, table))
    assert said("ls", "--partition", "1", "two.img") == "early\n"
    assert "hint: Say which: partition=1, or --partition 1." in said("ls", "two.img", status=1)


@pytest.mark.parametrize("command", ["ls", "tree", "du", "cat", "check", "explain", "cp"])
def test_a_pool_is_opened_as_of_a_transaction_group(said: Said, command: str) -> None:
    write_pool(tree(), Path("pool.img"))
    place = "pool.img" if command in ("check", "explain") else "pool.img:/etc/hosts"
    words = [command, place, *(["out"] if command == "cp" else []), "--txg"]
    assert "has no uberblock of transaction group 7\n" in said(*words, "7", status=1)
    assert bool(said(*words, "8")) == (command != "cp")
    if command == "cp":
        assert Path("out").read_text() == "127.0.0.1\n"
        assert "what a pool was is only read" in said("cp", "out", "pool.img:/", "--txg", "8", status=1)


def test_a_check_asked_for_what_is_not_there_finds_nothing_wrong(said: Said) -> None:
    write_pool(tree(), Path("pool.img"))
    assert said("check", "--dataset", "none", "pool.img", status=1).splitlines() == [
        "osvlab: pool osv has no dataset none",
        "hint: It has: osv.",
    ]
    assert "is no ZFS pool but ROFS" in said("check", "--txg", "8", "x.img", status=1).partition("\n")[0]


@pytest.mark.parametrize(
    "words", [["tree", "--depth"], ["explain", "--depth"], ["ls", "--partition"], ["ls", "--txg"]]
)
def test_what_is_no_number(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for number in ("-1", "x", ""):
        with pytest.raises(SystemExit):
            main([*words, number, "x.img"])
        assert f"argument {words[1]}: " in capsys.readouterr().err


def test_what_is_no_pool_has_no_transaction_groups(said: Said) -> None:
    assert "is no ZFS pool but ROFS, which has no transaction groups" in said(
        "ls", "--txg", "7", "x.img", status=1
    )


def test_what_is_listed_is_sorted_by_name(said: Said) -> None:
    names = [f"{number * 7919 % 300:03}" for number in range(300)]  # ZFS stores them by hash
    tree = {b"d": Directory({name.encode(): Content(b"") for name in names}), b"c": Content(b"")}
    write_pool(Directory(tree), Path("pool.img"))
    assert said("ls", "pool.img:/d").split() == sorted(names)
    told = [json.loads(line)["path"] for line in said("ls", "-R", "--json", "pool.img").splitlines()]
    assert told == ["/c", "/d", *(f"/d/{name}" for name in sorted(names))]
    assert [line.split()[0] for line in said("tree", "pool.img:/d").splitlines()[1:]] == sorted(names)
    counted = [line.split("\t/d/")[1] for line in said("du", "-a", "pool.img:/d").splitlines()[:-1]]
    assert counted == sorted(names)
