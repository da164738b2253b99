"""Networks: what cannot be is refused, QEMU's words, ports of the host that lead into a guest."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from osvlab.vm.machine import Accelerator, Disk, Machine, MachineError
from osvlab.vm.network import Forward, Network, NetworkError, forwarded
from osvlab.vm.qemu import arguments
from osvlab.vm.vm import VM
from tests.vm.guests import Guest

KERNEL = Path("kernel.elf")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"guest": 0}, "no port 0"),
        ({"guest": 65536}, "no port 65536"),
        ({"guest": True}, "no port True"),
        ({"guest": "80"}, "no port '80'"),
        ({"guest": 80, "host": 8080.5}, r"no port 8080\.5"),
        ({"guest": 80, "host": -1}, "no port -1"),
        ({"guest": 80, "address": "localhost"}, "localhost"),
        ({"guest": 80, "address": "::1"}, "::1"),
        ({"guest": 80, "protocol": "sctp"}, "sctp"),
    ],
)
def test_forwards_that_cannot_be(options: dict[str, object], named: str) -> None:
    with pytest.raises(NetworkError, match=named):
        Forward(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"switch": Path("s"), "outbound": True}, "switch"),
        ({"switch": Path("s"), "forwards": (Forward(80),)}, "switch"),
        ({"mac": "52:54:00"}, "52:54:00"),
        ({"mac": "53:54:00:12:34:56"}, "53:54"),  # a group's, no card's
        ({"forwards": (Forward(80), Forward(80, 8080))}, "port 80 of the guest"),
        ({"forwards": (Forward(80, 8080), Forward(81, 8080))}, "port 8080 of the host"),
    ],
)
def test_networks_that_cannot_be(options: dict[str, object], named: str) -> None:
    with pytest.raises(NetworkError, match=named):
        Network(**options)  # type: ignore[arg-type]


def test_what_the_arguments_of_run_mean() -> None:
    assert Network.of() is None
    assert Network.of(network=False) is None
    assert Network.of(network=True) == Network(outbound=True)
    assert Network.of([80]) == Network(forwards=(Forward(80),))
    assert Network.of({80: 8080}, True) == Network(forwards=(Forward(80, 8080),), outbound=True)
    both = Network.of({80: None}, Network(forwards=(Forward(22),)))
    assert both == Network(forwards=(Forward(22), Forward(80)))
    assert Network.of(capture=Path("c")) == Network(capture=Path("c"))
    with pytest.raises(NetworkError, match="network=False"):
        Network.of({80: None}, network=False)


def option(words: list[str], name: str) -> list[str]:
    return [words[n + 1] for n, word in enumerate(words) if word == name]


def test_words_for_qemu() -> None:
    cards = (
        Network(forwards=(Forward(80), Forward(53, 5353, protocol="udp"))),  # type: ignore[arg-type]
        Network(switch=Path("/a,b"), mac="02:00:00:00:00:07"),
        Network(outbound=True, capture=Path("c,d")),
    )
    words = arguments(Machine(kernel=KERNEL, networks=cards), Accelerator.TCG, monitor=3)
    closed, switched, opened = option(words, "-netdev")
    assert closed.endswith("restrict=on,hostfwd=tcp:127.0.0.1:0-:80,hostfwd=udp:127.0.0.1:5353-:53")
    assert switched == "stream,id=net1,server=off,addr.type=unix,addr.path=switch1"
    assert "restrict=off" in opened
    assert "virtio-net-device,netdev=net1,mac=02:00:00:00:00:07" in option(words, "-device")
    assert "filter-dump,id=capture2,netdev=net2,file=capture2" in option(words, "-object")
    pci = arguments(Machine(kind="pc", kernel=KERNEL, networks=cards), Accelerator.TCG, monitor=3)  # type: ignore[arg-type]
    assert "virtio-net-pci,romfile=,netdev=net0" in option(pci, "-device")
    assert not option(arguments(Machine(kernel=KERNEL), Accelerator.TCG, monitor=3), "-netdev")


def test_ports_are_read_for_the_right_card() -> None:
    head = "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
    text = (
        f"Hub -1 (net0):\r\n{head}"
        "  TCP[HOST_FORWARD]   8       127.0.0.1 1111       10.0.2.15    80     0     0\r\n"
        "  UDP[HOST_FORWARD]   8       127.0.0.1 2222       10.0.2.15    80     0     0\r\n"
        "  TCP[ESTABLISHED]    9       127.0.0.1 1111       10.0.2.15    81     0     0\r\n"
        f"Hub -1 (net1):\r\n{head}"
        "  TCP[HOST_FORWARD]   8       127.0.0.1 3333       10.0.2.15    80     0     0\r\n"
    )
    wanted = [Forward(80), Forward(80, protocol="udp"), Forward(81, 9999)]  # type: ignore[arg-type]
    assert [forward.host for forward in forwarded(text, "net0", wanted)] == [1111, 2222, 9999]
    assert [forward.host for forward in forwarded(text, "net1", wanted)] == [3333, None, 9999]


@pytest.fixture
def listen(guest_folder: Path) -> Iterator[Callable[..., VM]]:
    """Start a guest that hangs: QEMU listens for it all the same."""
    kernel = Guest().hang().assemble(guest_folder)
    with ExitStack() as stack:
        yield lambda network: stack.enter_context(
            VM(Machine(kernel=kernel, memory=16 << 20, networks=(network,) if network else ()))
        )


@pytest.mark.qemu
def test_free_ports_are_chosen_and_told(listen: Callable[..., VM]) -> None:
    vm = listen(Network.of([80, 443]))
    assert set(vm.ports) == {80, 443}
    for guest, host in vm.ports.items():
        assert vm.url(guest) == f"http://127.0.0.1:{host}/"
        socket.create_connection(("127.0.0.1", host), 10).close()
    assert vm.url(443, "a/b", "https") == f"https://127.0.0.1:{vm.ports[443]}/a/b"
    assert vm.url(80) in repr(vm)
    with pytest.raises(NetworkError, match="one port of the guest is wanted; forwarded: 80, 443"):
        vm.url()
    with pytest.raises(NetworkError, match="port 22"):
        vm.url(22)


@pytest.mark.qemu
def test_nothing_listens_on_other_addresses(listen: Callable[..., VM]) -> None:
    vm = listen(Network.of([80]))
    (port,) = vm.ports.values()
    with socket.socket() as other:  # it would be taken
        other.bind(("127.0.0.2", port))
    assert vm.url() == f"http://127.0.0.1:{port}/"


@pytest.mark.qemu
def test_a_port_in_use_is_named(listen: Callable[..., VM]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NetworkError, match=f"port {port} of 127.0.0.1: address already in use"):
            listen(Network.of({80: port}))


@pytest.mark.qemu
def test_no_port_at_all(listen: Callable[..., VM]) -> None:
    vm = listen(None)
    assert vm.ports == {}
    with pytest.raises(NetworkError, match="forwarded: none"):
        vm.url()


@pytest.mark.qemu
def test_a_capture_is_written_over_no_image(tmp_path: Path, guest_folder: Path) -> None:
    kernel = Guest().hang().assemble(guest_folder)
    disk = tmp_path / "x.img"
    disk.write_bytes(b"precious".ljust(512))
    older = tmp_path / "older.pcap"
    older.write_bytes(b"\xd4\xc3\xb2\xa1 and frames")
    for capture in (older, tmp_path / "new.pcap"):
        networks = (Network(capture=capture),)
        with VM(Machine(kernel=kernel, memory=16 << 20, disks=(Disk(disk),), networks=networks)):
            pass
        assert len(capture.read_bytes()) == 24  # the head of an empty capture
    with pytest.raises(MachineError, match=r"the place of .*x.img, which holds something else"):
        VM(Machine(kernel=kernel, memory=16 << 20, networks=(Network(capture=disk),)))
    assert disk.read_bytes().startswith(b"precious")


def test_a_capture_that_cannot_be_written(tmp_path: Path, guest_folder: Path) -> None:
    kernel = Guest().hang().assemble(guest_folder)
    capture = tmp_path / "no" / "such"
    with pytest.raises(MachineError, match="no/such"):
        VM(Machine(kernel=kernel, memory=16 << 20, networks=(Network(capture=capture),)))
