"""What stands between the cells of a table that people call CSV."""

from __future__ import annotations

import re

SEPARATORS = ",;\t"  # a semicolon where the comma is that of decimals, as in much of Europe


def separator_of(header: str) -> str:
    """The likeliest separator, by the first line; what stands in quotes does not count."""
    return max(SEPARATORS, key=re.sub(r'"[^"]*"', "", header).count)
