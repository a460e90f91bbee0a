"""The shell: `python -m trainer fit | resume | preview | predict | score | evaluate | publish`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from trainer.arguments import USER_ERROR, config_of, parser_of, settings_of
from trainer.config import TrainConfig
from trainer.environment import SHORT_WAIT
from trainer.errors import RunError, TrainerError, TrainingError
from trainer.events import Event, in_words
from trainer.loading import loading
from trainer.predictions import shown
from trainer.process import BROKEN, Tell, is_main_process, job_command, remote_command, run_command, train
from trainer.runs.folder import RunFolder, run_ids
from trainer.runs.history import RunReader
from trainer.runs.names import new_run_id
from trainer.runs.ranks import ranks_of

if TYPE_CHECKING:
    from trainer.inference.fill_mask import MaskFiller

DONE = 0
ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_SAFETENSORS_CONVERSION": "1",  # no conversion service is asked behind our back
    "TRANSFORMERS_VERBOSITY": "error",
} | SHORT_WAIT
PREVIEW_CPU_SECONDS = 300
DEFAULT_HOME = Path(__file__).resolve().parent.parent / "runs"


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    options = parser_of(COMMANDS).parse_args(arguments)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
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
    config = config_of(options).check()
    processes = ranks_of(os.environ, RunFolder(Path()), options.processes).size  # before anything is made
    if options.output:
        folder = RunFolder(Path(options.output))
        if folder.events.exists():
            raise RunError(f"{options.output!r} already holds a run.", "Resume it, or choose another folder.")
    elif processes > 1:
        raise RunError("Several processes need one folder.", "Name it with --output.")
    else:
        folder = RunFolder(home() / new_run_id(run_ids(home())))
    if is_main_process():
        with loading():
            from trainer.engine.places import check_folder, local_path
            from trainer.engine.preparation import check_sources
        check_folder(folder.path)
        check_sources(config)
        # It may be resumed from another folder than this.
        found = {name: local_path(getattr(config, name)) for name in ("model", "dataset")}
        config = replace(config, **{name: str(path.absolute()) for name, path in found.items() if path})
        try:
            folder.write_config(config)
        except OSError as error:
            raise RunError(
                f"The folder {str(folder.path)!r} can't be made: {error.strerror}.", "Choose another."
            ) from error
    train(folder, config, _teller(options.json, out), options.processes)


def resume_command(options: argparse.Namespace, out: TextIO) -> None:
    """Goes on from the newest sound checkpoint of a run folder, or from the beginning when it came to none."""
    folder = RunFolder(Path(options.folder))
    config = folder.read_config()
    if folder.is_rented() or folder.has_job():  # where its checkpoints are: here it would begin anew
        raise RunError(f"{options.folder!r} works on rented machines.", "Resume it on the page.")
    if not folder.newest_checkpoint() and not folder.events.exists():
        raise RunError(f"{options.folder!r} has no checkpoint to go on from.", "Start a new run with fit.")
    if is_main_process():  # the others would find its lock
        if folder.is_alive():
            raise RunError(f"{options.folder!r} is running.", "Wait for its end, or stop it.")
        folder.stop.unlink(missing_ok=True)
    train(folder, config, _teller(options.json, out), options.processes, resume=True)


def preview_command(options: argparse.Namespace, out: TextIO) -> None:
    """Shows what is understood of the text, and what a run will take, without training."""
    config = config_of(options).check()
    with loading():
        from trainer.engine import hardware
        from trainer.engine.preview import preview

    hardware.limit_memory()
    hardware.limit_time(PREVIEW_CPU_SECONDS)
    seen = preview(config)
    print(seen.to_json() if options.json else seen.in_words(), file=out)


def predict_command(options: argparse.Namespace, out: TextIO) -> None:
    """Fills the masks of a text."""
    filler = _filler()
    if options.joint:
        _answer(filler.fill_jointly(options.text, options.model, options.top_k), options, out)
    elif targets := [word for word in (options.targets or "").split(",") if word.strip()]:
        ranked = filler.rank(options.text, targets, options.model)
        _answer([[target.candidate for target in mask] for mask in ranked], options, out)
    else:
        _answer([mask.candidates for mask in filler.fill(options.text, options.model, options.top_k)], options, out)


def score_command(options: argparse.Namespace, out: TextIO) -> None:
    """Tells how much each token of a text surprises a model, in nats, and the text's pseudo-perplexity."""
    _answer(_filler().score(options.text, options.model), options, out)


def _filler() -> MaskFiller:
    with loading():
        from trainer.inference.fill_mask import MaskFiller

    return MaskFiller()


def _answer(answer: Any, options: argparse.Namespace, out: TextIO) -> None:
    told = json.dumps(answer, default=asdict, ensure_ascii=False, indent=2) if options.json else shown(answer)
    print(told, file=out)


def evaluate_command(options: argparse.Namespace, out: TextIO) -> None:
    """Scores a model on all documents of a data set; with test_size or validation_split, on what a run holds out."""
    with loading():
        from trainer.engine.assessment import assess
        from trainer.engine.cloze import score_cloze

    config = config_of(options).check()
    if options.cloze:
        result = score_cloze(config, Path(options.cloze))
    else:
        named = settings_of(options)
        apart = any(named.get(name) is not None for name in ("test_size", "validation_split"))
        if "mlm_probability" not in named:  # figures compare only by one share, whichever a model learns best by
            config = replace(config, mlm_probability=TrainConfig().mlm_probability)
        result = assess(config, held_out_only=apart)
    words = ", ".join(f"{name} {value:,.4g}" for name, value in result.items() if value is not None)
    print(json.dumps(result) if options.json else words, file=out)


def publish_command(options: argparse.Namespace, out: TextIO) -> None:
    """Publishes the model of a run on the Hugging Face Hub, with the token in HF_TOKEN."""
    from trainer.hub.publish import Publisher
    from trainer.hub.upload import PublishRequest

    folder = Path(options.folder).resolve()
    request = PublishRequest(folder=folder, repo=options.repo, private=not options.public, licence=options.licence)
    publisher, token = Publisher(), os.environ.get("HF_TOKEN", "").strip()
    if options.push_every_evaluation:
        RunFolder(folder).read_config()  # else a folder that is none would be waited for
        reader = RunReader(RunFolder(folder))
        record = publisher.follow(request, token, lambda: reader.read().is_over)
    else:
        record = publisher.publish(request, token)
    print(json.dumps(asdict(record)) if options.json else record.url, file=out)


def _teller(as_json: bool, out: TextIO) -> Tell:
    def tell(event: Event, line: str) -> None:
        if text := line if as_json else in_words(event):
            print(text, file=out, flush=True)

    return tell


COMMANDS = {
    "fit": fit_command,
    "resume": resume_command,
    "run": run_command,
    "remote": remote_command,
    "job": job_command,
    "preview": preview_command,
    "evaluate": evaluate_command,
    "predict": predict_command,
    "score": score_command,
    "publish": publish_command,
}

if __name__ == "__main__":
    sys.exit(main())
