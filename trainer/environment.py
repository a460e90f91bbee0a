"""What a child process sees of the environment: everything but secrets; and how its threads wait for each other."""

from __future__ import annotations

import re
from collections.abc import Mapping

SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY|CREDENTIALS?)(_|$)", re.IGNORECASE)
# Threads that wait look so often whether there is work, then sleep: long enough to find it where they have the machine
# to themselves, too short to keep the page and other work from a processor.
SHORT_WAIT = {"GOMP_SPINCOUNT": "1000"}


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are no secrets, and one that keeps the Hub's client from looking for a token on the disk."""
    kept = {name: value for name, value in environment.items() if not SECRET.search(name)}
    return kept | {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
