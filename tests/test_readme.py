"""The README tells the truth: settings, files, commands and the head that a Space reads."""

from __future__ import annotations

import re
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from trainer.config import TrainConfig, kind_of
from trainer.presets import DATASETS, MODELS

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


def test_the_head_has_no_key_or_colour_that_a_space_does_not_know() -> None:
    keys = """title emoji colorFrom colorTo sdk sdk_version python_version app_file short_description license
        suggested_hardware hf_oauth hf_oauth_scopes models datasets tags pinned thumbnail preload_from_hub
        startup_duration_timeout disable_embedding fullWidth header""".split()
    assert set(HEAD) <= set(keys) and {"title", "emoji", "colorFrom", "colorTo"} <= set(HEAD)
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {HEAD["colorFrom"], HEAD["colorTo"]} <= colours
    assert HEAD["hf_oauth_scopes"] == ["contribute-repos"]  # the least with which a model can be published


def test_the_spaces_own_requirements_agree_with_ours() -> None:
    """A Space installs `gradio[oauth,mcp]==sdk_version` beside the file, so the file must let it."""
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").split()
    requirements = {requirement.name: requirement for requirement in map(Requirement, lines)}
    assert HEAD["sdk_version"] in requirements["gradio"].specifier
    assert "pydantic" not in requirements  # the mcp extra pins it
    for name, requirement in requirements.items():
        assert version(name) in requirement.specifier, name


def test_models_and_data_of_the_head_are_those_on_offer() -> None:
    offered = {preset.id for preset in (*MODELS, *DATASETS)}
    assert {*HEAD["models"], *HEAD["datasets"]} <= offered


def test_pictures_and_commands_exist() -> None:
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (PROJECT / picture).exists()
    from trainer.__main__ import main

    for command in set(re.findall(r"python -m trainer (\w+)", README)):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
