"""The README tells the truth: settings, files, commands and the head that a Space reads."""

from __future__ import annotations

import re
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainer.config import TrainConfig, kind_of

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
HEAD: dict[str, Any] = yaml.safe_load(README.split("---")[1])


def settings_table() -> str:
    """The table as it must stand in the README."""
    rows = ["| setting | default | takes | meaning |", "|---|---|---|---|"]
    for f in fields(TrainConfig):
        facts = f.metadata
        takes = kind_of(f)
        if facts["choices"]:
            takes = ", ".join(facts["choices"])
        elif facts["low"] is not None:
            takes += f", {facts['low']:g} to {facts['high']:g}"
        default = "" if f.default is None else f"`{f.default}`"
        rows.append(f"| `{f.name}` | {default} | {takes} | {facts['doc']} |")
    return "\n".join(rows)


def test_the_settings_table_is_the_configurations() -> None:
    table = README.split("<!-- settings -->\n")[1].split("\n<!-- /settings -->")[0]
    assert table == settings_table(), f"README needs:\n{settings_table()}"


@pytest.mark.parametrize("path", sorted(PROJECT.glob("trainer/**/[a-z]*.py")), ids=lambda path: path.name)
def test_every_file_has_a_line_in_the_map(path: Path) -> None:
    assert f"`{path.name}` |" in README.split("## Where things are")[1]


def test_the_map_names_no_file_that_is_gone() -> None:
    named = re.findall(r"^\| `([\w/]+\.py)`", README, re.MULTILINE)
    assert named and all(any(PROJECT.glob(f"**/{name}")) for name in named)


def test_the_head_is_what_a_space_takes() -> None:
    assert HEAD["sdk"] == "gradio" and HEAD["app_file"] == "app.py" and HEAD["license"] == "apache-2.0"
    assert HEAD["sdk_version"] == version("gradio")
    assert HEAD["python_version"] == "3.12"
    assert len(HEAD["short_description"]) <= 60
    assert HEAD["models"] and HEAD["datasets"] and HEAD["hf_oauth"] is True and HEAD["suggested_hardware"]


def test_pictures_and_commands_exist() -> None:
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (PROJECT / picture).exists()
    from trainer.__main__ import main

    for command in set(re.findall(r"python -m trainer (\w+)", README)):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
