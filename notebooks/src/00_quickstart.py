# %% [markdown]
# # From a directory to a running guest
#
# **Goal.** You take a directory with a program in it, make a bootable disk of it, start that in a
# virtual machine on a *library OS*, talk to it, and see where the time of its boot went.
#
# **Time** 15 minutes to read and try; all cells together run in about 20 seconds (a minute more the
# first time, when the kernel is compiled). **Memory** 64 MiB for the guest, about 300 MiB in all.
# **You need** a little C and Python. Nothing is fetched from the network.
#
# **Without KVM** everything works: QEMU then translates the guest's instructions (TCG) instead of
# running them on the CPU itself. The guest computes more slowly then, and still boots in a fraction
# of a second.
#
# Run the cells one by one with Shift+Enter, or all of them with *Run → Run All Cells*.

# %%
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from IPython.display import Code

import osvlab
from osvlab.demo import EXAMPLES, static_busybox

work = Path(tempfile.mkdtemp(prefix="quickstart-"))
app = work / "app"
app.mkdir()

# %% [markdown]
# ## 1. The kernel
#
# On an ordinary system a *kernel* runs in a mode of the CPU that programs cannot enter, and every
# program asks it for service through system calls. A **library OS** is a kernel that one application
# brings along, as it brings its libraries: kernel and application share one *address space* and one
# mode, and a call into the kernel is a function call. There is one application, and there are no
# users.
#
# The lab has a library OS of its own, a few thousand lines of C that you can read in
# `osvlab/kernel/`. The first time, the next cell compiles it.

# %%
kernel = osvlab.Kernel.lab()
kernel

# %% [markdown]
# ## 2. A program
#
# This is an ordinary C program. It uses *libc* and a *thread*, and knows nothing of the kernel it
# will run on.

# %%
source = EXAMPLES / "hello" / "hello.c"
Code(filename=source)

# %% [markdown]
# We compile it as for this very machine, with the `gcc` that is installed here and nothing special.

# %%
subprocess.run(["gcc", "-O2", "-o", app / "hello", source], check=True)
subprocess.check_output([app / "hello", "host"], text=True)

# %% [markdown]
# The host itself has just run it: it is a *dynamically linked ELF program*. It does not contain
# `printf` or `pthread_create`. It names the library it wants them from, `libc.so.6`, and somebody
# must supply them when it is loaded. On the host that is glibc. In the guest it is the kernel.
#
# ## 3. An image
#
# An **image** is a disk that boots. `osvlab.build` makes one of a directory: whatever lies in the
# directory will be the root of the guest's file tree. Before it writes anything, it compares what the
# program wants with what the kernel supplies.

# %%
image = osvlab.build(app)
image

# %% [markdown]
# From left to right:
#
# - the **boot sector**, 512 bytes that a PC's firmware loads and starts, with the *partition table*
#   in its last bytes;
# - the **command line**: what the kernel is told, options first, then the program to run and its
#   arguments;
# - the **kernel** itself;
# - the root filesystem in a **partition** of its own. *ROFS* is a read-only filesystem of a few
#   structures: a superblock, directory entries, inodes, and the files' data behind them.
#
# `image.files` is a path into that filesystem, in the manner of `pathlib`. Besides the program there
# are a few files and empty directories that any guest needs.

# %%
print(*image.files.iterdir())
print((image.files / "etc/hosts").read_text())

# %% tags=["test"] jupyter={"source_hidden": true}
assert image.command == "/hello"
assert [region.name for region in image.layout if region.name != "unused"] == [
    "boot sector",
    "command line",
    "kernel",
    "rofs",
]
assert (image.files / "hello").read_bytes() == (app / "hello").read_bytes()

# %% [markdown]
# ## 4. Run it
#
# `osvlab.run` starts a **virtual machine**: QEMU with this disk, 64 MiB of memory and one CPU. It
# returns as soon as QEMU runs; the guest boots while Python goes on. A VM that is the last value of a
# cell shows its *console*, which is the guest's serial port: what the guest prints appears there as
# it is printed.

# %%
vm = osvlab.run(image, memory="64M", timeout=60)
vm

# %% [markdown]
# The first lines are the kernel's. The last one is the program's, and says where it ran.
#
# A run ends in exactly one of four ways: it *exited* with a status, it *crashed* and the kernel said
# how, it *timed out*, or QEMU was *lost* without a word from the guest. `wait` waits for the end and
# says which it was.

# %%
vm.wait()

# %% tags=["test"] jupyter={"source_hidden": true}
assert vm.outcome == osvlab.Exited(0)
assert "Hello, world" in vm.console.text

# %% [markdown]
# ## 5. Where the time went
#
# The kernel reads the clock after each step of its boot and reports the times to the host. Together
# with the host's own clock they make a timeline, from the start of QEMU to the first line that the
# application printed.

# %%
vm.boot

# %% [markdown]
# The first bar is QEMU itself, before the kernel's first instruction. There is no firmware in it to
# speak of: a *microvm* has hardly any devices, and QEMU enters the kernel directly, through an
# interface called *PVH*. The last bar is the program: it is loaded, its references to libc are
# bound to the kernel, and its pages are read from the disk when they are first touched.

# %% tags=["test"] jupyter={"source_hidden": true}
steps = [step.name for step in vm.boot.steps]
assert steps[0] == "QEMU and firmware"
assert steps[-1] == "application to its first line"
assert 0 < vm.boot.total < 60

# %% [markdown]
# ## 6. A program that nobody compiled for this
#
# `busybox` is many small Unix tools in one program. This is the file of the host's distribution, byte
# for byte. It is *statically linked*: libc is inside it, it wants no library, and it speaks to the
# kernel with the `syscall` instruction, as on Linux. The kernel answers these calls too.
#
# Several commands can be given, separated by `;`. The command given to `run` takes the place of the
# image's own.

# %%
(app / "bin").mkdir(exist_ok=True)
shutil.copy(static_busybox(), app / "bin" / "busybox")
tools = osvlab.build(app, "/bin/busybox sh")

commands = "/bin/busybox ls -l /; /bin/busybox sha256sum /hello"
listing = osvlab.run(tools, commands, timeout=60)
listing.wait()
listing

# %% [markdown]
# The host computes the same hash of the same file:

# %%
here = hashlib.sha256((app / "hello").read_bytes()).hexdigest()
same = here in listing.console.text
print(here, "the guest says the same" if same else "they differ!")

# %% tags=["test"] jupyter={"source_hidden": true}
assert listing.outcome == osvlab.Exited(0)
assert here in listing.console.text

# %% [markdown]
# ## 7. Talk to a guest
#
# The image's own command is a shell, which waits for you. Type into the field under the console, for
# instance `echo $((6 * 7))` or `cd /etc; pwd`; Enter sends the line, and Escape leaves the field.

# %%
shell = osvlab.run(tools)
shell

# %% [markdown]
# A program can do the same as you: type, and wait for an answer. `write` returns the position on the
# console before the typing, so that `wait_for` finds the answer and not something older. The answer
# is a match of a *regular expression*.

# %%
shell.wait_for("# ")
before = shell.write("echo six times seven is $((6 * 7))\n")
shell.wait_for(r"is (\d+)\s", since=before)[1]

# %% [markdown]
# Now something that a library OS cannot do. `ls` is a program of its own, and to start it a shell
# makes a copy of its own *process* (`fork`), which then becomes `ls`. A copy needs an address space
# of its own, and here there is only one:

# %%
before = shell.write("ls /\n")
shell.wait_for(r"sh: (can't fork: .*)\n", since=before)[1]

# %% [markdown]
# The shell lives on. When it ends, the application has ended, and so does the machine. Its exit
# status reaches the host:

# %%
shell.write("exit 3\n")
shell.wait(timeout=30)

# %% tags=["test"] jupyter={"source_hidden": true}
assert shell.outcome == osvlab.Exited(3)
assert "is 42" in shell.console.text

# %% [markdown]
# ## 8. A mistake, on purpose
#
# This program takes its greeting from a library of its own, `libgreeting.so`, which we forget to put
# into the directory.

# %%
(work / "greeting.c").write_text("""\
const char *greeting(void) { return "Hello from a library"; }
""")
(work / "greet.c").write_text("""\
#include <stdio.h>
const char *greeting(void);
int main(void) { puts(greeting()); }
""")
for command in (
    "gcc -shared -fPIC -o libgreeting.so greeting.c",
    "gcc -o app/greet greet.c -L. -lgreeting",
):
    subprocess.run(command, shell=True, cwd=work, check=True)

try:
    osvlab.build(app, "/greet")
except osvlab.OsvlabError as error:
    print(error)

# %% [markdown]
# Nothing was booted and nothing was written. An error of the lab says what is wrong, who wants it,
# where was looked, and one thing to do about it. We do it:

# %%
(app / "usr" / "lib").mkdir(parents=True, exist_ok=True)
shutil.copy(work / "libgreeting.so", app / "usr" / "lib")

greet = osvlab.run(osvlab.build(app, "/greet"), timeout=60)
greet.wait()
greet

# %% tags=["test"] jupyter={"source_hidden": true}
assert greet.outcome == osvlab.Exited(0)
assert "Hello from a library" in greet.console.text

# %% [markdown]
# ## 9. Clean up
#
# A guest that still runs ends with its VM's `stop`, at its timeout, or with this notebook's Python,
# whichever is first. What is left is the directory we made.

# %%
for machine in (vm, listing, shell, greet):
    machine.stop()
shutil.rmtree(work)

# %% tags=["test"] jupyter={"source_hidden": true}
assert not any(machine.running for machine in (vm, listing, shell, greet))

# %% [markdown]
# ## What to try next
#
# The directory is gone now. Go to section 9 and choose *Run All Above Selected Cell*: you have it again.
#
# - How little memory is enough? Build the first image again, run it with `memory="16M"`, then less.
#   What does the kernel say when it is too little?
# - `osvlab.run(image, verbose=True)` lets the kernel tell what it does.
# - `osvlab.build(app, "/hello", fs="ramfs")` makes an image whose files are unpacked into memory.
#   What changes in the layout, and in the boot timeline?
# - Change `hello.c` so that it writes to a null pointer. How does the run end, and what does
#   `vm.outcome.report` hold?
# - The same from a shell: `osvlab run DIRECTORY`, `osvlab inspect IMAGE`, `osvlab doctor`.
