"""The shell: `python -m trainer fit | resume | preview | predict | evaluate | publish`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TextIO

from trainer.config import TrainConfig, kind_of
from trainer.errors import ConfigError, RunError, TrainerError, TrainingError
from trainer.events import Event, Planned, in_words
from trainer.limits import limits_of
from trainer.presets import recommended
from trainer.runs.folder import RunFolder, new_run_id, run_ids

Tell = Callable[[Event, str], None]  # an event, and its line in events.jsonl

DONE, BROKEN, USER_ERROR = 0, 1, 2
DEFAULT_HOME = Path(__file__).resolve().parent.parent / "runs"


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")  # no conversion service is asked behind our back
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        # Libraries print what they like; standard output belongs to the answer alone.
        out = sys.stdout
        with contextlib.redirect_stdout(sys.stderr):
            options.command(options, out)
        return DONE
    except TrainerError as error:
        print(f"error: {error}", file=sys.stderr)
        return BROKEN if isinstance(error, TrainingError) else USER_ERROR


def home() -> Path:
    """Where runs live."""
    return Path(os.environ.get("MASK_STUDIO_HOME") or DEFAULT_HOME)


def fit_command(options: argparse.Namespace, out: TextIO) -> None:
    """Trains in this process; the run folder is the same that the page would make."""
    config = _config(options).check()
    if options.output:
        folder = RunFolder(Path(options.output))
        if folder.events.exists():
            raise RunError(f"{options.output!r} already holds a run.", "Resume it, or choose another folder.")
    elif int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RunError("Several processes need one folder.", "Name it with --output.")
    else:
        folder = RunFolder(home() / new_run_id(run_ids(home())))
    if _is_main_process():
        from trainer.engine.preparation import check_sources

        check_sources(config)
        try:
            folder.write_config(config)
        except OSError as error:
            raise RunError(
                f"The folder {str(folder.path)!r} can't be made: {error.strerror}.", "Choose another."
            ) from error
    _train(folder, config, _teller(options.json, out))


def resume_command(options: argparse.Namespace, out: TextIO) -> None:
    """Goes on from the newest sound checkpoint of a run folder, or from the beginning when it came to none."""
    folder = RunFolder(Path(options.folder))
    config = folder.read_config()
    if not folder.has_checkpoints() and not folder.events.exists():
        raise RunError(f"{options.folder!r} has no checkpoint to go on from.", "Start a new run with fit.")
    if _is_main_process():  # the others would find its lock
        if folder.is_alive():
            raise RunError(f"{options.folder!r} is running.", "Wait for its end, or stop it.")
        folder.stop.unlink(missing_ok=True)
    _train(folder, config, _teller(options.json, out), resume=True)


def run_command(options: argparse.Namespace, out: TextIO) -> None:
    """What the page starts: the run of a folder, from its newest checkpoint when it has one."""
    folder, limits = RunFolder(Path(options.folder)), limits_of(os.environ)

    def tell(event: Event, line: str) -> None:
        if isinstance(event, Planned):
            limits.check_size(event.parameters)

    _train(folder, folder.read_config(), tell, resume=True)


def preview_command(options: argparse.Namespace, out: TextIO) -> None:
    """Reads the text and plans the run, without training."""
    config = _config(options).check()
    from trainer.engine.preparation import prepare

    with tempfile.TemporaryDirectory() as scratch:
        plan = prepare(config, lambda event: None, Path(scratch)).plan
    print(json.dumps(asdict(plan), indent=2) if options.json else in_words(plan), file=out)


def predict_command(options: argparse.Namespace, out: TextIO) -> None:
    """Fills the masks of a text."""
    from trainer.inference.fill_mask import MaskFiller

    targets = [word for word in (options.targets or "").split(",") if word.strip()]
    filled = MaskFiller().fill(options.text, options.model, options.top_k, targets)
    if options.json:
        answer = [[asdict(candidate) for candidate in mask.candidates] for mask in filled]
        print(json.dumps(answer, ensure_ascii=False, indent=2), file=out)
        return
    for candidate in (candidate for mask in filled for candidate in mask.candidates):
        print(f"{candidate.score:7.2%}  {candidate.token_str!r:20}  {candidate.sequence}", file=out)


def evaluate_command(options: argparse.Namespace, out: TextIO) -> None:
    """Scores a model on all documents of a data set, or on the part a run with that test_size would hold out."""
    from trainer.engine.assessment import assess
    from trainer.engine.cloze import score_cloze

    config = _config(options).check()
    if options.cloze:
        result = score_cloze(config, Path(options.cloze))
    else:
        result = assess(config, held_out_only=options.test_size is not None)
    words = ", ".join(f"{name} {value:,.4g}" for name, value in result.items() if value is not None)
    print(json.dumps(result) if options.json else words, file=out)


def publish_command(options: argparse.Namespace, out: TextIO) -> None:
    """Publishes the model of a run on the Hugging Face Hub, with the token in HF_TOKEN."""
    from trainer.hub.publish import Publisher
    from trainer.hub.upload import PublishRequest

    folder = Path(options.folder).resolve()
    request = PublishRequest(folder=folder, repo=options.repo, private=not options.public, licence=options.licence)
    record = Publisher().publish(request, os.environ.get("HF_TOKEN", "").strip())
    print(json.dumps(asdict(record)) if options.json else record.url, file=out)


def _train(folder: RunFolder, config: TrainConfig, tell: Tell, *, resume: bool = False) -> None:
    """Runs the engine on a run folder; SIGTERM and Ctrl-C stop it in order, a second Ctrl-C at once."""
    signals: list[int] = []

    def note(number: int, frame: Any) -> None:
        signals.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)

    def emit(event: Event) -> None:
        tell(event, folder.append(event))

    def should_stop() -> bool:
        return bool(signals) or folder.stop_requested()

    main_process = _is_main_process()
    with folder.hold() if main_process else contextlib.nullcontext():
        from trainer.engine.loop import fit  # takes seconds, in which the run must not look unheld

        fit(config, emit if main_process else lambda event: None, should_stop, folder.path, resume=resume)


def _teller(as_json: bool, out: TextIO) -> Tell:
    def tell(event: Event, line: str) -> None:
        if text := line if as_json else in_words(event):
            print(text, file=out, flush=True)

    return tell


def _config(options: argparse.Namespace) -> TrainConfig:
    """Flags over the --config file over what suits the model."""
    chosen: dict[str, Any] = {}
    if getattr(options, "config", None):
        try:
            chosen = json.loads(Path(options.config).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError([f"The file {options.config!r} can't be read as JSON: {error}."]) from error
        if not isinstance(chosen, dict):
            raise ConfigError([f"The file {options.config!r} must hold one JSON object with settings."])
    flags = {f.name: getattr(options, f.name, None) for f in fields(TrainConfig)}
    chosen |= {name: value for name, value in flags.items() if value is not None}
    named = {name: str(chosen[name]) for name in ("model", "dataset") if chosen.get(name)}
    suits = recommended(**named, from_scratch=bool(chosen.get("from_scratch")))
    return TrainConfig.from_dict(suits | chosen)


def _is_main_process() -> bool:
    """Of the ranks a launcher started; their own environment says who is first."""
    return os.environ.get("RANK", "0") == "0"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        """One line instead of argparse's three."""
        self.exit(USER_ERROR, f"error: {message}. See {self.prog} --help.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m trainer", description="Fine-tune a masked language model and try it.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def add(name: str, command: Callable[[argparse.Namespace, TextIO], None]) -> argparse.ArgumentParser:
        subparser = commands.add_parser(name, help=command.__doc__, description=command.__doc__, allow_abbrev=False)
        subparser.set_defaults(command=command)
        if name != "run":
            subparser.add_argument("--json", action="store_true", help="Print JSON and nothing else.")
        return subparser

    fit = add("fit", fit_command)
    fit.add_argument("--output", metavar="DIR", help="The run's folder; by default a new one under MASK_STUDIO_HOME.")
    evaluate = add("evaluate", evaluate_command)
    evaluate.add_argument("--cloze", metavar="FILE.jsonl", help="Score guesses for sentences of one mask each instead.")
    for subparser in (fit, add("preview", preview_command), evaluate):
        subparser.add_argument("--config", metavar="FILE.json", help="Settings as JSON; flags go over them.")
        for f in fields(TrainConfig):
            optional = {"nargs": "?", "const": "true"} if f.type == "bool" else {}
            text = f"{f.metadata['doc']} Takes {kind_of(f)}; default {f.default}.".replace("%", "%%")
            subparser.add_argument(f"--{f.name.replace('_', '-')}", metavar="VALUE", help=text, **optional)
    for subparser in (add("resume", resume_command), add("run", run_command)):
        subparser.add_argument("folder", metavar="DIR", help="A run folder.")
    publish = add("publish", publish_command)
    publish.add_argument("folder", metavar="DIR", help="A run folder.")
    publish.add_argument("--repo", metavar="OWNER/NAME", required=True, help="What to call it; NAME alone is yours.")
    publish.add_argument("--public", action="store_true", help="For everybody to see; private by default.")
    publish.add_argument("--licence", metavar="ID", help="Such as apache-2.0, as the Hub spells it.")
    predict = add("predict", predict_command)
    predict.add_argument("text", metavar="TEXT", help="A text with <mask> in it.")
    predict.add_argument("--model", default="bundled", help="`bundled`, a Hub id, or a model folder.")
    predict.add_argument("--top-k", type=float, default=5, help="How many candidates; default 5.")
    predict.add_argument("--targets", metavar="A,B", help="Score these words instead.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
