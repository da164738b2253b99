"""``meta/run.yaml``: the ways in which a package can be run, each of which becomes a script in the guest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from yaml.nodes import Node

from osvlab.errors import OsvlabError
from osvlab.image.collection import RecipeError
from osvlab.image.command import CommandError, parse_command, quote
from osvlab.image.sources.runtimes import RUNTIMES, Runtime, Value
from osvlab.yaml_text import (
    Complaint,
    explained,
    is_empty,
    known_keys,
    mapping,
    parse,
    path_of,
    text_of,
    where,
)

__all__ = ["ConfigSet", "RunConfig", "run_scripts"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_VARIABLE = re.compile(r"[^\s=?$]+")
_EXAMPLE = "One that is right: runtime: native, config_set: {default: {bootcmd: /hello}}."


@dataclass(frozen=True, slots=True)
class ConfigSet:
    """One way to run a package.

    Attributes
    ----------
    name
        What it is called; its script is ``/run/NAME``.
    line
        Where it is in its run.yaml.
    command
        What a native program is run with; None if it is the command of `base`.
    base
        Package and config_set whose command is used.
    env
        What the command is told.
    """

    name: str
    line: int
    command: str | None
    base: tuple[str, str] | None
    env: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class RunConfig:
    """A run.yaml.

    Attributes
    ----------
    source
        Which one, for messages.
    sets
        The config_sets by name.
    default
        Those that are run, in order, when nobody chooses; may be empty.
    """

    source: str
    sets: Mapping[str, ConfigSet]
    default: tuple[str, ...]

    @property
    def requires(self) -> tuple[str, ...]:
        """Packages whose commands are used, each once."""
        return tuple(dict.fromkeys(found.base[0] for found in self.sets.values() if found.base))

    @classmethod
    def parse(cls, text: str, source: str) -> RunConfig:
        r"""Read a run.yaml.

        Raises
        ------
        RecipeError
            Something in it cannot be right; the line is shown.

        Examples
        --------
        >>> told = "runtime: python\nconfig_set: {web: {main: /web.py}}\nconfig_set_default: web"
        >>> config = RunConfig.parse(told, "run.yaml")
        >>> config.default, config.requires, config.sets["web"].env["MAIN"]
        (('web',), ('python-2.7',), '/web.py')
        """
        with explained(text, source, RecipeError, _EXAMPLE):
            node = parse(text, source, RecipeError)
            keys = known_keys(node, "run.yaml", ("runtime", "config_set", "config_set_default"))
            if node is None or "runtime" not in keys:
                raise RecipeError(f"{source} names no runtime", hint=_EXAMPLE)
            runtime = _runtime(keys["runtime"])
            pairs = mapping(keys.get("config_set"), "config_set")
            if not pairs:
                raise Complaint(node, "there has to be at least one config_set")
            sets = {text_of(key, "a name"): _config_set(key, value, runtime) for key, value in pairs}
            chosen = text_of(keys["config_set_default"], "a name") if "config_set_default" in keys else ""
        return cls(source, sets, tuple(name.strip() for name in chosen.split(",") if name.strip()))


def _runtime(node: Node) -> Runtime:
    name = text_of(node, "runtime")
    if name not in RUNTIMES:
        raise Complaint(node, f"unknown runtime: {name}", f"There are: {', '.join(RUNTIMES)}.")
    return RUNTIMES[name]


def _config_set(key: Node, node: Node, runtime: Runtime) -> ConfigSet:
    name = text_of(key, "a name")
    if not _NAME.fullmatch(name):
        raise Complaint(key, f"not a name for a config_set, which becomes a file's: {name!r}")
    what = f"a config_set of the runtime {runtime.name}"
    keys = {
        key: value
        for key, value in known_keys(node, what, ("env", "base", *runtime.keys)).items()
        if not is_empty(value)
    }
    env = _env(keys.pop("env", None))
    base = _base(keys.pop("base", None))
    if base is None and not runtime.package:
        return ConfigSet(name, where(key), _command(keys, node), None, env)
    package, config_set = base or (runtime.package, runtime.config_set)
    told: Mapping[str, Value] = env
    if runtime.takes_variables_of(package):
        told = runtime.variables(keys, env, node)
    elif keys:
        given = next(iter(keys))
        raise Complaint(
            keys[given],
            f"{given} does not go together with the base {package}, whose command does not take it",
            "Tell it with env what it does take.",
        )
    return ConfigSet(name, where(key), None, (package, config_set), told)


def _env(node: Node | None) -> dict[str, str]:
    found = {}
    for key, value in mapping(node, "env"):
        name = text_of(key, "a name")
        if not _VARIABLE.fullmatch(name):
            raise Complaint(key, f"not a name for an environment variable: {name!r}")
        found[name] = path_of(value, f"the value of {name}")
    return found


def _base(node: Node | None) -> tuple[str, str] | None:
    if node is None:
        return None
    package, colon, config_set = text_of(node, "base").partition(":")
    if not (colon and _NAME.fullmatch(package) and _NAME.fullmatch(config_set)):
        raise Complaint(node, "base is PACKAGE:CONFIG_SET", "Write it like openjdk8-zulu-compact1:java.")
    return package, config_set


def _command(keys: dict[str, Node], owner: Node) -> str:
    if "bootcmd" not in keys:
        raise Complaint(owner, "bootcmd is missing: nothing says what to run")
    command = " ".join(path_of(keys["bootcmd"], "bootcmd").split("\n")).strip()
    try:
        if not parse_command(command):
            raise Complaint(keys["bootcmd"], "bootcmd is empty: there is nothing to run")
    except CommandError as error:
        raise Complaint(keys["bootcmd"], error.message, error.hint) from error
    return command


# --- from config_sets to scripts ---------------------------------------------------------------------------


def run_scripts(configs: Mapping[str, RunConfig]) -> dict[str, tuple[str, str, str]]:
    """Return the scripts of packages by name: text, package, and where it is described.

    Parameters
    ----------
    configs
        The run.yaml of each package, in the order of the packages: of two scripts with one name the
        later one counts.

    Raises
    ------
    RecipeError
        A base is not among the packages, has no such config_set, or they lead in a circle.
    """
    scripts = {}
    for package, config in configs.items():
        for name, found in config.sets.items():
            told = f"{config.source}, line {found.line}"
            scripts[name] = (_script(package, name, configs, told), package, told)
    return scripts


def _script(package: str, name: str, configs: Mapping[str, RunConfig], told: str) -> str:
    env: dict[str, Value] = {}
    chain: list[str] = []
    while True:
        label = f"{package}:{name}"
        if label in chain:
            raise _no_base(told, f"bases lead in a circle: {' -> '.join([*chain, label])}")
        chain.append(label)
        if package not in configs:
            raise _no_base(told, f"the base {label} is in no package that is required and has a run.yaml")
        found = configs[package].sets.get(name)
        if found is None:
            known = ", ".join(configs[package].sets)
            raise _no_base(told, f"the package {package} has no config_set {name}; it has {known}")
        env = {**found.env, **env}
        if found.base is None:
            assert found.command is not None
            return with_env(found.command, env)
        package, name = found.base


def _no_base(told: str, what: str) -> OsvlabError:
    return RecipeError(
        f"{told}: {what}", hint="Write it like base: PACKAGE:CONFIG_SET, and require PACKAGE."
    )


def with_env(command: str, env: Mapping[str, Value]) -> str:
    """Return a line of a script that runs a command with variables, unless they are set already.

    Several words of one variable stand in the command itself, where it is ``$NAME``: the guest would
    make one word of them.

    Examples
    --------
    >>> with_env("/node $NODE_ARGS $MAIN $ARGS", {"MAIN": "/web.js", "ARGS": ("--port", "80")})
    '--env=MAIN?=/web.js /node $NODE_ARGS $MAIN --port 80'
    >>> print(with_env("/hello", {"NAME": "two words"}))
    "--env=NAME?=two words" /hello
    """
    options = []
    for name, value in sorted(env.items()):
        if isinstance(value, tuple):
            words = " ".join(quote(word) for word in value)
            alone = rf"(?<!\S)\${re.escape(name)}(?![^\s;&!])"
            command, count = re.subn(alone, lambda _, words=words: words, command)  # type: ignore[misc]
            if count:
                continue
            value = " ".join(value)
        options.append(quote(f"--env={name}?={value}"))
    return " ".join([*options, command])
