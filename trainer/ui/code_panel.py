"""What the Start button stands for: the form's settings as a script, a command and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from trainer.config import TrainConfig
from trainer.errors import TrainerError
from trainer.recipe import python_script, shell_command
from trainer.runs.names import RUN_ID
from trainer.ui.events import CHOSEN, QUIET
from trainer.ui.words import MY_FILE, PASTE

MY_TEXT = "my-text.txt"  # what was pasted, or stands with an earlier run
KINDS = (("Python script", "python"), ("Shell command", "shell"), ("Settings as JSON", "json"))


def build_code_panel(source: Any, dataset: Any, file: Any, model: Any, settings: Mapping[str, Any]) -> None:
    """Lays out the panel; its code follows the form from the moment it is opened."""
    with gr.Accordion("Show the code", open=False, elem_id="code-panel") as panel:
        codes = []
        for label, language in KINDS:
            with gr.Tab(label):
                codes.append(gr.Code(language=language, label=label, interactive=False, buttons=["copy"], max_lines=30))
    opened = gr.State(False)
    fields = [source, dataset, file, model, *settings.values()]

    def show(origin: str, name: str, paths: list[str] | None, chosen: str, *values: Any) -> list[str]:
        one = Path(paths[0]).name if paths else "my-text.txt"
        brought = {MY_FILE: one if len(paths or "1") == 1 else "my-files.zip", PASTE: MY_TEXT}
        named = {"model": _model(chosen), "dataset": brought.get(origin, MY_TEXT if is_run(name) else name)}
        return code_of(named | dict(zip(settings, values, strict=True)))

    def follow(is_open: bool, *values: Any) -> list[Any]:
        return show(*values) if is_open else [gr.skip()] * len(codes)

    panel.expand(lambda: True, None, opened, **QUIET).then(show, fields, codes, **QUIET)
    panel.collapse(lambda: False, None, opened, **QUIET)
    for field in fields:
        field.change(follow, [opened, *fields], codes, **CHOSEN)


def code_of(values: Mapping[str, Any]) -> list[str]:
    """The three texts; where a setting is wrong, what is wrong with it stands in their place."""
    try:
        config = TrainConfig.from_dict(values).check()
    except TrainerError as error:
        return [f"# {error}", f"# {error}", ""]
    return [python_script(config), shell_command(config), config.to_json()]


def _model(chosen: str) -> str:
    """A model of an earlier run by its folder below the program's, not by this machine's path."""
    return f"runs/{chosen}/model" if is_run(chosen) else chosen


def is_run(name: str | None) -> bool:
    return RUN_ID.fullmatch(name or "") is not None
