# %% [markdown]
# # Building inside an empty VM
#
# **Goal.** You make a disk image in the way that OSv itself does: an *empty* virtual machine formats
# its own disk with ZFS, waits for a stream of files, and goes. You do each step by hand and look at
# the disk after it. Then you let the host write the same pool without any VM, and compare both file
# by file.
#
# **Time** 25 minutes to read and try; all cells together run in about 15 seconds (a minute more the
# first time, when the kernel is compiled). **Memory** 128 MiB for a guest, about 400 MiB in all.
# **You need** the notebook *00_quickstart*. Nothing is fetched from the network.
#
# **Without KVM** everything works.

# %%
import io
import os
import random
import shutil
import socket
import tempfile
import time
from pathlib import Path

from IPython.display import display

import osvlab
from osvlab.demo import static_busybox
from osvlab.events import StepFinished, listening
from osvlab.filesystems import bootfs, cpio, disk
from osvlab.filesystems.disk import Partition
from osvlab.image.builders import lab_builder
from osvlab.widgets.disk_map import DiskMap
from osvlab.widgets.table import Table

work = Path(tempfile.mkdtemp(prefix="empty-vm-"))

# %% [markdown]
# ## 1. What an image is
#
# What shall be in the guest: `busybox`, and a thousand files beside it. A **recipe** is the list of
# all that goes in. It adds a few files that every guest needs.

# %%
app = work / "app"
(app / "bin").mkdir(parents=True)
(app / "etc").mkdir()
shutil.copy(static_busybox(), app / "bin" / "busybox")
(app / "etc" / "motd").write_text("Made on the host.\n")

chance = random.Random(3)
for number in range(1000):
    folder = app / "data" / f"{number // 100}"
    folder.mkdir(parents=True, exist_ok=True)
    words = chance.choices(["grey", "green", "blue"], k=chance.randrange(2000))
    (folder / f"{number:03}.txt").write_text(" ".join(words))
(app / "data" / "noise").write_bytes(chance.randbytes(8 << 20))

recipe = osvlab.Recipe.from_directory(app, "/bin/busybox sh", fs="zfs")
recipe

# %% [markdown]
# Usually one call makes the image. This is what we want to have in the end:

# %%
image = osvlab.build(recipe, output=work / "wanted.img")
image

# %% [markdown]
# *Partition 2* is the guest's root filesystem, a ZFS **pool**. Here it lies:

# %%
where = image.root_partition
print(f"{where.size >> 20} MiB from byte {where.offset:#x} on")
print(image.files.tree(limit=14))

# %% [markdown]
# Now from nothing. An image is a file, and a disk with nothing on it is a file of zeros. Three things
# we write ourselves:
#
# - the **partition table**, in the first 512 bytes: where two partitions are;
# - the **command line** behind it, for the day when the disk boots;
# - **partition 1**: a *bootfs*, an archive that the kernel unpacks into memory when it starts. It
#   solves a riddle: the driver of ZFS cannot lie on a disk that nobody can read without it. Two
#   programs lie beside it, `mkfs.so` and `cpiod.so`, and they are all that an empty VM needs.
#
# Partition 2 stays empty.

# %%
builder = lab_builder()
MIB = 1 << 20


def empty_disk(name):
    """Make a disk whose second partition is empty."""
    drivers = Partition(1, disk.TYPE_LINUX, 1 * MIB, 1 * MIB)
    root = Partition(2, disk.TYPE_LINUX, 4 * MIB, 96 * MIB)
    path = work / name
    with path.open("w+b", buffering=0) as file:
        file.write(disk.make_boot_sector(None, 0, [drivers, root]))
        file.write(disk.encode_command_line("--rootfs=zfs /bin/busybox sh"))
        file.seek(MIB)
        bootfs.write_bootfs(builder.programs, file)
        file.truncate(100 * MIB)
    return path


by_hand = empty_disk("by-hand.img")
osvlab.Image(by_hand)

# %%
with osvlab.filesystems.open(by_hand, partition=1) as files:
    print(files.format, (files / "/").tree(), sep="\n")

# %% [markdown]
# A mistake, on purpose: there is nothing in partition 2 to open.

# %%
try:
    osvlab.filesystems.open(by_hand)
except osvlab.OsvlabError as error:
    print(error)

# %% [markdown]
# **Try it.** The file seems to be 100 MiB long. How much room does it take on the host's disk
# (`osvlab.Image(by_hand).allocated`), and why?
#
# <details><summary>Answer</summary>
#
# About 250 KiB: what was never written takes no room. Such a file is called *sparse*; reading its
# holes gives zeros. Written were the first 32 KiB and the bootfs.
#
# </details>

# %% tags=["test"] jupyter={"source_hidden": true}
assert osvlab.Image(by_hand).size == 100 * MIB
assert 200_000 < osvlab.Image(by_hand).allocated < 400_000
assert osvlab.Image(by_hand).filesystem == "unknown"

# %% [markdown]
# ## 2. The empty VM formats its disk
#
# The kernel comes from the host, the disk is ours, and there is a network card with one port that the
# host can reach. `persist=True` says that what the guest writes shall stay in the file: usually it
# goes away with the VM.
#
# The command line has options for the kernel first. `--nomount` says that there is nothing to mount.
# Then the two programs follow, one after the other:

# %%
print(builder.command_line.replace("; ", ";\n"))

# %%
vm = osvlab.run(
    osvlab.Image(by_hand, builder.kernel),
    builder.command_line,
    ports={10000: None},
    memory=builder.memory,
    persist=True,
    timeout=300,
)
vm

# %%
print(vm.wait_for("Waiting for connection from host...")[0])

# %% [markdown]
# The VM runs and waits. Meanwhile we look at its disk from outside:

# %%
with osvlab.filesystems.open(by_hand) as files:
    print(f"pool {files.pool.name}: {files.pool.state};", *files.pool.datasets)
    print("files:", *files.list(files.root))

label = osvlab.filesystems.explain(by_hand) / "partition 2" / "filesystem"
label

# %% [markdown]
# A pool without files. `osv` is the filesystem that will take them; `$ORIGIN` and its snapshot are ZFS's
# own: the empty state from which every filesystem begins. *Exported* is how `mkfs` leaves a pool, in use
# by nobody. The guest has mounted it, at `/zfs`, but changed nothing yet; its first change will say so.
#
# It begins with a **label**: who the pool is, and a *ring* of **uberblocks**. An uberblock is the root of
# all that the pool holds. Each time that the pool changed, the next one is written; *transaction groups*
# (txg) are what ZFS calls these changes, and counts. The notebook *04_filesystems_on_disk* goes down from
# there to the bytes of a file. Here we only count:


# %%
def facts(what, path):
    """Return what a check of a whole pool counts."""
    with osvlab.filesystems.open(path) as files:
        report = files.check()
        kinds = ("files", "directories", "objects", "blocks")
        counts = {kind: report.counts.get(kind, 0) for kind in kinds}
        kib = report.counts["bytes in use"] / 1024
        txg = files.pool.uberblock.txg
        return {"pool": what, "txg": txg, **counts, "KiB": kib, "right": report.ok}


def in_use(path):
    """Return the pieces of partition 2 that are taken, as the pool has it."""
    with osvlab.filesystems.open(path) as files:
        return [(at - 4 * MIB, length) for at, length in files.pool.taken()]


empty, bare = facts("empty", by_hand), in_use(by_hand)
Table([empty])

# %% [markdown]
# **Try it.** There are no files, but objects and blocks. What are they? Look at
# `label / "uberblock" / "MOS" / "object directory"`, and at what it points to.
#
# <details><summary>Answer</summary>
#
# The pool's own books: a table of contents, the pool's configuration, a directory of datasets, maps of
# what space is taken, and the filesystem's root directory with what describes it. They are *objects*
# like files, stored in blocks like files, and most of them twice.
#
# </details>

# %% tags=["test"] jupyter={"source_hidden": true}
assert vm.running
books = label / "uberblock" / "MOS" / "object directory"
assert any(pointer.name == "entry root_dataset" for pointer in books.pointers)
assert (empty["txg"], empty["files"], empty["directories"], empty["right"]) == (4, 0, 1, True)

# %% [markdown]
# ## 3. What goes over the wire
#
# The guest waits for a **cpio archive**, a format of 1990 that is as simple as can be: for each file a
# header, its name, its bytes. We make one in memory.

# %%
stream = io.BytesIO()
size = cpio.write_cpio(recipe.tree, stream, root=True)
archive = stream.getvalue()
print(f"{size:,} bytes, which begin with:\n")
for start in range(0, 228, 57):
    print(archive[start : start + 57].decode().replace("\0", "·"))

# %% [markdown]
# These are letters, to be read by people, too (a `·` stands for a zero byte). A header has 110: a *magic
# number*, `070701`, and thirteen numbers of eight hexadecimal digits. Name and data follow, each filled up
# with zeros to a multiple of four bytes. Here is the header of the second record, taken apart:

# %%
FIELDS = """inode mode owner group links modified size
            major minor rmajor rminor namesize check"""

second = archive[112 : 112 + 110].decode()
eights = [second[at : at + 8] for at in range(6, 110, 8)]
Table(
    [
        {"field": field, "letters": letters, "is": int(letters, 16)}
        for field, letters in zip(FIELDS.split(), eights, strict=True)
    ],
    "The header of /bin",
)

# %% [markdown]
# `mode` in octal is 040755: a directory that everybody may read. With a few more lines of Python we read
# all records:


# %%
def records(data):
    """Yield name, numbers and bytes of each record of an archive."""
    at = 0
    while data[at : at + 6] == b"070701":
        digits = [data[start : start + 8] for start in range(at + 6, at + 110, 8)]
        values = [int(eight, 16) for eight in digits]
        numbers = dict(zip(FIELDS.split(), values, strict=True))
        name_end = at + 110 + numbers["namesize"]
        name = data[at + 110 : name_end - 1].decode()
        start = -(-name_end // 4) * 4
        yield name, numbers, data[start : start + numbers["size"]]
        at = -(-(start + numbers["size"]) // 4) * 4


found = list(records(archive))
rows = [
    {
        "name": name,
        "mode": oct(numbers["mode"]),
        "modified": time.strftime("%Y-%m-%d", time.gmtime(numbers["modified"])),
        "bytes": numbers["size"],
        "begin with": data[:4].hex(" "),
    }
    for name, numbers, data in found
]
Table([*rows[:4], *rows[-6:]], f"The first and the last of {len(rows)} records")

# %% [markdown]
# `mode` says what it is and who may do what with it: `0o10…` is a file, `0o4…` a directory, `0o12…` a
# link, whose bytes are the name that it leads to. `busybox` begins with `7f 45 4c 46`, as ELF programs
# do. The record `TRAILER!!!` is the end.
#
# Two things are *not* in it: a checksum of the whole, and times finer than a second.
#
# **Try it.** How many bytes does an empty file called `/x` cost on the wire?
#
# <details><summary>Answer</summary>
#
# 116. The header has 110, the name with its zero at the end 3, and 113 is filled up to 116.
#
# </details>

# %% tags=["test"] jupyter={"source_hidden": true}
from_recipe = [path.decode() for path, _ in recipe.tree.walk()]
assert [name for name, _, _ in found] == [*from_recipe, "TRAILER!!!"]
assert {name: data for name, _, data in found}["/etc/motd"] == b"Made on the host.\n"
one = next(records(b"070701" + b"%08X" * 13 % (*[0] * 11, 3, 0) + b"/x\0" + bytes(3)))
assert one[0] == "/x"

# %% [markdown]
# ## 4. Into the pool
#
# To send it takes a socket and four lines. Behind the last byte we close our half of the connection.
# The lab's daemon answers when all is in its place, which is more than OSv's does: that one hangs up,
# and whoever sent may guess.

# %%
with socket.create_connection(("127.0.0.1", vm.ports[10000])) as wire:
    wire.sendall(archive)
    wire.shutdown(socket.SHUT_WR)
    answer = wire.makefile().readline()
answer

# %% [markdown]
# The daemon ends, and with it the last command of the guest. Before it powers off, the kernel writes
# what is still in memory, and lets the pool go (*export*). The console above shows every file as it
# came.

# %%
vm.wait()

# %%
full = in_use(by_hand)
Table([empty, facts("filled by hand", by_hand)], "Before and after")

# %%
DiskMap("Partition 2", 96 * MIB, {"empty": bare, "filled": full})

# %% [markdown]
# The map is to scale, and shows what the pool's own *space maps* say is taken, before and after. The pool's
# books lie far apart, on purpose: most of them twice, so that no scratch hits both copies.

# %%
with osvlab.filesystems.open(by_hand) as files:
    print((files / "etc/motd").read_text())
    print(*(files / "data/0/007.txt").extents())

# %% [markdown]
# The last line says where the file's bytes are on the disk: packed with *lz4*, they take fewer there
# than in the file.
#
# **Try it.** How many transaction groups did the guest need for a thousand files? And how many
# uberblocks are in the ring now? (`label` is of before: explain the disk again.)
#
# <details><summary>Answer</summary>
#
# A handful, as the column `txg` says: hundreds of files go to the disk together. The guest collects
# what is written in memory, and closes a group when that gets too much, after five seconds, or at the
# end. There is one uberblock for each group, and one for the empty pool: the row `uberblocks` of the new
# label says "5 of 128 hold one" if there were four.
#
# </details>

# %% tags=["test"] jupyter={"source_hidden": true}
filled = facts("", by_hand)
assert answer == "ok\n"
assert vm.outcome == osvlab.Exited(0)
assert filled["files"] == len([1 for _, n, _ in found if n["mode"] >> 12 == 8])
assert filled["right"]
assert empty["txg"] < filled["txg"]
again = osvlab.filesystems.explain(by_hand) / "partition 2" / "filesystem"
assert again["uberblocks"] == f"{filled['txg'] - empty['txg'] + 1} of 128 hold one"

# %% [markdown]
# ## 5. In one call, and without a VM
#
# `osvlab.build` with `via="vm"` does all of this: an empty VM, a stream, and around it the rest of an
# image that boots by itself. Long work in the lab is done in **steps**, which are published while they
# happen. Whoever wants to know listens:


# %%
def timed(output, **options):
    """Build the recipe; return the image, and the milliseconds of each step."""
    steps = {}

    def keep(event):
        if isinstance(event, StepFinished):
            steps[event.step] = round(event.seconds * 1000)

    with listening(keep):
        return osvlab.build(recipe, output=work / output, **options), steps


by_vm, vm_steps = timed("by-vm.img", via="vm")
Table([{"step": step, "ms": took} for step, took in vm_steps.items()])

# %% [markdown]
# What a kernel can write, Python can write too: a pool is bytes. With `via="host"`, which is what you get
# unless you say otherwise, labels, tables, maps and files are put where a ZFS kernel would look for
# them, in one go and in order.

# %%
by_host, host_steps = timed("by-host.img", via="host")


def row(step):
    """Return what a step took in each of the two ways."""
    return {"step": step, "empty VM": vm_steps[step], "host": host_steps[step]}


ways = [row(step) for step in vm_steps]
slow, fast = sum(vm_steps.values()), sum(host_steps.values())
ways.append({"step": "all", "empty VM": slow, "host": fast})
Table(ways, f"Milliseconds: the host is {slow / fast:.1f} times as fast")

# %% [markdown]
# These are times of your machine, just now, with whatever else it does. The VM's way has to boot and to
# format, and each file and each byte goes through a socket, two network stacks, and a kernel whose
# instructions may have to be translated. The host has only to arrange and to write.
#
# Is it the same? We compare every file: what it is, its size, its permissions, its age, its bytes.


# %%
def tree_of(path):
    """Return all that is in a filesystem, by path."""
    with osvlab.filesystems.open(path) as files:
        return {entry.path.decode(): seen(files, entry) for entry in files.walk()}


def seen(files, entry):
    """Return what a program in the guest could see of a file."""
    data = files.read(entry) if entry.kind == "file" else None
    target = files.target(entry) if entry.kind == "symlink" else None
    seconds = entry.modified // 10**9  # which is all that cpio carries
    return entry.kind, entry.size, entry.permissions, seconds, data, target


from_vm, from_host = tree_of(by_vm.path), tree_of(by_host.path)
paths = {*from_vm, *from_host}
different = [path for path in paths if from_vm.get(path) != from_host.get(path)]
print(len(from_vm), "and", len(from_host), "entries, different:", different or 0)
pools = [facts("by hand", by_hand), facts("empty VM", by_vm.path)]
pools.append(facts("host", by_host.path))
Table(pools, "Three ways")

# %% [markdown]
# The same tree, though not the same bytes: the blocks lie in other places, and the guest's packer and
# the host's make other choices. The files cannot tell.
#
# **Try it.** Which step of the VM's way takes longest? What would be left of it if the tree were empty?
#
# <details><summary>Answer</summary>
#
# `fill`, which is the upload. To boot, to format and to let the pool go remain, a fraction of a second,
# and that is the least that this way can cost. OSv's kernel takes longer for it; see section 7.
#
# </details>

# %% tags=["test"] jupyter={"source_hidden": true}
assert different == []
assert len(from_vm) > 1000
assert from_vm == tree_of(by_hand)
assert all(pool["right"] for pool in pools)

# %% [markdown]
# ## 6. Boot it
#
# Does a guest boot from the disk that we filled by hand? Partition 1 has the driver, partition 2 the
# files. Under the console you could type; the next cell does it for you, and changes a file.

# %%
guest = osvlab.run(osvlab.Image(by_hand, builder.kernel), persist=True, timeout=300)
guest

# %%
guest.wait_for("/ #")
guest.write("echo Changed in the guest. > /etc/motd\n")
guest.write("exit\n")
guest.wait(timeout=60)

# %%
with osvlab.filesystems.open(by_hand) as files:
    print((files / "etc/motd").read_text())
Table([*pools[:1], facts("changed", by_hand)])

# %% [markdown]
# A mistake, on purpose, that everybody makes once: without `persist=True` the guest writes to a copy.

# %%
with osvlab.run(osvlab.Image(by_hand, builder.kernel), timeout=300) as forgetful:
    forgetful.wait_for("/ #")
    forgetful.write("echo In vain. > /etc/motd\n")
    forgetful.write("exit\n")
    print(forgetful.wait(timeout=60))
with osvlab.filesystems.open(by_hand) as files:
    print((files / "etc/motd").read_text())

# %% [markdown]
# **Try it.** The guest changed one short file, and the pool has as many blocks as before. All the same
# more than one of them is new. Which ones, besides the file's? (ZFS overwrites no block that is in use,
# and each block is found by a pointer in another one.)
#
# <details><summary>Answer</summary>
#
# All that lead to it: the file's dnode and the blocks of pointers above it, the object set of the
# dataset, the dataset itself, the pool's own object set, and the uberblock. Maps of space as well.
# *04_filesystems_on_disk* looks at them one by one.
#
# </details>

# %% tags=["test"] jupyter={"source_hidden": true}
changed = tree_of(by_hand)
assert guest.outcome == osvlab.Exited(0)
assert [path for path in changed if changed[path] != from_vm[path]] == ["/etc/motd"]
assert changed["/etc/motd"][4] == b"Changed in the guest.\n"
assert facts("", by_hand)["right"]

# %% [markdown]
# ## 7. With OSv's own builder
#
# A build of [OSv](https://github.com/cloudius-systems/osv) with `fs=zfs` makes a kernel for this very
# purpose, `zfs_builder-stripped.elf`, with OSv's own `mkfs.so` and `cpiod.so` in it. If you have one,
# start Jupyter with the environment variable `OSVLAB_OSV_ZFS_BUILDER` set to its path: the next cell
# lets it fill a disk, in just the same steps.

# %%
theirs = os.environ.get("OSVLAB_OSV_ZFS_BUILDER")
if theirs:
    by_osv, osv_steps = timed("by-osv.img", via="vm", builder=theirs)
    from_osv = tree_of(by_osv.path)
    # Contents and links: OSv's daemon does not look at ages.
    unlike = [path for path in from_vm if from_vm[path][4:] != from_osv[path][4:]]
    print(f"{sum(osv_steps.values())} ms; of other contents: {unlike or 'none'}")
    display(Table([*pools, facts("OSv", by_osv.path)]))
else:
    print("OSVLAB_OSV_ZFS_BUILDER is not set: skipped")

# %% tags=["test"] jupyter={"source_hidden": true}
assert not theirs or unlike == []

# %% [markdown]
# ## 8. Clean up

# %%
for machine in (vm, guest):
    machine.stop()
shutil.rmtree(work)

# %% tags=["test"] jupyter={"source_hidden": true}
assert not any(machine.running for machine in (vm, guest, forgetful))

# %% [markdown]
# ## What to try next
#
# The disks are gone now. Go to section 8 and choose *Run All Above Selected Cell*; then you have new ones.
#
# - Send half of the archive: `wire.sendall(archive[: size // 2])`. What does the daemon answer, and
#   which files are in the pool afterwards?
# - Give the noise 100 MiB (`100 << 20`), for which the 96 MiB of partition 2 are too few. Who says so, and
#   how?
# - `lab_builder(compression=None)`: how many KiB does the pool take now, and how long does it take to
#   fill?
# - Ten thousand files instead of one thousand: which of the two ways grows faster?
# - Look at the wire with `capture=work / "wire.pcap"`, as in *09_network_and_rest*. How much of it is
#   `cpio`, how much TCP?
# - The same from a shell: `osvlab build app --fs zfs --via vm -o app.img -- /bin/busybox sh`, then
#   `osvlab check app.img`, `osvlab tree app.img`.
