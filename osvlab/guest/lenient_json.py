"""Reading the JSON that guests send, which is not always JSON.

OSv (modules/httpserver-api/json2code.py) writes the word Unknown without quotes for a
value that its listing does not name, and does not escape control characters in strings.
"""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["loads"]

# A string, to be left alone, or a bare word.
_BARE = re.compile(r'("(?:[^"\\]|\\.)*")|\bUnknown\b', re.DOTALL)


def loads(text: str | bytes) -> Any:
    """Return the value of a JSON text, or of what OSv takes for one.

    Raises
    ------
    ValueError
        It is neither.

    Examples
    --------
    >>> loads('{"status": Unknown, "name": "Unknown"}')
    {'status': 'Unknown', 'name': 'Unknown'}
    """
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    try:
        return json.loads(text, strict=False)
    except ValueError:
        return json.loads(_BARE.sub(lambda found: found[1] or '"Unknown"', text), strict=False)
