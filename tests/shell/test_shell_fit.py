"""`fit` and `resume`: what goes to which stream, with which exit code, and what is left on the disk."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.shell.answers import Shell, in_process_of_its_own, made, start
from trainer.config import TrainConfig
from trainer.presets import recommended

KINDS_OF_A_RUN = (
    "run_started", "phase_changed", "planned", "evaluated", "step_logged", "checkpoint_saved", "finished",
)  # fmt: skip


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Kinds in the order of their first appearance."""
    return list(dict.fromkeys(event["kind"] for event in events))


@pytest.mark.slow
def test_fit_prints_events_alone_and_leaves_a_run_whose_model_opens(settings: list[str], here: Path) -> None:
    answer = in_process_of_its_own("fit", *settings, "--output", "run", "--json", "--probe-text", "")
    assert answer.code == 0 and answer.err == ""
    events = answer.events
    assert tuple(kinds(events)) == KINDS_OF_A_RUN
    assert [event["step"] for event in events if event["kind"] == "step_logged"] == [1, 2, 3]
    assert [event["step"] for event in events if event["kind"] == "evaluated"] == [0, 3]
    assert events[-1]["reason"] == "completed" and events[-1]["model"] == "model"
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)

    assert (here / "run" / "events.jsonl").read_text(encoding="utf-8") == answer.out
    config = json.loads((here / "run" / "config.json").read_text(encoding="utf-8"))
    assert config["max_steps"] == 3 and config["probe_text"] is None
    assert (here / "run" / "checkpoints" / "step-2").is_dir()

    import transformers

    model = transformers.AutoModelForMaskedLM.from_pretrained(here / "run" / "model", use_safetensors=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(here / "run" / "model")
    assert model.config.vocab_size == len(tokenizer)


@pytest.mark.slow
def test_terminated_run_says_stopped_and_resume_completes_it(settings: list[str], shell: Shell, here: Path) -> None:
    steps = 200
    rare = ("--eval-steps", "200", "--save-steps", "200", "--probe-text", "")
    with start("fit", *settings, "--max-steps", str(steps), *rare, "--output", "run", "--json") as run:
        assert run.stdout is not None
        lines = []
        for line in run.stdout:
            lines.append(json.loads(line))
            if lines[-1]["kind"] == "step_logged":
                run.terminate()
                break
        out, err = run.communicate(timeout=120)
    stopped = json.loads(out.splitlines()[-1])
    assert (run.returncode, err) == (0, "")
    assert (stopped["kind"], stopped["reason"]) == ("finished", "stopped")
    assert 0 < stopped["step"] < steps

    answer = shell("resume", "run", "--json")
    assert answer.code == 0
    assert answer.events[0]["resumed_from_step"] == stopped["step"]
    assert answer.events[-1]["reason"] == "completed" and answer.events[-1]["step"] == steps
    written = (here / "run" / "events.jsonl").read_text(encoding="utf-8")
    assert written.endswith(f"{out.splitlines()[-1]}\n{answer.out}")


def test_fit_without_json_speaks_in_words(settings: list[str], shell: Shell) -> None:
    answer = shell("fit", *settings, "--output", "run")
    lines = answer.out.splitlines()
    assert answer.code == 0 and lines[0].startswith("On ") and lines[-1].startswith("completed at step 3 after ")
    assert any(line.startswith("held out: loss ") for line in lines) and "{" not in answer.out


def test_fit_without_output_makes_a_named_run_in_the_home(settings: list[str], shell: Shell, here: Path) -> None:
    assert shell("fit", *settings, "--max-steps", "1").code == 0
    (run,) = Path(os.environ["MASK_STUDIO_HOME"]).iterdir()
    assert (run / "model" / "model.safetensors").exists() and not made(here)


def test_flags_go_over_the_config_file(settings: list[str], shell: Shell, here: Path) -> None:
    chosen = {"learning_rate": 3e-4, "max_steps": 1, "seed": 7, "whole_word_mask": True, "max_seconds": None}
    Path("chosen.json").write_text(json.dumps(chosen), encoding="utf-8")
    answer = shell("fit", "--config", "chosen.json", *settings, "--seed", "8", "--max-grad-norm", "", "--output", "run")
    config = json.loads((here / "run" / "config.json").read_text(encoding="utf-8"))
    assert answer.code == 0
    assert (config["learning_rate"], config["whole_word_mask"]) == (3e-4, True)
    assert (config["max_steps"], config["seed"], config["max_grad_norm"]) == (3, 8, None)


def test_config_of_a_run_starts_another_with_the_same_settings(settings: list[str], shell: Shell, here: Path) -> None:
    shell("fit", *settings, "--max-steps", "1", "--compile", "false", "--output", "run")
    again = shell("fit", "--config", "run/config.json", "--output", "again")
    assert again.code == 0
    assert (here / "run" / "config.json").read_bytes() == (here / "again" / "config.json").read_bytes()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), recommended("bundled")),
        (("--learning-rate", "1e-4"), recommended("bundled") | {"learning_rate": 1e-4}),
    ],
    ids=["alone", "under a flag"],
)
def test_settings_that_suit_the_bundled_model_lie_under_the_flags(
    flags: tuple[str, ...], expected: dict[str, Any], sample_text: Path, shell: Shell, here: Path
) -> None:
    text = here / "text.txt"
    text.write_text("\n".join(sample_text.read_text(encoding="utf-8").splitlines()[:6]), encoding="utf-8")
    arguments = ("--dataset", "text.txt", "--max-steps", "1", "--block-size", "16", *flags)
    assert shell("fit", *arguments, "--output", "run").code == 0
    config = json.loads((here / "run" / "config.json").read_text(encoding="utf-8"))
    assert {name: config[name] for name in expected} == expected
    assert config["weight_decay"] == TrainConfig().weight_decay


def test_flag_of_a_switch_needs_no_value(settings: list[str], shell: Shell, here: Path) -> None:
    assert shell("fit", *settings, "--max-steps", "1", "--whole-word-mask", "--output", "run").code == 0
    assert json.loads((here / "run" / "config.json").read_text(encoding="utf-8"))["whole_word_mask"] is True


@pytest.mark.parametrize("command", ["fit", "preview", "evaluate"])
def test_every_setting_is_a_flag_with_its_sentence_in_the_help(command: str, shell: Shell) -> None:
    answer = shell(command, "--help")
    assert answer.code == 0
    flat = " ".join(answer.out.split())
    for field in fields(TrainConfig):
        assert f"--{field.name.replace('_', '-')} [VALUE]" in flat or f"--{field.name.replace('_', '-')} VALUE" in flat
        assert " ".join(field.metadata["doc"].split())[:30] in flat
