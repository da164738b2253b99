"""Checking a cloud-init configuration before it boots: every complaint shows its line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml
from yaml.nodes import Node, ScalarNode

from osvlab import yaml_text
from osvlab.errors import OsvlabError
from osvlab.yaml_text import Complaint, known_keys, mapping, sequence, text_of

__all__ = ["CloudConfigError", "check", "parse"]

METHODS = ("GET", "PUT", "POST", "DELETE")

HOST_NAME_MAX = 64

EXAMPLE = (
    "print(osvlab.CloudConfig.make(hostname='web', files={'/tmp/a': 'b'}).text) shows one that is right."
)


class CloudConfigError(OsvlabError, ValueError):
    """A cloud-init configuration cannot be right."""


def parse(text: str, source: str) -> Node | None:
    """Return the node of a YAML text; None if it is empty.

    Raises
    ------
    CloudConfigError
        It is no YAML.
    """
    return yaml_text.parse(text, source, CloudConfigError)


def check(node: Node | None, text: str, source: str) -> dict[str, Any]:
    """Check a configuration and return it as a dictionary.

    Raises
    ------
    CloudConfigError
        With the first thing that is wrong and its line.
    """
    if node is None:
        return {}
    with yaml_text.explained(text, source, CloudConfigError, EXAMPLE):
        _configuration(node)
    document: dict[str, Any] = yaml.safe_load(text)
    return document


# --- what a configuration is made of ---


def _configuration(node: Node) -> None:
    for name, value in known_keys(node, "a configuration", CHECKS).items():
        CHECKS[name](value)


def _run(node: Node) -> None:
    for call in sequence(node, "run"):
        methods: list[Node] = []
        for key, value in mapping(call, "a call"):
            if text_of(key, "a key") in METHODS:
                methods.append(key)
                uri = text_of(value, "a path of the REST API")
                if not uri.startswith("/"):
                    raise Complaint(value, f"not a path of the REST API: {uri}", f"Write /{uri}.")
            else:
                text_of(value, f"the parameter {key.value}")
        if len(methods) != 1:
            raise Complaint(
                methods[1] if methods else call,
                f"a call has exactly one of {', '.join(METHODS)}, and this one has {len(methods) or 'none'}",
            )


def _files(node: Node) -> None:
    for key, value in mapping(node, "files"):
        path = text_of(key, "a path")
        if not path.startswith("/") or path.endswith("/") or ".." in path.split("/"):
            raise Complaint(key, f"not an absolute path of a file: {path}")
        text_of(value, f"the contents of {path}")


def _hostname(node: Node) -> None:
    name = text_of(node, "a host name")
    if (
        not name
        or len(name) > HOST_NAME_MAX
        or not all(c.isascii() and (c.isalnum() or c in "-.") for c in name)
    ):
        raise Complaint(node, f"not a host name: {name!r}")


def _include(node: Node) -> None:
    for entry in sequence(node, "include"):
        if isinstance(entry, ScalarNode) and entry.value == "load-from-cloud":
            continue
        pairs = mapping(entry, "an entry of include")
        if len(pairs) != 1 or pairs[0][0].value not in ("file", "remote", "load-from-cloud"):
            raise Complaint(entry, "an entry of include is one of file, remote, load-from-cloud")
        kind, value = pairs[0]
        if kind.value == "file":
            text_of(value, "a path")
        else:
            parts = {text_of(key, "a key") for key, _ in mapping(value, kind.value)}
            if kind.value == "remote" and not {"server", "path"} <= parts:
                raise Complaint(value, "remote needs a server and a path")


def _mounts(node: Node) -> None:
    for entry in sequence(node, "mounts"):
        fields = sequence(entry, "a mount")
        if len(fields) < 3 or text_of(fields[2], "a type") != "nfs":
            raise Complaint(entry, "a mount is [server:/folder, mount point, nfs, ...]")


def _settings(node: Node) -> None:
    mapping(node, "settings")


CHECKS: dict[str, Callable[[Node], None]] = {
    "run": _run,
    "files": _files,
    "hostname": _hostname,
    "mounts": _mounts,
    "httpserver": _settings,
    "monitor-agent": _settings,
    "include": _include,
    "cassandra": _settings,
}
