"""A name that the user gives to a run: what may be one."""

from __future__ import annotations

import unicodedata

from trainer.errors import RunError

LABEL_CHARACTERS = 60
BIDI_CONTROLS = frozenset(
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)  # would turn round the text after it


def checked_label(text: str) -> str:
    """`text` on one line, without blanks around it; empty means none. Raises: RunError for what can't be a name."""
    label = " ".join(str(text).split())
    if len(label) > LABEL_CHARACTERS:
        what = f"The name has {len(label)} characters; it may have {LABEL_CHARACTERS}."
        raise RunError(what, "Give it a shorter one.")
    if any(unicodedata.category(c) in ("Cc", "Cs", "Cn") or c in BIDI_CONTROLS for c in label):
        raise RunError("The name holds a character that can't be shown.", "Type it anew.")
    return label
