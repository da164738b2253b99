# %% [markdown]
# # A guest on the network
#
# **Goal.** A guest serves a web page to you, and you see in the packets how. You read and change a
# running guest through its REST API, watch its memory and threads live, configure it at its first
# boot, and stream files into it.
#
# **Time** 30 minutes to read and try; all cells together run in about 40 seconds (a minute more the
# first time, when the kernel is compiled). **Memory** 128 MiB for a guest, about 400 MiB in all.
# **You need** the notebook *00_quickstart*, and an idea of what TCP is. Nothing is fetched from the
# network: all of it happens on this host.
#
# **Without KVM** everything works.

# %%
import re
import shutil
import struct
import subprocess
import tempfile
import urllib.error
import urllib.request
from ipaddress import IPv4Address
from pathlib import Path

from IPython.display import Code

import osvlab
from osvlab.demo import EXAMPLES, static_busybox
from osvlab.guest import upload
from osvlab.widgets.table import Table

work = Path(tempfile.mkdtemp(prefix="network-"))
app = work / "app"
app.mkdir()

# %% [markdown]
# ## 1. A web server
#
# This is a web server as textbooks have it: a *socket* that listens, and a loop that accepts one
# connection at a time, reads a request and writes an answer. It knows Linux's calls and nothing of
# any library OS.

# %%
source = EXAMPLES / "web" / "web.c"
Code(filename=source)

# %%
subprocess.run(["gcc", "-O2", "-o", app / "web", source], check=True)
image = osvlab.build(app, "/web")
image

# %% [markdown]
# A virtual machine has a network card only if you ask for one. `ports={8080: None}` does: it
# *forwards* to the guest's port 8080 from a port of this host, and `None` lets a free one be chosen.
# The host's port belongs to its *loopback* address, so nobody else can reach it.
#
# `capture=` writes every packet that passes the card to a file, which we shall read in a moment.

# %%
packets = work / "web.pcap"
web = osvlab.run(image, ports={8080: None}, capture=packets, timeout=300)
web

# %% [markdown]
# The console said `eth0: 10.0.2.15`: the guest got its address by *DHCP*. The network it lives on
# exists only inside QEMU, which plays the router (10.0.2.2) and the DHCP server. `vm.url` tells where
# the guest is reached from here:

# %%
web.wait_for("listening on port 8080")
page = urllib.request.urlopen(web.url(8080)).read().decode()
print(web.url(8080), page, sep="\n")

# %% [markdown]
# Any program of this host can do the same, also your browser if it runs here. What the server does
# not have, it says in HTTP's way:

# %%
try:
    urllib.request.urlopen(web.url(8080, "/secret"))
except urllib.error.HTTPError as error:
    print(error, error.read().decode(), sep="\n")

# %% [markdown]
# A mistake, on purpose: a port that is not forwarded cannot be reached, and the lab knows.

# %%
try:
    web.url(80)
except osvlab.OsvlabError as error:
    print(error)

# %% [markdown]
# This server ends when it is asked for `/quit`, and with it the guest:

# %%
urllib.request.urlopen(web.url(8080, "/quit")).read()
web.wait(timeout=30)

# %% tags=["test"] jupyter={"source_hidden": true}
assert "You are visitor 1." in page
assert web.outcome == osvlab.Exited(0)
assert "visit 2: GET /secret" in web.console.text

# %% [markdown]
# ## 2. What went over the wire
#
# The capture is in the *pcap* format that Wireshark and `tcpdump` read: a header of 24 bytes, then each
# packet behind 16 bytes with its time and its length. A few lines of Python decode what we need: the
# Ethernet header says what is inside, and IPv4's says who sends to whom.

# %%
DHCP = {1: "discover", 2: "offer", 3: "request", 5: "acknowledge"}
FLAGS = {0x02: "SYN", 0x10: "ACK", 0x08: "PSH", 0x01: "FIN", 0x04: "RST"}


def ip(octets):
    return str(IPv4Address(octets))


def read_capture(path):
    """Return each packet of a capture: when, from where, where to, what."""
    data, at, rows = path.read_bytes(), 24, []
    while at < len(data):
        seconds, micros, size, _ = struct.unpack_from("<4I", data, at)
        frame, at = data[at + 16 : at + 16 + size], at + 16 + size
        row = {"ms": seconds * 1000 + micros / 1000, "from": "", "to": ""}
        row |= {"what": "?", "bytes": 0}
        kind = int.from_bytes(frame[12:14], "big")
        if kind == 0x0806:  # ARP: the operation, then both sides' addresses
            row |= {"from": ip(frame[28:32]), "to": ip(frame[38:42])}
            asks = "this is me" if row["from"] == row["to"] else "who is this?"
            row["what"] = f"ARP: {asks if frame[21] == 1 else 'I am, at this MAC'}"
        elif kind == 0x0800:  # IPv4: 20 bytes, or more with options
            length, packet = (frame[14] & 15) * 4, frame[14:]
            payload = packet[length : int.from_bytes(packet[2:4], "big")]
            source_port, target_port = struct.unpack_from(">HH", payload)
            row["from"] = f"{ip(packet[12:16])}:{source_port}"
            row["to"] = f"{ip(packet[16:20])}:{target_port}"
            if packet[9] == 6:  # TCP: where its data begins, then its flags
                flags = [name for bit, name in FLAGS.items() if payload[13] & bit]
                row["what"] = " ".join(["TCP", *flags])
                row["bytes"] = len(payload) - (payload[12] >> 4) * 4
            elif packet[9] == 17:  # UDP: 8 bytes; DHCP's kind is its first option
                dhcp = target_port in (67, 68)
                row["what"] = f"DHCP {DHCP.get(payload[250])}" if dhcp else "UDP"
                row["bytes"] = len(payload) - 8
        rows.append(row)
    for row in reversed(rows):
        row["ms"] -= rows[0]["ms"]
    return rows


capture = read_capture(packets)
first_close = next(n for n, row in enumerate(capture) if "FIN" in row["what"])
Table(capture[: first_close + 3], "Packets up to the end of the first visit")

# %% [markdown]
# Read it from the top:
#
# - **DHCP**, while the guest has no address yet: it asks everybody (255.255.255.255), the router offers
#   one, the guest requests it, the router acknowledges.
# - **ARP**: on an Ethernet, packets go to *hardware addresses*. The guest announces the one of its own,
#   and must ask for the router's before it can answer.
# - **TCP's handshake**: `SYN`, `SYN ACK`, `ACK`. Each side tells the number it begins to count bytes
#   with, and confirms the other's. The first `SYN` comes from 10.0.2.2: QEMU took our connection on
#   the host's port and makes one of its own to the guest.
# - **Data**: the request, and the answer, usually in two pieces: the server calls `write` twice.
# - **The end**: each side says with `FIN` that it has nothing more to send.

# %% tags=["test"] jupyter={"source_hidden": true}
whats = [row["what"] for row in capture]
kinds = list(dict.fromkeys(whats))
assert [kind for kind in kinds if "TCP" in kind][:3] == ["TCP SYN", "TCP SYN ACK", "TCP ACK"]
assert [kind for kind in kinds if "DHCP" in kind] == [f"DHCP {kind}" for kind in DHCP.values()]
assert "ARP: I am, at this MAC" in whats
assert "?" not in whats

# %% [markdown]
# ## 3. A REST API
#
# A library OS has no login and no shell: there is only the application. What an administrator would
# type there, OSv offers over HTTP instead, as a *REST API*. It is a **module**, a part of the guest that
# an image contains only if you ask for it, and listens on port 8000. The lab kernel's `httpserver`
# answers the same requests as OSv's.
#
# The guest of this section serves the page again. We also put `busybox` into it, and a program
# `load` for the next section.

# %%
load = EXAMPLES / "load" / "load.c"
subprocess.run(["gcc", "-O2", "-o", app / "load", load], check=True)
(app / "bin").mkdir()
shutil.copy(static_busybox(), app / "bin" / "busybox")

lab = osvlab.run(
    osvlab.build(app, "/web", modules=["httpserver"]),
    ports={8080: None, 8000: None},
    memory="128M",
    timeout=600,
)
lab.wait_for("listening on port 8080")
lab

# %% [markdown]
# It is plain HTTP, and the answers are JSON:

# %%
urllib.request.urlopen(lab.url(8000, "/os/version")).read()

# %% [markdown]
# `vm.rest` is the same with names and types. What follows asks the running guest:

# %%
rest = lab.rest
print(rest.os.name(), rest.os.version(), "calls itself", rest.os.hostname())
free, total = rest.os.memory.free(), rest.os.memory.total()
print(f"{free / 2**20:.1f} of {total / 2**20:.1f} MiB are free")
print("started with:", rest.os.cmdline())

# %%
columns = ["id", "name", "status", "cpu_ms", "switches"]
Table(rest.os.threads(), "The guest's threads", columns)

# %% [markdown]
# The server itself is a thread among them, in the same address space as the application: no process
# boundary lies between them. The numbers from 1000000 on are the kernel's own threads.
#
# Files are read and written. The root of this image cannot be written to, as the error says; `/tmp`
# lies in memory.

# %%
rest.files.put("/tmp/note", "written from a notebook\n")
print(rest.files.get("/tmp/note").decode())
try:
    rest.files.put("/etc/note", "in vain\n")
except osvlab.OsvlabError as error:
    print(error)

# %%
columns = ["name", "kind", "size", "target"]
Table(rest.files.list("/"), "The root directory", columns)

# %% [markdown]
# Now a change to the *environment*, and a command that sees it. What the command prints goes to the
# guest's console.

# %%
rest.env["COLOUR"] = "blue"
before = lab.console.position
rest.app.run("/bin/busybox env")
colour = lab.wait_for(r"COLOUR=(\w+)\n", since=before)[1]
print("the guest's console said:", colour)

# %% [markdown]
# A mistake, on purpose: a program that is not there. The guest's own message comes back.

# %%
try:
    rest.app.start("/lode 6 64 8")
except osvlab.OsvlabError as error:
    print(error)

# %% tags=["test"] jupyter={"source_hidden": true}
names = [thread.name for thread in rest.os.threads()]
assert {"web", "network"} <= set(names)
assert rest.files.get("/tmp/note") == b"written from a notebook\n"
assert not rest.files.exists("/etc/note")
assert colour == "blue"

# %% [markdown]
# ## 4. Memory and threads, live
#
# `vm.watch()` asks the guest twice a second, or as often as you say, how much memory is free and how
# many threads there are. The chart goes on while other cells run, and after them, until the guest ends
# or somebody stops it.

# %%
watch = lab.watch(interval=0.2)
watch

# %% [markdown]
# Something to see: `load` starts 6 threads, one after the other. Each takes memory in steps and writes
# to it, 72 MiB in all, and gives it back. `run` waits for the end, and the chart above moves meanwhile.

# %%
rest.app.run("/load 6 72 8")
watch.samples[-1]

# %% [markdown]
# The memory goes down in steps while threads start, and comes back when they end. To take memory costs
# nothing, by the way: only when a page is first written to, the kernel finds one for it. That is why
# `load` writes.
#
# What the chart shows are numbers, to compute with. `pandas.DataFrame(watch.samples)` would take them
# as they are. And a watch is text, too:

# %%
watch.stop()
least = min(sample.free for sample in watch.samples)
most = max(sample.threads for sample in watch.samples)
print(f"at least {least / 2**20:.1f} MiB were free, at most {most} threads\n")
print(watch)

# %% tags=["test"] jupyter={"source_hidden": true}
assert len(watch.samples) > 10
assert watch.samples[0].free - least > 50 << 20
assert most >= watch.samples[0].threads + 6
assert watch.samples[-1].free - least > 50 << 20
assert not watch.running

# %% [markdown]
# A mistake, on purpose: `load` shall take more memory than there is. An ordinary system would look for
# a process to kill. Here the application and the kernel are one, and so the guest ends. The chart, too,
# and it says why:

# %%
last = lab.watch(interval=0.1)
rest.app.start("/load 6 200 4")
last

# %%
lab.wait(timeout=60)
print(last.wait(timeout=60))

# %% tags=["test"] jupyter={"source_hidden": true}
assert isinstance(lab.outcome, osvlab.Crashed)
assert last.ended.startswith("crashed: out of memory")

# %% [markdown]
# ## 5. Configured at boot
#
# One image, many guests: what differs between them is told at boot. Clouds call that *cloud-init*. OSv
# has a dialect of its own: a YAML text with files to write and calls of the REST API to make, before
# the application starts.

# %%
config = osvlab.CloudConfig.make(
    hostname="web-1",
    files={"/tmp/motd": "Welcome to web-1.\n"},
    env={"COLOUR": "green"},
)
Code(config.text, language="yaml")

# %% [markdown]
# The guest finds it on a second disk, which `run` makes. The image needs the module `cloud-init`.

# %%
configured = osvlab.run(
    osvlab.build(app, "/bin/busybox env; /web", modules=["cloud-init"]),
    ports={8000: None},
    cloud_init=config,
    timeout=300,
)
configured.wait_for("listening on port 8080")
print(configured.rest.os.hostname())
print(configured.rest.files.get("/tmp/motd").decode())
print(configured.rest.env["COLOUR"])

# %% tags=["test"] jupyter={"source_hidden": true}
assert configured.rest.os.hostname() == "web-1"
assert configured.rest.files.get("/tmp/motd") == b"Welcome to web-1.\n"
assert "COLOUR=green\n" in configured.console.text

# %% [markdown]
# The console shows that the application's commands began with this environment:

# %%
configured

# %%
configured.stop()

# %% [markdown]
# A mistake, on purpose. Guests complain about a wrong configuration late and tersely, on their
# console. The lab looks at it before anything boots, and shows the line:

# %%
try:
    wrong = "files:\n  /tmp/motd: hello\nhostnam: web-1\n"
    osvlab.run(app, "/web", cloud_init=wrong)
except osvlab.OsvlabError as error:
    print(error)

# %% [markdown]
# ## 6. Files streamed in
#
# The last guest gets its files, and even its program, over the network. Its image holds `cpiod`, an
# upload daemon: it waits for a connection, unpacks the archive that comes through it, and ends. Then
# the next command of the guest's command line runs.

# %%
tree = work / "tree"
tree.mkdir()
shutil.copy(app / "web", tree)
(tree / "data").write_bytes(bytes(range(256)) * 4096)

receiver = osvlab.run(
    osvlab.build(app, "/tools/cpiod.so --prefix /tmp", modules=["cpiod"]),
    "/tools/cpiod.so --prefix /tmp; /bin/busybox ls -l /tmp; /tmp/web",
    ports={10000: None, 8080: None},
    timeout=300,
)

# %%
upload(receiver, tree)

# %% [markdown]
# `confirmed` means that the guest said that all of it is in its place. The program that came last
# through the wire runs, and serves:

# %%
receiver.wait_for("listening on port 8080")
print(urllib.request.urlopen(receiver.url(8080)).read().decode())
receiver

# %% tags=["test"] jupyter={"source_hidden": true}
assert re.search(r"1048576 .* data\n", receiver.console.text)

# %% [markdown]
# ## 7. Clean up

# %%
for machine in (web, lab, configured, receiver):
    machine.stop()
shutil.rmtree(work)

# %% tags=["test"] jupyter={"source_hidden": true}
assert not any(machine.running for machine in (web, lab, configured, receiver))

# %% [markdown]
# ## What to try next
#
# The images are gone now. Go to section 7 and choose *Run All Above Selected Cell*; then you have new ones.
#
# - Open the capture in Wireshark before you clean up. Which options does the guest's `SYN` offer?
# - Capture the traffic of `upload`. How much of it is acknowledged by each `ACK`?
# - Watch with `interval=0.05`. What does watching itself cost the guest? Look at `cpu_ms` of the thread
#   `libhttpserver-a`.
# - How much memory do a hundred threads take that do nothing? `load 100 0 5` fails; why, and what would
#   you change in `load.c`?
# - `rest.trace.events()` lists the kernel's tracepoints, `rest.network.routes()` its routes.
# - The same from a shell: `osvlab top`, `osvlab cp`, `osvlab exec`, `osvlab curl`.
