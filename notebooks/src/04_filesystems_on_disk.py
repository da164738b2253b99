# %% [markdown]
# # Filesystems on disk
#
# **Goal.** You walk through a ZFS pool by hand, from the first bytes of the disk to the bytes of one
# file, and verify a checksum on the way. You see how much simpler a filesystem can be that nobody
# writes to. A running guest changes the file, and you find both versions on the disk. At last you
# damage single bytes and see who notices.
#
# **Time** 45 minutes to read and try; all cells together run in about 15 seconds (a minute more the
# first time, when the kernel is compiled). **Memory** 64 MiB for the guest, about 300 MiB in all.
# **You need** the notebook *00_quickstart*, and hexadecimal numbers. Nothing is fetched from the
# network.
#
# **Without KVM** everything works.

# %%
import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import osvlab
from osvlab.widgets.disk_map import DiskMap
from osvlab.widgets.table import Table
from osvlab.widgets.versions import Versions

work = Path(tempfile.mkdtemp(prefix="on-disk-"))

# %% [markdown]
# ## 1. A disk to look at
#
# The guest has one program, which will change `letter.txt` later. It reads a line, writes it over the
# beginning of the file, and waits until it is on the disk (`fsync`).

# %%
(work / "edit.c").write_text("""\
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void) {
    char line[100];
    int file = open("/letter.txt", O_WRONLY);
    while (puts("ready"), fgets(line, sizeof line, stdin)) {
        if (pwrite(file, line, strlen(line) - 1, 0) < 0 || fsync(file) < 0)
            return 1;
    }
    return 0;
}
""")
app = work / "app"
app.mkdir()
subprocess.run(["gcc", "-O2", "-o", app / "edit", work / "edit.c"], check=True)
letter = "Dear reader, no block of this is ever overwritten.\n" * 20
novel = "".join(f"It was dark and stormy night {n}.\n" for n in range(150000))
(app / "letter.txt").write_text(letter)
(app / "novel.txt").write_text(novel)

plain = {"size": "64M", "compression": None}
image = osvlab.build(app, "/edit", fs="zfs", output=work / "zfs.img", **plain)
image

# %% [markdown]
# `compression=None`, so that bytes on the disk are the bytes of files, and we can recognise them.
#
# `explain` shows **structures**: named pieces of the disk, each at its place. It begins with the first
# one, and each leads to the next, with `/`. Nothing is read before you ask for it.

# %%
boot = osvlab.filesystems.explain(image.path)
boot

# %%
label = boot / "partition 2" / "filesystem"
label

# %% [markdown]
# ## 2. The label
#
# A ZFS **pool** may be spread over many disks. So each of them says four times what it is, twice at
# its beginning and twice at its end: this is the first *label*. Most of it is a list of names and
# values:

# %%
configuration = label / "configuration"
configuration

# %%
configuration / "vdev_tree"

# %% [markdown]
# A *vdev* is a virtual device; this pool has one, and it is a disk. `ashift` 9 says that the smallest
# block has 2⁹ = 512 bytes.
#
# The other thing in the label is the **ring** of uberblocks: 128 slots of 1 KiB here. An *uberblock* is the
# root of everything. Labels are the only structures of ZFS that are found at fixed places, so we can
# look at the bytes themselves, without any help. (The last 40 bytes of a slot are its own checksum.)

# %%
start = image.root_partition.offset


def at(offset, length):
    """Return bytes of the disk."""
    with image.path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


ring = [at(start + 128 * 1024 + slot * 1024, 1024) for slot in range(128)]
used = [slot for slot in range(128) if any(ring[slot][:-40])]
print("slots in use:", used)
magic, version, txg, guid_sum, seconds = struct.unpack_from("<5Q", ring[used[0]])
print(f"magic {magic:#x}, version {version}, transaction group {txg}")

# %%
uberblock = label / "uberblock"
uberblock

# %% [markdown]
# A **transaction group** (txg) is a set of changes that come to the disk together. Each group writes
# one uberblock, into slot `txg % 128`. Which one counts? The one with the highest txg whose checksum is
# right.
#
# **Try it.** Two of the values in the lists give `guid_sum`. Which?
#
# <details><summary>Answer</summary>
#
# `pool_guid` and the vdev's `guid`, modulo 2⁶⁴. So an uberblock that was left by another pool, or a pool
# with a disk missing, is noticed.
#
# </details>

# %% tags=["test"] jupyter={"source_hidden": true}
assert magic == 0x00BAB10C
assert used == [txg % 128]
assert uberblock["txg"] == txg
assert uberblock.raw == ring[used[0]][: len(uberblock.raw)]
assert guid_sum == (configuration["pool_guid"] + configuration["guid"]) % 2**64

# %% [markdown]
# ## 3. A pointer, and a checksum by hand
#
# `rootbp` in the uberblock is a **block pointer**, 128 bytes, the one thing that ZFS is made of:

# %%
pointer = uberblock / "rootbp"
pointer

# %% [markdown]
# It says where a block lies, how long it is there (`psize`) and as it is read (`lsize`), who wrote it
# when (`birth`), and its *checksum*. Important blocks lie in more than one place; `dva[0]`, `dva[1]` are
# addresses (*data virtual addresses*). An address counts from 4 MiB behind the beginning of the vdev.
#
# On the disk that is 16 numbers of 8 bytes, the lowest byte first, and all of it can be read by hand. The
# second number, at byte 8, is the address in sectors of 512 bytes. The seventh has many small fields side by
# side: its lowest 16 bits are the length as it is read, less one sector.

# %%
print(pointer.hex(128))
words = struct.unpack("<16Q", pointer.raw)
print(f"address {words[1]:#x}, times 512: {words[1] * 512:#x}")
print(f"lengths {words[6]:#x}: {(words[6] & 0xFFFF) + 1} sectors of 512 bytes")
print(f"written in transaction group {words[10]}")

# %% [markdown]
# Let us check the block that it leads to. SHA-256 gives 32 bytes; ZFS keeps them as four numbers.

# %%
for copy in (0, 1):
    place = start + (4 << 20) + pointer[f"dva[{copy}].offset"]
    block = at(place, pointer["psize"])
    digest = struct.unpack(">4Q", hashlib.sha256(block).digest())
    print(f"copy {copy}, at byte {place:#x}:")
    print(*(f"{word:016x}" for word in digest))
print("The pointer says:", pointer["checksum"], sep="\n")

# %% [markdown]
# The checksum does not lie beside the block, but with *whoever points to it*. If a disk wrote a block to
# a wrong place, or not at all, a checksum beside the data would be right, and this one is wrong. And
# since that pointer lies in a block which is checked as well, the uberblock vouches for everything.
#
# **Try it.** What is the first byte of `block`, and what does that mean? (`pointer / "block"` tells.)
#
# <details><summary>Answer</summary>
#
# 10: the block begins with a *dnode*, whose first byte is its type, and type 10 is `DNODE`: an object
# that holds other dnodes. The next section explains it.
#
# </details>

# %% tags=["test"] jupyter={"source_hidden": true}
assert " ".join(f"{word:016x}" for word in digest) == pointer["checksum"]
assert block[0] == 10
assert words[1] * 512 == pointer["dva[0].offset"]
assert ((words[6] & 0xFFFF) + 1) * 512 == pointer["lsize"]
assert words[10] == pointer["birth"]

# %% [markdown]
# ## 4. From the root to a file
#
# In ZFS everything is an **object**: files, directories, tables, lists. An object is described by a
# *dnode* of 512 bytes, and a set of objects has all its dnodes in one more object. The way has two halves,
# which look alike: a set of objects, in it a table, in the table the number of another object.
#
# ```text
# uberblock
#   └─ rootbp ──► meta object set: what the pool knows of itself
#        object 1   table   root_dataset → 2
#        object 2   directory of datasets → 3
#        object 3   dataset
#          └─ block pointer ──► object set of the dataset: its files
#               object 1    table   ROOT → 6
#               object 6    table   letter.txt → 10
#               object 10   file
#                 └─ block pointer ──► the bytes of the letter
# ```
#
# The root block pointer leads to the pool's own set, the *meta object set* (MOS):

# %%
mos = uberblock / "MOS"
mos

# %% [markdown]
# Object 1 in it is a table of contents, the *object directory*. Tables of names and values are called
# ZAP. We follow `root_dataset`:


# %%
def names(structure):
    """Return the names in a table."""
    return [p.name for p in structure.pointers if p.name.startswith("entry ")]


directory = mos / "object directory"
print(*names(directory), sep="\n")
directory / "entry root_dataset"

# %% [markdown]
# A pool holds **datasets**: filesystems, each with its own files, and snapshots of them. A dataset has a
# block pointer to a set of objects of its own, and this is where files begin:

# %%
dataset = directory / "entry root_dataset" / "object 2" / "head dataset"
dataset

# %%
objects = dataset / "object set"
master = objects / "master node"
root = master / "entry ROOT"
root

# %% [markdown]
# The *master node* named the object of the root directory. A directory is a table again: from names to
# objects.

# %%
folder = root.pointers[0].read()
print(*names(folder), sep="\n")
folder / "entry letter.txt"

# %% [markdown]
# And here is the file: a dnode with a block pointer for its contents, and behind it what `stat` would tell
# of the file. These *system attributes* take the place of what other filesystems call an inode.

# %%
dnode = (folder / "entry letter.txt").pointers[0].read()
dnode

# %%
letter_pointer = dnode / "block pointer 0"
letter_pointer

# %%
contents = letter_pointer / "block"
print(contents.hex(96))

# %% [markdown]
# That was the whole way. `explain_path` walks it in one go, for any file and any byte of it:

# %%
reader = osvlab.filesystems.open(image.path)
way = reader.explain_path(reader.find("letter.txt"))
extents = list((reader / "letter.txt").extents())


def step(one):
    """Return what a structure is, and where."""
    return {"structure": one.name, "byte": f"{one.offset:#x}", "bytes": one.length}


Table(map(step, way), "From the label to the letter")

# %% [markdown]
# Whoever only wants to know where a file's bytes are, asks for its **extents**. Any tool can read there.
# `dd` counts in blocks of 512 bytes:

# %%
extent = extents[0]
print(extent)
print(at(extent.offset, 51))

skip = extent.offset // 512
dd = ["dd", f"if={image.path}", f"skip={skip}", "count=1", "status=none"]
print(subprocess.check_output(dd)[:51])

# %% [markdown]
# **Try it.** `novel.txt` is too long for one block. Where are its extents? Follow
# `reader.explain_path(reader.find("novel.txt"), 300_000)`: what lies between the dnode and the block?
#
# <details><summary>Answer</summary>
#
# 42 extents of 131,072 bytes, nearly all of them one behind the other. Between dnode and contents lies an
# *indirect block*, which holds nothing but block pointers: 128 fit into its 16 KiB. Larger files have
# several levels of them.
#
# </details>

# %% tags=["test"] jupyter={"source_hidden": true}
assert way[-1].offset == contents.offset == extent.offset
assert contents.raw[:1020] == (app / "letter.txt").read_bytes()
assert at(extent.offset, 51) == (app / "letter.txt").read_bytes()[:51]
assert subprocess.check_output(dd) == at(extent.offset, 512)
assert len(list((reader / "novel.txt").extents())) == 42
steps = [one.name for one in reader.explain_path(reader.find("novel.txt"), 300_000)]
assert steps[-3].startswith("indirect block 0")
assert steps[-1].startswith("block 2")

# %% [markdown]
# ## 5. A reader of your own
#
# The same way once more, in plain Python, without the lab's reader. It takes five short functions, each
# built on the one before. First, from a **block pointer** to a block. The fields of its seventh number are
# at bit 16 (the length as it is stored), 32 (how it is packed; 2 is *not at all*) and 40 (which checksum; 8
# is SHA-256). The last four numbers are the checksum.


# %%
def sha256(block):
    """Return SHA-256 as ZFS keeps it."""
    return struct.unpack(">4Q", hashlib.sha256(block).digest())


CHECKSUMS = {8: sha256}  # by the number that block pointers have for them


def read_block(pointer):
    """Return the block that a pointer leads to, once its checksum is right."""
    words = struct.unpack("<16Q", pointer)
    size = ((words[6] >> 16 & 0xFFFF) + 1) * 512
    packing, checksum = words[6] >> 32 & 0x7F, words[6] >> 40 & 0xFF
    block = at(start + (4 << 20) + (words[1] << 9), size)
    if CHECKSUMS[checksum](block) != words[12:]:
        raise ValueError(f"wrong checksum at {words[1] << 9:#x}")
    if packing != 2:
        raise ValueError("packed: this reader does not unpack")
    return block


print(read_block(letter_pointer.raw)[:51])

# %% [markdown]
# From a **dnode** to the bytes of an object. Its byte 2 says how many levels there are, byte 3 how many
# block pointers stand in it, from byte 64 on. With one level they lead to data; with two, to blocks of
# pointers that lead to data. A pointer that is all zeros is a *hole*.


# %%
def split(data, size):
    """Return data in pieces."""
    return [data[n : n + size] for n in range(0, len(data), size)]


def read_object(dnode):
    """Return the contents of an object: level by level down to its data."""
    levels, count = dnode[2], dnode[3]
    blocks = [dnode[64 : 64 + 128 * count]]
    for _ in range(levels):
        pointers = [one for block in blocks for one in split(block, 128)]
        blocks = [read_block(pointer) for pointer in pointers if any(pointer[:16])]
    return b"".join(blocks)


print(len(read_object(dnode.raw)), "bytes in the letter's block")

# %% [markdown]
# From a pointer to a **set of objects**: its block begins with a dnode, whose contents are all the others.
# And from the dnode of a small **table** to its names: entries of 64 bytes, the value in the first 8, the
# name from byte 14 on. (Tables with many or long names are larger, and hashed; this reader does not know
# them.)


# %%
def read_set(pointer):
    """Return the dnodes of a set of objects."""
    return split(read_object(read_block(pointer)[:512]), 512)


def read_table(dnode):
    """Return names and numbers of a small table."""
    found = {}
    for entry in split(read_object(dnode), 64)[1:]:
        name = entry[14:].split(b"\0")[0].decode()
        found[name] = int.from_bytes(entry[:8], "little")
    return found


pool_objects = read_set(ring[used[0]][40:168])
read_table(pool_objects[1])

# %% [markdown]
# Now the whole way. What describes a directory of datasets or a dataset stands behind the block pointer of
# its dnode, from byte 192 on: there the number of the dataset is at byte 8, and the pointer to its files at
# byte 128. In a directory's table the upper bits of a value say what it is, and the lower 48 which object.


# %%
def find(name):
    """Return the dnode of a file in the root directory."""
    slots = [at(start + (128 + slot) * 1024, 1024) for slot in range(128)]
    newest = max(slots, key=lambda slot: struct.unpack_from("<Q", slot, 16))
    pool = read_set(newest[40:168])
    place = pool[read_table(pool[1])["root_dataset"]]
    dataset = pool[struct.unpack_from("<Q", place, 192 + 8)[0]]
    files = read_set(dataset[192 + 128 : 192 + 256])
    root = read_table(files[1])["ROOT"]
    return files[read_table(files[root])[name] & (1 << 48) - 1]


print(read_object(find("letter.txt"))[:51])
print(len(read_object(find("novel.txt"))), len(novel))

# %% [markdown]
# **Try it.** The second line shows two different lengths. Why, and where does a reader learn the right
# one?
#
# <details><summary>Answer</summary>
#
# Blocks are whole: the last one is filled up with zeros. The length is an attribute of the file,
# `ZPL_SIZE` in its dnode.
#
# </details>

# %% tags=["test"] jupyter={"source_hidden": true}
assert read_object(find("letter.txt")).rstrip(b"\0").decode() == letter
assert read_object(find("novel.txt")).rstrip(b"\0").decode() == novel

# %% [markdown]
# ## 6. When nobody writes: ROFS and bootfs
#
# Most guests never write to their root. Then a filesystem needs no free space, no transactions and no
# trees. *ROFS* has a superblock, and three tables: entries of directories, targets of links, inodes.

# %%
rofs = osvlab.build(app, "/edit", fs="rofs", output=work / "rofs.img")
superblock = osvlab.filesystems.explain(rofs.path) / "partition 2" / "filesystem"
superblock

# %%
entry = superblock / "root directory" / "letter.txt"
print(entry, entry / "inode", sep="\n\n")
print((entry / "inode" / "contents").hex(32))

# %% [markdown]
# From the superblock to the file in three steps, and each file lies in one piece. *bootfs* is simpler
# still: records one after the other, each with a whole path in it, and to find a file, all of them
# are looked at. A few dozen files are read faster than anything could be looked up.

# %%
ram = osvlab.build(app, "/edit", fs="ramfs", output=work / "ramfs.img")
archive = osvlab.filesystems.explain(ram.path) / "partition 2" / "filesystem"
records = [pointer.read() for pointer in archive.pointers]


def row(record):
    """Return what a record says."""
    name = record["name"].rstrip(b"\0").decode()
    return {"name": name, "at": record["offset"], "bytes": record["size"]}


Table(map(row, records), "All records")

# %% [markdown]
# What do they take for the same files? (But for `/etc/fstab`, which names the root.) The rest is what the
# filesystem needs for itself.


# %%
def sizes(path):
    """Return how much of a filesystem is files' bytes, and how much is not."""
    with osvlab.filesystems.open(path) as files:
        contents = sum(entry.size for entry in files.walk() if entry.kind == "file")
        taken = osvlab.Image(path).root_partition.size
        if files.format == "ZFS":
            taken = sum(length for _, length in files.pool.taken())
        name, more = files.format, taken - contents
        return {"filesystem": name, "files": contents, "all": taken, "more": more}


Table([sizes(rofs.path), sizes(ram.path), sizes(image.path)], "Bytes")

# %% [markdown]
# And where is it? The map is to scale.


# %%
def map_of(path):
    """Return a map of the root partition of an image."""
    found = osvlab.Image(path).root_partition
    with osvlab.filesystems.open(path) as files:
        kept = {
            name: [
                (extent.offset - found.offset, extent.stored)
                for extent in (files / name).extents()
                if extent.offset is not None
            ]
            for name in ("edit", "letter.txt", "novel.txt")
        }
        if files.format == "ZFS":
            labels = files.pool.disks[0].labels
            kept["labels"] = [(one.offset, 256 << 10) for one in labels]
            taken = files.pool.taken()
            kept["all in use"] = [(byte - found.offset, n) for byte, n in taken]
        else:
            kept["superblock"] = [(0, 64)]
            tables = superblock["structure_info_first_block"] * 512
            kept["tables"] = [(tables, found.size - tables)]
    return DiskMap(f"{files.format} of {path.name}", found.size, kept)


map_of(rofs.path)

# %%
map_of(image.path)

# %% [markdown]
# The labels are at both ends. The host wrote the files first, one behind the other; what is in use
# besides is the tree that leads to them. Far to the right lie the second copies of its blocks: a
# scratch across one place of the disk does not hit both.
#
# **Try it.** What would a filesystem like ROFS have to do if a file grew by one byte?
#
# <details><summary>Answer</summary>
#
# Usually nothing more than change its inode, as long as the last block has room. If not, everything
# behind the file would have to move, or the file would have to lie in two pieces, which its inode cannot
# say. This is why it is read-only, and why it is small.
#
# </details>

# %% tags=["test"] jupyter={"source_hidden": true}
assert (entry / "inode" / "contents").raw == (app / "letter.txt").read_bytes()
assert b"letter.txt" in [one["name"].rstrip(b"\0") for one in records]
assert sizes(rofs.path)["more"] < sizes(image.path)["more"]
assert map_of(image.path).rows["labels"][0] == (0, 512 << 10)

# %% [markdown]
# ## 7. A guest writes: copy on write
#
# Now the image boots, and what the guest writes stays in it (`persist=True`). While it runs, we look at
# the disk from outside.

# %%
old_place, old_bytes = extent.offset, at(extent.offset, 51)
vm = osvlab.run(image, persist=True, timeout=300)
vm

# %%
vm.wait_for("ready")
before = vm.write("DEAR GUEST,  \n")
print("The guest is", vm.wait_for("ready", since=before)[0], "again.")


# %%
def state():
    """Return the uberblocks on the disk, and where the letter is."""
    with osvlab.filesystems.open(image.path) as files:
        place = next((files / "letter.txt").extents())
        ring = {one.txg: one.slot for one in files.pool.uberblocks}
        return ring, place.offset, files.read(files.find("letter.txt"))[:24]


ring, new_place, text = state()
for txg, slot in sorted(ring.items()):
    print(f"uberblock of txg {txg} in slot {slot}")
print(f"the letter is at byte {new_place:#x}:   {text}")
print(f"where it was, at byte {old_place:#x}: {at(old_place, 24)}")

# %% [markdown]
# The guest changed the first bytes of a file. A simpler filesystem would have gone to that block and
# changed it. ZFS wrote **another block**, with the old bytes and the new ones, and left the old one as it
# was. But then the pointer to it had to change, which lies in a block too, so that was written anew at
# another place, and so on up to the root. The last to be written is the uberblock, in the next slot of the
# ring, and with this one write all of it counts. Until then the old tree is whole.
#
# So a power cut cannot leave half a change behind: either the new uberblock is there, or it is not.
#
# Some more changes. At last, `vm.stop` pulls the plug: the guest has no time to put anything in order.

# %%
for line in ("Dear Anna,   ", "Dear Boris,  ", "Dear Clara,  "):
    before = vm.write(line + "\n")
    vm.wait_for("ready", since=before)
vm.stop()

# %% [markdown]
# All uberblocks of the ring still lead somewhere. `txg=` opens the pool as it was at a transaction group
# (in a shell: `osvlab cat IMAGE:/letter.txt --txg N`):

# %%
history, versions = [], {}
for txg in sorted(state()[0]):
    with osvlab.filesystems.open(image.path, txg=txg) as files:
        found = files.find("letter.txt")
        way = files.explain_path(found)
        other_way = files.explain_path(files.find("novel.txt"), 300_000)
        steps = {"uberblock": way[1], "MOS": way[2], "contents": way[-1]}
        places = {name: f"{one.offset:#x}" for name, one in steps.items()}
        begins = files.read(found)[:13].decode()
        history.append({"txg": txg, **places, "letter": begins})
        versions[f"txg {txg}"] = way, other_way
Table(history, "One file, five times")

# %% [markdown]
# Which blocks are new in each of them, and which are those of an older one? Here is every block on the
# way to the letter, and to a byte of the novel, which nobody touched. A colour stands for the transaction
# group that wrote the block; what an older one wrote is in brackets.

# %%
BLOCKS = {
    "uberblock": 1,
    "objects of the pool": 2,
    "dnode of the dataset": 6,
    "objects of the dataset": 7,
    "dnodes of files": 8,
    "table with ROOT": 9,
    "table of names": 11,
    "letter": -1,
}


def block_of(one):
    """Return where a structure is, or the packed block that it is in."""
    packed = one.within.split()[-1].rstrip(")") if one.within else ""
    return packed or f"{one.offset:#x}"


def blocks_of(ways):
    """Return the blocks on the ways to the letter and to the novel."""
    letter, novel = ways
    found = {name: block_of(letter[step]) for name, step in BLOCKS.items()}
    found["novel's pointers"] = block_of(novel[-3])
    found["novel"] = block_of(novel[-1])
    return found


columns = {txg: blocks_of(ways) for txg, ways in versions.items()}
shared = Versions("Copy on write", columns)
shared

# %% [markdown]
# Read it by rows. On the way from the uberblock to the letter all is new each time, since each block holds a
# pointer to one that moved. The tables stay: a name leads to the *number* of an object, and that did not
# change. And the novel lies where the host wrote it, and is part of all five.

# %% [markdown]
# Nobody promised that: the old blocks are *free*, and when they are used again, the old uberblocks lead
# nowhere. Who wants to keep an old state makes a *snapshot*, which is nothing but a second pointer to
# it.
#
# How has the guest written? Its block pointer names another checksum:

# %%
with osvlab.filesystems.open(image.path) as files:
    changed = (files / "letter.txt").explain() / "block pointer 0"
for one in (letter_pointer, changed):
    print(f"written in txg {one['birth']}, checked by {one['checked by']}")

# %% [markdown]
# *fletcher4* is much simpler than SHA-256. It is four sums: of the block's 32-bit words, of these sums, of
# those, and again. With numpy that is one line each, and numbers that get too large lose their upper
# bits, as they shall:


# %%
def fletcher4(block):
    """Return the checksum that ZFS kernels use for most blocks."""
    sums, found = np.frombuffer(block, "<u4").astype(np.uint64), []
    for _ in range(4):
        sums = np.cumsum(sums)
        found.append(int(sums[-1]))
    return tuple(found)


place = start + (4 << 20) + changed["dva[0].offset"]
print(" ".join(f"{word:016x}" for word in fletcher4(at(place, changed["psize"]))))
print(changed["checksum"])

# %% [markdown]
# **Try it.** `CHECKSUMS[7] = fletcher4` teaches that to the reader of section 5. What does
# `find("letter.txt")` say now?
#
# <details><summary>Answer</summary>
#
# "packed: this reader does not unpack". A ZFS kernel packs its own tree with lz4, even when
# the contents of files are not packed. `lz4.block.decompress` of the package *lz4* unpacks it, behind
# four bytes that hold the packed length.
#
# </details>

# %% tags=["test"] jupyter={"source_hidden": true}
assert new_place != old_place
assert text.startswith(b"DEAR GUEST,  no block")
assert at(old_place, 51) == old_bytes
assert [row["letter"] for row in history] == [
    "Dear reader, ",
    "DEAR GUEST,  ",
    "Dear Anna,   ",
    "Dear Boris,  ",
    "Dear Clara,  ",
]
assert len({row["contents"] for row in history}) == 5
new = {block: len({places[block] for places in columns.values()}) for block in shared.blocks}
assert new == {block: 1 if "table" in block or "novel" in block else 5 for block in new}
assert " ".join(f"{w:016x}" for w in fletcher4(at(place, changed["psize"]))) == changed["checksum"]
assert osvlab.filesystems.check(image.path)[-1].ok
assert "unpacked" in way[BLOCKS["dnodes of files"]].within

# %% [markdown]
# ## 8. Damage
#
# Disks forget. We change one byte, see who notices, and change it back.


# %%
@contextmanager
def damaged(path, *offsets):
    """Change bytes of a file for the length of a block."""

    def flip():
        with path.open("r+b", buffering=0) as file:
            for offset in offsets:
                byte = os.pread(file.fileno(), 1, offset)[0]
                os.pwrite(file.fileno(), bytes([byte ^ 0xFF]), offset)

    flip()
    try:
        yield
    finally:
        flip()


def look(path):
    """Return what reading the letter gives, and what a check of everything says."""
    with osvlab.filesystems.open(path) as files:
        try:
            said = [("read", str((files / "letter.txt").read_bytes()[:20]))]
        except osvlab.OsvlabError as error:
            said = [("read", "error: " + error.message)]
        if files.format == "ZFS":
            said += [("note", note) for note in files.pool.notes]
        problems = [problem.message for problem in files.check().problems]
        said += [("check", problem) for problem in problems or ["no problem"]]
        return Table([{"asked": asked, "answer": answer} for asked, answer in said])


# %% [markdown]
# A byte of the letter, in ROFS:

# %%
where = next((rofs.files / "letter.txt").extents()).offset
with damaged(rofs.path, where):
    seen = look(rofs.path)
seen

# %% [markdown]
# Nobody notices. ROFS has no checksums, and the byte could well be meant. The same in ZFS:

# %%
with damaged(image.path, place):
    seen = look(image.path)
seen

# %% [markdown]
# No wrong byte is ever returned as right. The error names the structure and the byte, and the rest of the
# pool can be read.
#
# The pool's own blocks lie in two places. We damage the first copy of the one that the uberblock points
# to:

# %%
with osvlab.filesystems.open(image.path) as files:
    pointer = files.explain() / "uberblock" / "rootbp"
first = start + (4 << 20) + pointer["dva[0].offset"]
with damaged(image.path, first):
    seen = look(image.path)
seen

# %% [markdown]
# It *heals*: the second copy is right, and it is read. The note tells of it, and `check`, which looks at
# all copies, complains.
#
# And if the uberblock itself is torn, by a power cut in the middle of writing it? It lies in the four
# labels, in the same slot of each:

# %%
with osvlab.filesystems.open(image.path) as files:
    newest = files.pool.uberblock
    slots = [
        start + other.offset + (128 + newest.slot) * 1024
        for disk in files.pool.disks
        for other in disk.labels
    ]
with damaged(image.path, *slots):
    seen = look(image.path)
    print("uberblocks that are right:", sorted(state()[0]))
seen

# %% [markdown]
# The one before counts, and the letter is the one of a moment ago. Nothing is wrong with that pool: the
# last change has just not happened.
#
# | damaged | in ROFS | in ZFS |
# |---|---|---|
# | a byte of a file | is read as if it were right | an error, which names file and byte |
# | a block of the tree above | other names, sizes or places; an error | another copy is read, and told of |
# | the newest root | (there is one superblock) | the state before the last change |
#
# **Try it.** Damage three labels of four with `damaged(image.path, ...)`, at their byte 16,500, which is
# in the middle of the names and values. Who complains? And with all four?
#
# <details><summary>Answer</summary>
#
# With three, reading does not, and `check` names each of the three: "label 0 at byte 0x400000 has a wrong
# checksum". With four, there is "no ZFS pool" any more, although all of its blocks are there.
#
# </details>

# %% tags=["test"] jupyter={"source_hidden": true}
check = osvlab.filesystems.check
reports = [damaged(image.path, *places)(check)(image.path)[-1] for places in ([place], [first], slots, [])]
assert [[problem.offset for problem in report.problems] for report in reports] == [
    [place],
    [first],
    [],
    [],
]
quarters = (0, 256 << 10, (64 << 20) - (512 << 10), (64 << 20) - (256 << 10))
labels = [start + quarter + 16_500 for quarter in quarters]
assert len(damaged(image.path, *labels[:3])(check)(image.path)[-1].problems) == 3
assert damaged(image.path, *labels[:3])(state)()[2].startswith(b"Dear Clara")
nothing = damaged(image.path, *labels)(check)(image.path)[-1].problems[0]
assert "no ZFS pool" in nothing.message

# %% [markdown]
# ## 9. Clean up

# %%
vm.stop()
reader.close()
shutil.rmtree(work)

# %% tags=["test"] jupyter={"source_hidden": true}
assert not vm.running

# %% [markdown]
# ## What to try next
#
# The disks are gone now. Go to section 9 and choose *Run All Above Selected Cell*; then you have new ones.
#
# - Build with `compression="lz4"`. What do `extents` say now, and what does `explain` show as the place of
#   a dnode?
# - Teach the reader of section 5 to unpack lz4, and to read what the guest wrote.
# - Write to the file 130 times. What becomes of the ring? How far back can you still open the pool?
# - Where do the space maps say that the old letters are? Compare `files.pool.taken()` of two transaction
#   groups: with `osvlab.filesystems.open(image.path, txg=...) as files`.
# - If you have a ZFS on this host, `zdb -e -p FOLDER -dddddd osv 10` shows the same dnode. And the other
#   way round: `osvlab.filesystems.open` reads a pool that you made.
# - The same from a shell: `osvlab explain zfs.img:/letter.txt --hex`, `osvlab check zfs.img`.
