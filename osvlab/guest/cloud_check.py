"""Checking a cloud-init configuration before it boots: every complaint shows its line."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from osvlab.errors import OsvlabError

__all__ = ["CloudConfigError", "check", "parse"]

METHODS = ("GET", "PUT", "POST", "DELETE")

HOST_NAME_MAX = 64

EXAMPLE = (
    "print(osvlab.CloudConfig.make(hostname='web', files={'/tmp/a': 'b'}).text) shows one that is right."
)


class CloudConfigError(OsvlabError, ValueError):
    """A cloud-init configuration cannot be right."""


class _Complaint(Exception):
    """Something is wrong with a node."""

    def __init__(self, node: Node, what: str, hint: str | None = None) -> None:
        super().__init__(what)
        self.node = node
        self.what = what
        self.hint = hint


def parse(text: str, source: str) -> Node | None:
    """Return the node of a YAML text; None if it is empty.

    Raises
    ------
    CloudConfigError
        It is no YAML.
    """
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if error.context_mark is not None and "stream" in (error.problem or ""):
            mark = error.context_mark  # where it begins tells more than that it never ends
        what = " ".join(part for part in (error.context, error.problem) if part)
        if mark is None:
            raise CloudConfigError(
                f"{source} is no YAML: {what}",
                hint="Indent with blanks, and quote texts that hold ': ' or begin with a sign.",
            ) from error
        raise CloudConfigError(
            _shown(source, text, mark.line, mark.column, f"no YAML: {what}"),
            hint="Indent with blanks, and quote texts that hold ': ' or begin with a sign.",
        ) from error
    except yaml.YAMLError as error:
        raise CloudConfigError(
            f"{source} is no YAML: {error}",
            hint="Indent with blanks, and quote texts that hold ': ' or begin with a sign.",
        ) from error
    except RecursionError as error:
        raise CloudConfigError(
            f"{source} is nested too deeply", hint="A configuration needs a depth of four."
        ) from error


def check(node: Node | None, text: str, source: str) -> dict[str, Any]:
    """Check a configuration and return it as a dictionary.

    Raises
    ------
    CloudConfigError
        With the first thing that is wrong and its line.
    """
    try:
        if node is None:
            return {}
        _configuration(node)
    except _Complaint as complaint:
        mark = complaint.node.start_mark
        raise CloudConfigError(
            _shown(source, text, mark.line, mark.column, complaint.what), complaint.hint or EXAMPLE
        ) from None
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def _shown(source: str, text: str, line: int, column: int, what: str) -> str:
    lines = text.splitlines()
    shown = lines[line] if line < len(lines) else ""
    number = f"{line + 1}"
    return f"{source}, line {number}: {what}\n  {number} | {shown}\n  {' ' * len(number)} | {' ' * column}^"


# --- what a configuration is made of ---


def _configuration(node: Node) -> None:
    for key, value in _mapping(node, "a configuration"):
        name = _text(key, "a key")
        if name not in CHECKS:
            near = difflib.get_close_matches(name, CHECKS, 1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(CHECKS)}."
            raise _Complaint(key, f"unknown key: {name}", hint)
        CHECKS[name](value)


def _run(node: Node) -> None:
    for call in _sequence(node, "run"):
        methods: list[Node] = []
        for key, value in _mapping(call, "a call"):
            if _text(key, "a key") in METHODS:
                methods.append(key)
                uri = _text(value, "a path of the REST API")
                if not uri.startswith("/"):
                    raise _Complaint(value, f"not a path of the REST API: {uri}", f"Write /{uri}.")
            else:
                _text(value, f"the parameter {key.value}")
        if len(methods) != 1:
            raise _Complaint(
                methods[1] if methods else call,
                f"a call has exactly one of {', '.join(METHODS)}, and this one has {len(methods) or 'none'}",
            )


def _files(node: Node) -> None:
    for key, value in _mapping(node, "files"):
        path = _text(key, "a path")
        if not path.startswith("/") or path.endswith("/") or ".." in path.split("/"):
            raise _Complaint(key, f"not an absolute path of a file: {path}")
        _text(value, f"the contents of {path}")


def _hostname(node: Node) -> None:
    name = _text(node, "a host name")
    if (
        not name
        or len(name) > HOST_NAME_MAX
        or not all(c.isascii() and (c.isalnum() or c in "-.") for c in name)
    ):
        raise _Complaint(node, f"not a host name: {name!r}")


def _include(node: Node) -> None:
    for entry in _sequence(node, "include"):
        if isinstance(entry, ScalarNode) and entry.value == "load-from-cloud":
            continue
        pairs = _mapping(entry, "an entry of include")
        if len(pairs) != 1 or pairs[0][0].value not in ("file", "remote", "load-from-cloud"):
            raise _Complaint(entry, "an entry of include is one of file, remote, load-from-cloud")
        kind, value = pairs[0]
        if kind.value == "file":
            _text(value, "a path")
        else:
            parts = {_text(key, "a key") for key, _ in _mapping(value, kind.value)}
            if kind.value == "remote" and not {"server", "path"} <= parts:
                raise _Complaint(value, "remote needs a server and a path")


def _mounts(node: Node) -> None:
    for entry in _sequence(node, "mounts"):
        fields = _sequence(entry, "a mount")
        if len(fields) < 3 or _text(fields[2], "a type") != "nfs":
            raise _Complaint(entry, "a mount is [server:/folder, mount point, nfs, ...]")


def _settings(node: Node) -> None:
    _mapping(node, "settings")


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


# --- kinds of nodes ---


def _mapping(node: Node, what: str) -> list[tuple[Node, Node]]:
    if not isinstance(node, MappingNode):
        raise _Complaint(node, f"{what} must be a mapping (key: value), and is {_kind(node)}")
    seen: set[str] = set()
    for key, _ in node.value:
        name = _text(key, "a key")
        if name in seen:
            raise _Complaint(key, f"{name} is there twice")
        seen.add(name)
    return list(node.value)


def _sequence(node: Node, what: str) -> list[Node]:
    if not isinstance(node, SequenceNode):
        raise _Complaint(node, f"{what} must be a list (- item), and is {_kind(node)}")
    return list(node.value)


def _text(node: Node, what: str) -> str:
    if not isinstance(node, ScalarNode):
        raise _Complaint(node, f"{what} must be a text, and is {_kind(node)}")
    return str(node.value)


def _kind(node: Node) -> str:
    kinds = {MappingNode: "a mapping", SequenceNode: "a list", ScalarNode: "a text"}
    return kinds.get(type(node), "something else")
