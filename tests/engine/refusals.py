"""How a model is refused."""

from __future__ import annotations

import json

import pytest

from trainer.engine.model import load_model
from trainer.errors import ModelError


def edit(file, **changes):
    content = json.loads(file.read_text("utf-8")) if file.exists() else {}
    file.write_text(json.dumps(content | changes), "utf-8")


def refusal(folder):
    """The words in which a model is refused."""
    with pytest.raises(ModelError) as caught:
        load_model(str(folder))
    assert caught.value.fix and "\n" not in str(caught.value) and str(folder) not in str(caught.value)
    return str(caught.value)
