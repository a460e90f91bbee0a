"""In which scripts a text is written, which tells much about its language."""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from collections.abc import Iterable

LETTERS = 50_000  # looked at
LEAST = 0.01  # of the letters; rarer scripts are not named
NAMES = {"CJK": "Chinese characters", "HANGUL": "Korean", "HIRAGANA": "Japanese", "KATAKANA": "Japanese",
         "FULLWIDTH": "Latin", "HALFWIDTH": "Japanese", "KANGXI": "Chinese characters"}  # fmt: skip


def scripts_of(texts: Iterable[str]) -> dict[str, float]:
    """Scripts with their share of the letters, the commonest first."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(filter(None, map(_script, text[: LETTERS // 10])))
        if counts.total() >= LETTERS:
            break
    if counts["Japanese"] > counts["Chinese characters"] / 9:  # Japanese is written in both
        counts["Japanese"] += counts.pop("Chinese characters", 0)
    total = max(1, counts.total())
    return {name: count / total for name, count in counts.most_common() if count >= LEAST * total}


@functools.lru_cache(maxsize=10_000)
def _script(character: str) -> str | None:
    if not character.isalpha():
        return None
    first = unicodedata.name(character, "").partition(" ")[0]
    return NAMES.get(first, first.capitalize()) or None
