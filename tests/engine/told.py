"""What a run told."""

from __future__ import annotations


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def steps(kind, events):
    return [event.step for event in of(kind, events)]
