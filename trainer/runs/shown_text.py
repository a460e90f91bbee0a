"""The text of a run's files as others may read it: without the paths of this machine."""

from __future__ import annotations

import functools
import os
import re
import sys
import tempfile
from pathlib import Path

from trainer.runs.launch import PROJECT

EVERYBODYS = ("/", "/usr", "/usr/local")  # tell nothing about this machine


def without_machine_paths(text: str, home: Path) -> str:
    """`text` with this machine's folders replaced by short words, the innermost first."""
    words, pattern = _folders(str(home))
    return pattern.sub(lambda found: words[found[0]], text)


@functools.cache
def _folders(home: str) -> tuple[dict[str, str], re.Pattern[str]]:
    """What each folder is called, and what finds them where they stand whole: `/app` is not in `/data/app-2`."""
    named = {
        tempfile.gettempdir(): "(temporary)",
        os.path.expanduser("~"): "~",
        sys.base_prefix: "(Python)",
        sys.prefix: "(Python)",
        str(PROJECT): "(Mask Studio)",
        home: "(runs)",
    }
    words = {spelled: word for path, word in named.items() for spelled in (os.path.realpath(path), path)}
    words = {path: word for path, word in words.items() if path not in EVERYBODYS}
    innermost_first = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    return words, re.compile(rf"(?<![\w.-])(?:{innermost_first})(?![\w.-])")
