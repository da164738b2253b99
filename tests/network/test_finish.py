"""A program that writes, closes and ends: its guest delivers all before it powers off."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

import osvlab
from osvlab.vm.outcome import Exited

pytestmark = pytest.mark.qemu

SIZE = 240_000
SOURCE = f"""
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {{
    static char data[{SIZE}];
    int size = sizeof(data), s = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {{.sin_family = AF_INET, .sin_port = htons(atoi(argv[argc - 1]))}};
    to.sin_addr.s_addr = inet_addr("10.0.2.2");
    setsockopt(s, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)); // so that write need not wait
    if (connect(s, (struct sockaddr *)&to, sizeof(to)))
        return 1;
    return write(s, data, sizeof(data)) != sizeof(data);
}}
"""


def test_what_was_written_arrives_though_the_program_has_ended(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    words = ["gcc", "-x", "c", "-", "-o", str(tree / "write")]
    subprocess.run(words, input=SOURCE, text=True, check=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        command = f"/write {server.getsockname()[1]}"
        with osvlab.run(tree, command, timeout=60, network=True) as vm:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(60)
                got = sum(iter(lambda: len(connection.recv(1 << 16)), 0))
            assert vm.wait() == Exited(0)
    assert got == SIZE
