"""The settings as form fields, made from `TrainConfig`, and back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import Field, asdict, fields, replace
from pathlib import Path
from typing import Any

import gradio as gr

from trainer.config import TrainConfig
from trainer.errors import ConfigError, RunError, TrainerError
from trainer.presets import DATASETS, MODELS, is_hub_id, recommended, title_of
from trainer.runs.names import RUN_ID
from trainer.runs.ownership import OwnRuns
from trainer.runs.view import RunView
from trainer.ui.words import label_of, with_labels

BEGINNER = ("num_train_epochs", "learning_rate", "per_device_train_batch_size", "block_size", "mlm_probability")
SUITED = (*BEGINNER, "warmup_ratio", "optim", "test_size")  # what a preset decides
CHOSEN_ELSEWHERE = ("model", "dataset")  # have widgets of their own


def setting_widgets(names: Sequence[str]) -> dict[str, gr.components.Component]:
    """A widget for each setting, with the value that suits the bundled model."""
    known = {f.name: f for f in fields(TrainConfig)}
    suited = recommended("bundled")
    return {name: _widget(known[name], suited.get(name, known[name].default)) for name in names}


def more_settings() -> list[str]:
    """The settings that are folded away."""
    return [f.name for f in fields(TrainConfig) if f.name not in (*BEGINNER, *CHOSEN_ELSEWHERE)]


def beginner_values(runs: OwnRuns, model: str, from_scratch: str | None) -> list[Any]:
    """What the settings should be that a model decides, or that there is none yet."""
    defaults = {f.name: f.default for f in fields(TrainConfig)}
    suited = defaults | recommended(origin_of(model, runs), from_scratch=bool(from_scratch))
    return [suited[name] for name in SUITED]


def origin_of(model: str, runs: OwnRuns) -> str:
    """The model that an earlier run's goes back to; any other as it is."""
    with suppress(RunError):
        while RUN_ID.fullmatch(str(model)) and (config := runs.view(model).config):
            model = title_of(config.model)
    return model


def in_words_of_the_form(error: ConfigError) -> ConfigError:
    """The same with the settings called as their fields are."""
    known = {f.name for f in fields(TrainConfig)}

    def said(problem: str) -> str:
        name, verb, rest = problem.partition(" is ")
        rest = with_labels(rest.replace("None;", "empty;", 1))
        return f"{label_of(name) if name in known else name}{verb}{rest}"

    return ConfigError([said(problem) for problem in error.problems])


def model_choices(runs: OwnRuns | None = None) -> list[tuple[str, str]]:
    """(label, value) of every model on offer: presets, then the models of these runs."""
    presets = [(f"{preset.label} · {preset.parameters}", preset.id) for preset in MODELS]
    return presets + [(label, run_id) for run_id, label in (runs.models() if runs else ())]


def dataset_choices() -> list[tuple[str, str]]:
    return [(preset.label, preset.id) for preset in DATASETS]


def copied(view: RunView, runs: OwnRuns) -> tuple[dict[str, Any], list[str]]:
    """The settings of a run as the form takes them; what is no longer on offer is named and left at its default."""
    values, gone = asdict(view.config or TrainConfig()), []
    origins = {"model": (Path(values["model"]).parent.name, runs.model_folder), "dataset": (view.id, runs.text_of)}
    for name, (run_id, path_of) in origins.items():
        if values[name] == "bundled" or is_name(values[name]):
            continue
        try:
            offered = str(path_of(run_id)) == values[name]
        except TrainerError:
            offered = False
        values[name] = run_id if offered else "bundled"
        gone += [] if offered else [name]
    return values, gone


def suited_split(dataset: str | None) -> str:
    """The split to begin with for a data set."""
    return str(recommended(dataset=dataset or "").get("split", TrainConfig().split))


def about_model(model: str | None) -> str:
    """One line on a model, for under its field."""
    preset = next((preset for preset in MODELS if preset.id == model), None)
    if preset is None:
        return "A model of an earlier run." if RUN_ID.fullmatch(model or "") else "A model from the Hugging Face Hub."
    return f"{preset.about} {preset.language}, {preset.licence}."


def about_dataset(dataset: str | None) -> str:
    """One line on a data set, for under its field."""
    preset = next((preset for preset in DATASETS if preset.id == dataset), None)
    if preset is None and RUN_ID.fullmatch(dataset or ""):
        return "The text of an earlier run."
    if preset is None:
        return "A data set from the Hugging Face Hub, as owner/name."
    return f"{preset.about} {preset.language}, licence: {preset.licence}."


def public_config(values: Mapping[str, Any], runs: OwnRuns) -> TrainConfig:
    """The configuration a visitor asks for; visitors reach what is bundled, on the Hub, or a run's, but no path.

    Raises: ConfigError, RunError.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(["The configuration must be one JSON object with settings."])
    model, dataset = (values.get(name) or "bundled" for name in ("model", "dataset"))
    suited = recommended(origin_of(model, runs), str(dataset), from_scratch=bool(values.get("from_scratch")))
    chosen = suited | dict(values)
    config = TrainConfig.from_dict({**chosen, "model": public_model(model, runs)})
    if RUN_ID.fullmatch(config.dataset):
        config = replace(config, dataset=str(runs.text_of(config.dataset)))
    elif config.dataset != "bundled" and not is_name(config.dataset):
        raise ConfigError([f"dataset is {config.dataset!r}; it must be 'bundled' or a Hub id (owner/name)."])
    return config.check()


def public_model(model: str, runs: OwnRuns) -> str:
    """The model a visitor names: `bundled`, a Hub id, or the folder of a run's model. Raises: ConfigError, RunError."""
    if isinstance(model, str):
        if RUN_ID.fullmatch(model):
            return str(runs.model_folder(model))
        if model == "bundled" or is_name(model):
            return model
    raise ConfigError([f"model is {model!r}; it must be 'bundled', a Hub id (owner/name) or a run of yours."])


def is_name(text: str) -> bool:
    """Whether this is a Hub id and nothing on this machine's disk."""
    return is_hub_id(text) and not os.path.exists(text)


def _widget(f: Field[Any], value: Any) -> gr.components.Component:
    unit = f.metadata["unit"]
    facts: dict[str, Any] = {"label": label_of(f.name), "info": f.metadata["doc"], "value": value}
    if unit and unit != "0..1":
        facts["label"] += f" ({unit})"
    if f.metadata["choices"]:
        return gr.Dropdown(list(f.metadata["choices"]), **facts)
    match str(f.type).partition(" | ")[0]:
        case "bool":
            return gr.Checkbox(**facts)
        case "int" | "float":
            # Limits are the configuration's: its message names field and limit, the widget's own does not.
            return gr.Number(**facts, step=1 if "int" in str(f.type) else None)
    return gr.Textbox(**facts, max_lines=2)
