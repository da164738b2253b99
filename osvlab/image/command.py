r"""The command of an image: which programs it starts, in the grammar of OSv.

Commands end with ``;`` (wait for it), ``&`` or ``&!`` (in the background) or ``!``.
A word is bare or in double quotes, with backslash escapes in both; single quotes
mean nothing. A `$` makes the rest of its word the name of an environment variable.

Source of the grammar: OSv, `core/commands.cc`.
"""

from __future__ import annotations

import re

from osvlab.errors import OsvlabError

__all__ = ["CommandError", "join_command_line", "parse_command", "quote", "split_command_line"]

_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r\n\f\v]+)
      | (?P<end>;|&!|&|!)
      | "(?P<quoted>(?:\\.|[^"\\])*)"
      | (?P<bare>(?:\\.|[^ \t\r\n\f\v;&!"\\])(?:\\.|[^ \t\r\n\f\v;&!\\])*)""",
    re.VERBOSE | re.DOTALL,
)


# What parts options in the guest; in commands there are more blanks.
_BLANKS = " \t\n"
_OPTIONS = re.compile(r"(?:[ \t\n]*-(?:\\.?|[^ \t\n\\])*)*", re.DOTALL)


class CommandError(OsvlabError, ValueError):
    """A command cannot be understood."""


def parse_command(command: str) -> list[list[str]]:
    r"""Return the commands, each as its words, with quotes and escapes resolved.

    Raises
    ------
    CommandError
        A quote is not closed, or the text ends with a backslash.

    Examples
    --------
    >>> parse_command('/server & /client "two words" a\\;b; /done')
    [['/server'], ['/client', 'two words', 'a;b'], ['/done']]
    """
    commands: list[list[str]] = [[]]
    position = 0
    while position < len(command):
        match = _TOKEN.match(command, position)
        if match is None:
            what = "a double quote" if command[position] == '"' else "a backslash"
            raise CommandError(
                f"{what} without its end in the command: {command[position : position + 40]!r}",
                hint=r"Write \" for a quote and \\ for a backslash.",
            )
        position = match.end()
        if match["end"]:
            commands.append([])
        elif not match["blank"]:
            word = match["quoted"] if match["quoted"] is not None else match["bare"]
            commands[-1].append(re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), word, flags=re.DOTALL))
    return [words for words in commands if words]


def quote(word: str) -> str:
    r"""Write a word so that the guest reads it back as it is.

    Examples
    --------
    >>> print(quote("/hello"), quote("two words"), quote('say "hi"'))
    /hello "two words" "say \"hi\""
    """
    if word and not re.search(r'[\s;&!"\\]', word):
        return word
    return '"' + re.sub(r'(["\\])', r"\\\1", word) + '"'


def split_command_line(line: str) -> tuple[str, str]:
    r"""Part a kernel's command line into its own options and the application's command.

    All leading words that start with a dash are the kernel's; a backslash makes
    the next character an ordinary one.

    Examples
    --------
    >>> split_command_line("--rootfs=rofs --verbose /hello --loud")
    ('--rootfs=rofs --verbose', '/hello --loud')
    """
    options = _OPTIONS.match(line)
    assert options is not None  # the pattern also matches nothing
    return _trimmed(options[0]), _trimmed(line[options.end() :])


def join_command_line(options: str, command: str) -> str:
    """Put kernel options and a command together.

    Examples
    --------
    >>> join_command_line("--verbose", "/hello"), join_command_line("", "/hello")
    ('--verbose /hello', '/hello')
    """
    return " ".join(part for part in (options, _trimmed(command)) if part)


def _trimmed(text: str) -> str:
    """Take away the blanks around a text, but for one that a backslash makes an ordinary character."""
    begun = text.lstrip(_BLANKS)
    bare = begun.rstrip(_BLANKS)
    backslashes = len(bare) - len(bare.rstrip("\\"))
    return begun[: len(bare) + backslashes % 2]
