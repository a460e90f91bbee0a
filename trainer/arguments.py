"""The shell's arguments: which there are, and the settings they stand for."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TextIO

from trainer.config import TrainConfig, kind_of
from trainer.errors import ConfigError
from trainer.presets import recommended

USER_ERROR = 2  # the exit code

Command = Callable[[argparse.Namespace, TextIO], None]


def config_of(options: argparse.Namespace) -> TrainConfig:
    """Flags over the --config file over what suits the model."""
    chosen = settings_of(options)
    named = {name: str(chosen[name]) for name in ("model", "dataset") if chosen.get(name)}
    suits = recommended(**named, from_scratch=bool(chosen.get("from_scratch")))
    return TrainConfig.from_dict(suits | chosen)


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that were named: flags over the --config file."""
    chosen: dict[str, Any] = {}
    if getattr(options, "config", None):
        try:
            chosen = json.loads(Path(options.config).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError([f"The file {options.config!r} can't be read as JSON: {error}."]) from error
        if not isinstance(chosen, dict):
            raise ConfigError([f"The file {options.config!r} must hold one JSON object with settings."])
    flags = {f.name: getattr(options, f.name, None) for f in fields(TrainConfig)}
    return chosen | {name: value for name, value in flags.items() if value is not None}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        """One line instead of argparse's three."""
        self.exit(USER_ERROR, f"error: {message}. See {self.prog} --help.\n")


def parser_of(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The parser; it leaves the chosen one of `commands` in `command`. A command's docstring is its help."""
    parser = _Parser(prog="python -m trainer", description="Fine-tune a masked language model and try it.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def add(name: str) -> argparse.ArgumentParser:
        about = commands[name].__doc__
        subparser = subparsers.add_parser(name, help=about, description=about, allow_abbrev=False)
        subparser.set_defaults(command=commands[name])
        if name not in ("run", "remote", "job"):
            subparser.add_argument("--json", action="store_true", help="Print JSON and nothing else.")
        return subparser

    fit = add("fit")
    fit.add_argument("--output", metavar="DIR", help="The run's folder; by default a new one under MASK_STUDIO_HOME.")
    evaluate = add("evaluate")
    evaluate.add_argument("--cloze", metavar="FILE.jsonl", help="Score guesses for sentences of one mask each instead.")
    for subparser in (fit, add("preview"), evaluate):
        subparser.add_argument("--config", metavar="FILE.json", help="Settings as JSON; flags go over them.")
        for f in fields(TrainConfig):
            optional = {"nargs": "?", "const": "true"} if f.type == "bool" else {}
            text = f"{f.metadata['doc']} Takes {kind_of(f)}; default {f.default}.".replace("%", "%%")
            subparser.add_argument(f"--{f.name.replace('_', '-')}", metavar="VALUE", help=text, **optional)
    resumed = add("resume"), add("run")
    for subparser in resumed:
        subparser.add_argument("folder", metavar="DIR", help="A run folder.")
    for subparser in (fit, *resumed):
        text = "Fail unless a launcher has started this many."
        subparser.add_argument("--processes", metavar="N", type=int, help=text)
    remote, job = add("remote"), add("job")
    for subparser in (remote, job):
        subparser.add_argument("folder", metavar="DIR", help="A run folder.")
    remote.add_argument("--hardware", metavar="NAME", required=True, help="Such as t4-small.")
    job.add_argument("--repo", metavar="OWNER/NAME", required=True, help="Takes the model.")
    publish = add("publish")
    publish.add_argument("folder", metavar="DIR", help="A run folder.")
    publish.add_argument("--repo", metavar="OWNER/NAME", required=True, help="What to call it; NAME alone is yours.")
    publish.add_argument("--public", action="store_true", help="For everybody to see; private by default.")
    publish.add_argument("--push-every-evaluation", action="store_true", help="Every better model, while it trains.")
    publish.add_argument("--licence", metavar="ID", help="Such as apache-2.0, as the Hub spells it.")
    predict, score = add("predict"), add("score")
    predict.add_argument("text", metavar="TEXT", help="A text with <mask>, [MASK] or ___ in it.")
    predict.add_argument("--top-k", type=float, default=5, help="How many answers; default 5.")
    chosen = predict.add_mutually_exclusive_group()
    chosen.add_argument("--targets", metavar="A,B", help="Score these words instead, of any number of tokens.")
    chosen.add_argument("--joint", action="store_true", help="Fill all masks together; scores are in nats.")
    score.add_argument("text", metavar="TEXT", help="A text; masks in it stay hidden.")
    for subparser in (predict, score):
        subparser.add_argument("--model", default="bundled", help="`bundled`, a Hub id, or a model folder.")
    return parser
