"""YAML that people wrote: every complaint shows the line that caused it.

A text becomes nodes that know where they stand; what is read from them is checked on the way, and
whatever is wrong with a node is a `Complaint`, which `explained` turns into an error of the caller's kind.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterable, Iterator

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from osvlab.errors import OsvlabError

__all__ = [
    "Complaint",
    "explained",
    "flag",
    "is_empty",
    "kind_of",
    "known_keys",
    "mapping",
    "parse",
    "path_of",
    "sequence",
    "text_of",
    "where",
]

_QUOTING = "Indent with blanks, and quote texts that hold ': ' or begin with a sign."

MakeError = Callable[[str, str], OsvlabError]


class Complaint(Exception):
    """Something is wrong with a node."""

    def __init__(self, node: Node, what: str, hint: str | None = None) -> None:
        super().__init__(what)
        self.node = node
        self.what = what
        self.hint = hint


def parse(text: str, source: str, error: MakeError) -> Node | None:
    """Return the node of a YAML text; None if it is empty.

    Parameters
    ----------
    text
        The YAML.
    source
        What it is called, for messages.
    error
        Makes the error of a message and a hint, which is raised when the text is no YAML.
    """
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as found:
        mark = found.problem_mark or found.context_mark
        if found.context_mark is not None and "stream" in (found.problem or ""):
            mark = found.context_mark  # where it begins tells more than that it never ends
        what = " ".join(part for part in (found.context, found.problem) if part)
        if mark is None:
            raise error(f"{source} is no YAML: {what}", _QUOTING) from found
        raise error(_shown(source, text, mark.line, mark.column, f"no YAML: {what}"), _QUOTING) from found
    except yaml.YAMLError as found:
        raise error(f"{source} is no YAML: {found}", _QUOTING) from found
    except RecursionError as found:
        raise error(f"{source} is nested too deeply", "A depth of four is enough.") from found


@contextlib.contextmanager
def explained(text: str, source: str, error: MakeError, hint: str) -> Iterator[None]:
    """Turn a complaint in the block into an error that shows the line; `hint` is for those without one.

    Examples
    --------
    >>> text = "colour: [red]"
    >>> with explained(text, "house.yaml", OsvlabError, "Look into the manual."):
    ...     for key, value in mapping(parse(text, "house.yaml", OsvlabError), "a house"):
    ...         text_of(value, "a colour")
    Traceback (most recent call last):
    osvlab.errors.OsvlabError: house.yaml, line 1: a colour must be a text, and is a list
      1 | colour: [red]
        |         ^
    hint: Look into the manual.
    """
    try:
        yield
    except Complaint as complaint:
        mark = complaint.node.start_mark
        message = _shown(source, text, mark.line, mark.column, complaint.what)
        raise error(message, complaint.hint or hint) from None


def _shown(source: str, text: str, line: int, column: int, what: str) -> str:
    lines = text.splitlines()
    shown = lines[line] if line < len(lines) else ""
    number = f"{line + 1}"
    return f"{source}, line {number}: {what}\n  {number} | {shown}\n  {' ' * len(number)} | {' ' * column}^"


def where(node: Node) -> int:
    """Return the number of the line in which a node begins, counted from 1."""
    return int(node.start_mark.line) + 1


def mapping(node: Node | None, what: str) -> list[tuple[Node, Node]]:
    """Return the pairs of a mapping, no key of which is there twice; none of nothing."""
    if node is None:
        return []
    if not isinstance(node, MappingNode):
        raise Complaint(node, f"{what} must be a mapping (key: value), and is {kind_of(node)}")
    seen: set[str] = set()
    for key, _ in node.value:
        name = text_of(key, "a key")
        if name in seen:
            raise Complaint(key, f"{name} is there twice")
        seen.add(name)
    return list(node.value)


def known_keys(node: Node | None, what: str, known: Iterable[str]) -> dict[str, Node]:
    """Return the values of a mapping by their keys, all of which have to be known."""
    known = list(known)
    found: dict[str, Node] = {}
    for key, value in mapping(node, what):
        name = text_of(key, "a key")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
            raise Complaint(key, f"unknown key: {name}", hint)
        found[name] = value
    return found


def sequence(node: Node, what: str) -> list[Node]:
    """Return the items of a list."""
    if not isinstance(node, SequenceNode):
        raise Complaint(node, f"{what} must be a list (- item), and is {kind_of(node)}")
    return list(node.value)


def text_of(node: Node, what: str) -> str:
    """Return a scalar as it was written: numbers and dates too."""
    if not isinstance(node, ScalarNode):
        raise Complaint(node, f"{what} must be a text, and is {kind_of(node)}")
    return str(node.value)


def path_of(node: Node, what: str) -> str:
    """Return a text that an operating system takes: one without NUL characters."""
    text = text_of(node, what)
    if "\0" in text:
        raise Complaint(node, f"{what} has a NUL character")
    return text


def flag(node: Node, what: str) -> bool:
    """Return a truth value, in any of the ways in which YAML writes one."""
    if not isinstance(node, ScalarNode) or node.tag != "tag:yaml.org,2002:bool":
        raise Complaint(node, f"{what} must be true or false, and is {kind_of(node)}")
    return str(node.value).lower() in ("true", "yes", "on")


def is_empty(node: Node) -> bool:
    """Whether nothing is written after a key."""
    return isinstance(node, ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def kind_of(node: Node) -> str:
    """Say in words what a node is."""
    kinds = {MappingNode: "a mapping", SequenceNode: "a list", ScalarNode: "a text"}
    return kinds.get(type(node), "something else")
