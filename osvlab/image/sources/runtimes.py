"""Capstan's runtimes: what ``meta/run.yaml`` says of Java, Node, Python and native programs.

Each becomes a command of another package, its *base*, that finds its parameters in environment variables;
which ones are Capstan's (its `runtime` package). A native program has a command of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from yaml.nodes import Node

from osvlab.yaml_text import Complaint, flag, is_empty, path_of, sequence

__all__ = ["RUNTIMES", "Runtime", "Value"]

Value = str | tuple[str, ...]
"""Of an environment variable: a text, or several words that a command shall get one by one."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """A way to run programs.

    Attributes
    ----------
    name
        What run.yaml calls it.
    package, config_set
        Whose command it uses when run.yaml names no base; empty for native programs.
    compatible
        Matches other packages whose commands take the same variables.
    lists, texts
        Keys that become variables, and which.
    defaults
        Variables that have to have some value.
    shell
        What MAIN is when ``shell: true`` asks for an interpreter without a program; None if it cannot.
    """

    name: str
    package: str = ""
    config_set: str = ""
    compatible: str = "(?!)"
    lists: tuple[tuple[str, str], ...] = ()
    texts: tuple[tuple[str, str], ...] = ()
    defaults: tuple[tuple[str, str], ...] = ()
    shell: str | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of a config_set, besides ``env`` and ``base``."""
        if not self.package:
            return ("bootcmd",)
        names = [key for key, _ in (*self.texts, *self.lists)]
        return (*names, "shell") if self.shell is not None else tuple(names)

    def takes_variables_of(self, package: str) -> bool:
        """Whether a package's command takes the variables of this runtime."""
        return package == self.package or re.search(self.compatible, package) is not None

    def variables(self, keys: dict[str, Node], env: dict[str, str], owner: Node) -> dict[str, Value]:
        """Return what the command is told.

        Parameters
        ----------
        keys
            The keys of a config_set, those of this runtime.
        env
            Its ``env``, which counts more.
        owner
            The config_set, for complaints.

        Raises
        ------
        Complaint
            ``main`` is missing, or there is what does not go together.
        """
        found: dict[str, Value] = dict(self.defaults)
        for key, variable in self.texts:
            if key in keys and path_of(keys[key], key):
                found[variable] = path_of(keys[key], key)
        for key, variable in self.lists:
            words = tuple(path_of(item, f"an item of {key}") for item in _items(keys.get(key), key))
            if words:
                found[variable] = words[0] if len(words) == 1 else words
        if "shell" in keys and flag(keys["shell"], "shell"):
            for name in ("MAIN", "ARGS"):
                if name in found or env.get(name):
                    raise Complaint(keys["shell"], f"shell: true does not go together with {name.lower()}")
            found |= {"MAIN": self.shell or "", "ARGS": ""}
        elif "MAIN" not in found and "MAIN" not in env:
            raise Complaint(owner, "main is missing: nothing says which program to run")
        self._join_paths(found)
        return {**found, **env}

    def _join_paths(self, found: dict[str, Value]) -> None:
        """Do what is special about Java: a class path is one word, and a jar wants an option."""
        if self.name != "java":
            return
        path = found["CLASSPATH"]
        found["CLASSPATH"] = path if isinstance(path, str) else ":".join(path)
        main, options = found.get("MAIN", ""), found["JVM_ARGS"]
        given = (options,) if isinstance(options, str) else options
        if isinstance(main, str) and main.endswith(".jar") and "-jar" not in given:
            words = (*(word for word in given if word != _NO_JVM_ARGS), "-jar")
            found["JVM_ARGS"] = words[0] if len(words) == 1 else words


# A variable that is empty would become an empty word of the command; these change nothing.
_NO_JVM_ARGS = "-Dx=y"

RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime("native"),
        Runtime(
            "java",
            "openjdk8-zulu-compact1",
            "java",
            compatible="^openjdk",
            texts=(("main", "MAIN"), ("xms", "XMS"), ("xmx", "XMX")),
            lists=(("args", "ARGS"), ("classpath", "CLASSPATH"), ("jvm_args", "JVM_ARGS")),
            defaults=(("CLASSPATH", "/"), ("JVM_ARGS", _NO_JVM_ARGS)),
        ),
        Runtime(
            "node",
            "node-4.4.5",
            "node",
            compatible="node",
            texts=(("main", "MAIN"),),
            lists=(("args", "ARGS"), ("node_args", "NODE_ARGS")),
            defaults=(("NODE_ARGS", "--"),),
            shell="",
        ),
        Runtime(
            "python",
            "python-2.7",
            "python",
            compatible="python",
            texts=(("main", "MAIN"),),
            lists=(("args", "ARGS"), ("python_args", "PYTHON_ARGS")),
            defaults=(("PYTHON_ARGS", "-O"),),
            shell="-",
        ),
    )
}
"""The runtimes by name."""


def _items(node: Node | None, key: str) -> list[Node]:
    return [] if node is None or is_empty(node) else sequence(node, key)
