"""`python -m trainer`: what goes to which stream, with which exit code, and what is left on the disk."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from trainer.__main__ import main
from trainer.config import TrainConfig
from trainer.events import Warned
from trainer.presets import recommended
from trainer.runs.folder import RunFolder

PROJECT = Path(__file__).resolve().parents[1]
KINDS_OF_A_RUN = (
    "run_started", "phase_changed", "planned", "evaluated", "step_logged", "checkpoint_saved", "finished",
)  # fmt: skip

ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}

Shell = Callable[..., "Answer"]


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_constant=pytest.fail)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line, parse_constant=pytest.fail) for line in self.out.splitlines()]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty working folder; environment and signal handlers are given back as they were."""
    for name, value in ENVIRONMENT.items():  # as `main` sets it, which would outlive the test
        monkeypatch.setenv(name, value)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield folder
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    """The shell's `main` in this process."""

    def run(*arguments: str) -> Answer:
        capsys.readouterr()
        try:
            code = main(list(arguments))
        except SystemExit as exit:  # argparse's way to end
            code = int(exit.code or 0)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


@pytest.fixture
def settings(tiny_model: Callable[[str], Path], sample_text: Path) -> list[str]:
    """Flags of a run of a second."""
    return [
        "--model", str(tiny_model("roberta")), "--dataset", str(sample_text), "--precision", "float32",
        "--block-size", "32", "--max-steps", "3", "--logging-steps", "1", "--save-steps", "2",
    ]  # fmt: skip


def start(*arguments: str) -> subprocess.Popen[str]:
    """`python -m trainer` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "trainer", *arguments],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def in_process_of_its_own(*arguments: str) -> Answer:
    with start(*arguments) as process:
        out, err = process.communicate(timeout=120)
    return Answer(process.returncode, out, err)


def made(*folders: Path) -> set[Path]:
    return {path for folder in folders for path in folder.rglob("*")}


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Kinds in the order of their first appearance."""
    return list(dict.fromkeys(event["kind"] for event in events))


# fit


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


# The user's mistakes

AT_ONCE = {
    "learning_rate 5": (("--learning-rate", "5"), "learning_rate is 5.0; it must be between 1e-07 and 0.01."),
    "block_size 3": (("--block-size", "3"), "block_size is 3; it must be between 8 and 8,192."),
    "learning_rate nan": (("--learning-rate", "nan"), "learning_rate is 'nan'; it must be a number."),
    "max_steps -1": (("--max-steps", "-1"), "max_steps is -1; it must be between 1"),
    "probe_text without mask": (("--probe-text", "No gap."), "it needs a <mask>"),
    "from_scratch": (("--from-scratch", "30x1x7x300"), "even multiple of its 7 heads"),
    "unknown flag": (("--lerning-rate", "5"), "unrecognized arguments: --lerning-rate 5. See python -m trainer"),
    "shortened flag": (("--learning", "1e-4"), "unrecognized arguments: --learning 1e-4"),
    "flag without value": (("--seed",), "argument --seed: expected one argument"),
    "no config file": (("--config", "nowhere.json"), "'nowhere.json' can't be read as JSON"),
    "broken config file": (("--config", "broken.json"), "'broken.json' can't be read as JSON"),
    "config file that is a list": (("--config", "list.json"), "'list.json' must hold one JSON object"),
    "config file that nests": (("--config", "deep.json"), "'deep.json' can't be read as JSON"),
    "unknown setting": (("--config", "typo.json"), "'lerning_rate' is not a setting. Did you mean learning_rate?"),
}
AFTER_A_LOOK = {
    "unknown model": (("--model", "no such model"), "There is no model 'no such model'."),
    "unknown model of the Hub": (("--model", "nobody/nothing"), "neither a folder here nor could it be fetched"),
    "unknown dataset": (("--dataset", "no such file.txt"), "There is no file 'no such file.txt'."),
    "endless name of a model": (("--model", "m" * 300), "There is no model 'mmm"),
    "endless name of a dataset": (("--dataset", "d" * 300), "There is no data set 'ddd"),
    "endless name of a file": (("--dataset", "d" * 300 + ".txt"), "There is no file 'ddd"),
    "folder of nobody": (("--dataset", "~nobody/x.txt"), "There is no file '~nobody/x.txt'."),
    "unknown dataset of the Hub": (("--dataset", "nobody/nothing"), "'nobody/nothing'"),
    "unknown ending": (("--dataset", "text.pdf"), "'text.pdf' has an unknown ending."),
    "empty file": (("--dataset", "empty.txt"), "'empty.txt' is empty."),
    "missing column": (("--text-column", "body"), "Columns with text: title, text."),
    "missing split": (("--split", "test"), "no split 'test'"),
}


@pytest.fixture
def mistakes(here: Path) -> None:
    """The files that the mistakes below are about."""
    files = {
        "table.csv": "title,text\nA,The Sun is hot.\nB,Water boils.\n",
        "text.pdf": "%PDF",
        "empty.txt": "",
        "broken.json": '{"seed": 1',
        "list.json": "[1]",
        "deep.json": "[" * 100_000,
        "typo.json": '{"lerning_rate": 1e-4}',
    }
    for name, text in files.items():
        (here / name).write_text(text, encoding="utf-8")


def assert_refused(answer: Answer, expected: str) -> None:
    assert answer.code == 2
    assert answer.out == ""
    (line,) = answer.err.splitlines()
    assert line.startswith("error: ") and expected in line


@pytest.mark.usefixtures("mistakes")
@pytest.mark.parametrize("mistake", [*AT_ONCE, *AFTER_A_LOOK])
def test_mistake_is_one_line_on_standard_error_and_makes_nothing(mistake: str, shell: Shell, tmp_path: Path) -> None:
    flags, expected = (AT_ONCE | AFTER_A_LOOK)[mistake]
    before = made(tmp_path)
    dataset = () if "--dataset" in flags else ("--dataset", "table.csv")
    assert_refused(shell("fit", "--json", *dataset, *flags), expected)
    assert_refused(shell("fit", "--output", "run", *dataset, *flags), expected)
    assert made(tmp_path) == before


@pytest.mark.usefixtures("mistakes")
@pytest.mark.parametrize("command", ["preview", "evaluate"])
@pytest.mark.parametrize("mistake", ["block_size 3", "unknown model", "empty file", "missing column"])
def test_mistake_is_told_by_the_other_commands_too(command: str, mistake: str, shell: Shell, tmp_path: Path) -> None:
    flags, expected = (AT_ONCE | AFTER_A_LOOK)[mistake]
    before = made(tmp_path)
    dataset = () if "--dataset" in flags else ("--dataset", "table.csv")
    assert_refused(shell(command, "--json", *dataset, *flags), expected)
    assert made(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("fit", "--learning-rate", "5"), "learning_rate is 5.0"),
        (("fit", "--lerning-rate", "5"), "unrecognized arguments"),
        pytest.param(("fit", "--json", "--model", "nobody/nothing"), "'nobody/nothing'", marks=pytest.mark.slow),
    ],
    ids=["setting", "flag", "model"],
)
def test_no_library_adds_a_line_to_the_mistakes(arguments: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    before = made(tmp_path)
    assert_refused(in_process_of_its_own(*arguments), expected)
    assert made(tmp_path) == before


def test_all_mistakes_of_the_settings_are_told_at_once(shell: Shell) -> None:
    answer = shell("fit", "--learning-rate", "5", "--block-size", "3")
    assert_refused(answer, "block_size is 3")
    assert_refused(answer, "learning_rate is 5.0")


def test_folder_that_holds_a_run_is_left_as_it_is(settings: list[str], shell: Shell, here: Path) -> None:
    (here / "run").mkdir()
    (here / "run" / "events.jsonl").write_text("{}\n", encoding="utf-8")
    assert_refused(shell("fit", *settings, "--output", "run"), "'run' already holds a run. Resume it")
    assert made(here) == {here / "run", here / "run" / "events.jsonl"}


@pytest.mark.parametrize("settings_there", ["", '{"name": "mine"}', "[1]"], ids=["none", "others", "a list"])
def test_folder_of_the_user_is_left_as_it_is(
    settings_there: str, settings: list[str], shell: Shell, here: Path
) -> None:
    for name in ("text", "tokenizer", "blocks"):
        (here / name).mkdir()
        (here / name / "mine.txt").write_text("mine", encoding="utf-8")
    if settings_there:
        (here / "config.json").write_text(settings_there, encoding="utf-8")
    before = {path: path.is_file() and path.read_bytes() for path in made(here)}
    assert_refused(shell("fit", *settings, "--output", "."), f"The folder {here.name!r} is not empty")
    assert {path: path.is_file() and path.read_bytes() for path in made(here)} == before


def test_start_that_broke_off_may_be_made_again_in_its_folder(settings: list[str], shell: Shell, here: Path) -> None:
    (here / "run" / "ranks").mkdir(parents=True)
    (here / "run" / "lock").touch()
    (here / "run" / "config.json").write_text(TrainConfig().to_json(), encoding="utf-8")
    assert shell("fit", *settings, "--max-steps", "1", "--output", "run").code == 0


def test_output_that_is_a_file_is_refused(settings: list[str], shell: Shell, here: Path) -> None:
    (here / "run").write_text("mine", encoding="utf-8")
    assert_refused(shell("fit", *settings, "--output", "run"), "The folder 'run' can't be made: File exists.")
    assert (here / "run").read_text(encoding="utf-8") == "mine"


def test_run_goes_on_from_another_folder_and_without_its_text(
    settings: list[str], sample_text: Path, shell: Shell, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Path(shutil.copy(sample_text, here / "notes.txt"))
    shell("fit", *settings, "--dataset", "notes.txt", "--output", "run")
    assert json.loads((here / "run" / "config.json").read_text(encoding="utf-8"))["dataset"] == str(text)
    text.unlink()
    monkeypatch.chdir("/")
    assert shell("resume", str(here / "run")).code == 0


def test_run_without_checkpoint_cannot_be_resumed(shell: Shell, here: Path) -> None:
    (here / "run").mkdir()
    (here / "run" / "config.json").write_text(TrainConfig().to_json(), encoding="utf-8")
    before = made(here)
    assert_refused(shell("resume", "run"), "'run' has no checkpoint to go on from. Start a new run")
    assert_refused(shell("resume", "nowhere", "--json"), "nowhere")
    assert made(here) == before


@pytest.mark.parametrize("sign", ["backend.txt", "job.json"])
def test_run_on_a_rented_machine_is_left_to_the_page(sign: str, shell: Shell, here: Path) -> None:
    folder = RunFolder(here / "run")
    folder.write_config(TrainConfig())
    folder.append(Warned(message="hot"))
    (folder.path / sign).write_text("job:t4-small", encoding="utf-8")
    folder.request_stop()
    assert_refused(shell("resume", "run"), "'run' works on rented machines. Resume it on the page.")
    assert folder.stop_requested() and not folder.model.exists()


def test_run_that_breaks_off_ends_with_failed_and_exit_code_1(
    settings: list[str], tiny_model: Callable[[str], Path], shell: Shell, here: Path
) -> None:
    import torch
    import transformers

    broken = shutil.copytree(tiny_model("roberta"), here / "broken")
    model = transformers.AutoModelForMaskedLM.from_pretrained(broken)
    with torch.no_grad():
        model.lm_head.bias.fill_(math.nan)
    model.save_pretrained(broken)
    answer = shell("fit", *settings, "--model", "broken", "--output", "run", "--json")
    assert answer.code == 1 and answer.events[-1]["kind"] == "failed"
    (line,) = answer.err.splitlines()
    assert line == f"error: {answer.events[-1]['what']} {answer.events[-1]['fix']}" and "finite" in line
    assert (here / "run" / "events.jsonl").read_text(encoding="utf-8") == answer.out


def test_no_command_or_an_unknown_one_is_a_mistake(shell: Shell) -> None:
    assert_refused(shell(), "required: COMMAND")
    assert_refused(shell("train"), "invalid choice: 'train'")


# preview, evaluate, predict


def test_preview_tells_the_plan_and_leaves_nothing_behind(settings: list[str], shell: Shell, tmp_path: Path) -> None:
    before = made(tmp_path)
    plan = shell("preview", *settings, "--json").json
    assert plan["documents"] == 60 and plan["block_size"] == 32 and plan["steps"] == 3
    assert plan["train_blocks"] > plan["held_out_blocks"] > 0 and plan["architecture"] == "RobertaForMaskedLM"
    words = shell("preview", *settings).out
    assert words.startswith(f"60 documents, {plan['words']:,} words, {plan['tokens']:,} tokens: ")
    assert made(tmp_path) == before


def test_preview_of_nothing_named_is_that_of_the_bundled_text_and_model(shell: Shell) -> None:
    plan = shell("preview", "--json").json
    assert plan["text_column"] == "answers.text" and plan["documents"] >= 300


def test_evaluate_tells_loss_perplexity_accuracy_and_masked_tokens(
    settings: list[str], shell: Shell, tmp_path: Path
) -> None:
    run = tmp_path / "run.json"
    run.write_text(json.dumps({"test_size": 0.2, "validation_split": None}))
    before = made(tmp_path)
    score = shell("evaluate", *settings, "--json").json
    assert list(score) == ["loss", "perplexity", "accuracy", "masked_tokens"]
    assert score["perplexity"] == pytest.approx(math.exp(score["loss"]))
    assert score["loss"] == pytest.approx(math.log(600), abs=0.3)  # a random model guesses among 600 tokens
    assert 0 <= score["accuracy"] <= 1 and score["masked_tokens"] > 100
    assert shell("evaluate", *settings, "--json").json == score
    held_out = shell("evaluate", *settings, "--json", "--test-size", "0.2").json
    assert held_out["masked_tokens"] < score["masked_tokens"] / 2
    assert shell("evaluate", "--config", str(run), *settings, "--json").json == held_out
    given = shell("evaluate", *settings, "--json", "--validation-split", "train[:20%]").json
    assert given["masked_tokens"] < score["masked_tokens"] / 2
    assert "loss 6." in shell("evaluate", *settings).out
    assert made(tmp_path) == before


def test_evaluate_hides_15_percent_whichever_share_a_model_learns_best_by(shell: Shell, sample_text: Path) -> None:
    words = ("evaluate", "--model", "bundled", "--dataset", str(sample_text), "--json")
    assert shell(*words).json == shell(*words, "--mlm-probability", "0.15").json


def test_evaluate_refuses_a_text_in_which_nothing_is_masked(shell: Shell, here: Path) -> None:
    (here / "short.txt").write_text("Hi.\n", encoding="utf-8")
    arguments = ("evaluate", "--dataset", "short.txt", "--mlm-probability", "0.01", "--json")
    assert_refused(shell(*arguments), "The text is too short")


def test_predict_gives_a_list_for_every_mask(tiny_model: Callable[[str], Path], shell: Shell) -> None:
    model = str(tiny_model("roberta"))
    (single,) = shell("predict", "A <mask>.", "--model", model, "--json").json
    assert len(single) == 5
    assert all(list(candidate) == ["score", "token", "token_str", "sequence"] for candidate in single)
    both = shell("predict", "A <mask> and a [MASK].", "--model", model, "--top-k", "3", "--json").json
    assert [len(candidates) for candidates in both] == [3, 3]


def test_predict_without_a_model_asks_the_bundled_one(shell: Shell) -> None:
    (candidates,) = shell("predict", "The Milky Way is a <mask> galaxy.", "--json").json
    assert all(c["sequence"] == f"The Milky Way is a{c['token_str']} galaxy." for c in candidates)


def test_predict_scores_targets_in_the_order_given(tiny_model: Callable[[str], Path], shell: Shell) -> None:
    arguments = ("predict", "A <mask>.", "--model", str(tiny_model("roberta")), "--json", "--targets")
    (candidates,) = shell(*arguments, "of, the,and").json
    assert [candidate["token_str"] for candidate in candidates] == [" of", " the", " and"]
    assert all(list(one) == ["score", "token", "token_str", "sequence"] for one in candidates)
    (candidates,) = shell(*arguments, "the,unforeseeable").json
    assert isinstance(candidates[0]["token"], int) and len(candidates[1]["token"]) > 3
    assert candidates[1]["token_str"] == "unforeseeable" and 0 < candidates[1]["score"] < candidates[0]["score"]
    assert candidates[1]["sequence"].split() == ["A", "unforeseeable."]
    assert_refused(shell(*arguments, "the,</s>"), "'</s>'")


def test_predict_fills_all_masks_together_when_asked(shell: Shell) -> None:
    arguments = ("predict", "The ___ orbits the ___.", "--joint", "--top-k", "3")
    fillings = shell(*arguments, "--json").json
    assert [list(one) for one in fillings] == [["words", "log_probability", "pieces", "sequence"]] * 3
    assert fillings[0]["sequence"] == "The {} orbits the {}.".format(*fillings[0]["words"])
    lines = shell(*arguments).out.splitlines()
    assert len(lines) == 3 and all("orbits" in line for line in lines)


def test_score_tells_the_surprisal_of_every_token(shell: Shell) -> None:
    scored = shell("score", "Water boils.", "--json").json
    assert [token["text"] for token in scored["tokens"]][-1] == "." and scored["windows"] == 1
    assert scored["pseudo_perplexity"] == pytest.approx(math.exp(scored["nats"] / scored["count"]))
    lines = shell("score", "Water boils.").out.splitlines()
    assert len(lines) == len(scored["tokens"]) + 1 and "pseudo-perplexity" in lines[-1]
    assert_refused(shell("score", "___", "--json"), "no word in the text")


def test_predict_without_json_prints_a_line_for_every_candidate(shell: Shell) -> None:
    lines = shell("predict", "A <mask>.", "--top-k", "2").out.splitlines()
    assert len(lines) == 2 and all("%" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("No gap here.",), "There is no <mask> in the text."),
        (("A <mask>.", "--top-k", "0"), "top_k is 0.0; it must be a whole number from 1 to 100."),
        (("A <mask>.", "--top-k", "2.5"), "top_k is 2.5; it must be"),
        (("A <mask>.", "--top-k", "nan"), "top_k is nan; it must be"),
        (("A <mask>.", "--top-k", "five"), "argument --top-k: invalid float value: 'five'"),
        (("A <mask>.", "--model", "nobody/nothing"), "'nobody/nothing'"),
        (("A <mask> \udcff.",), "half a character"),
        ((), "required: TEXT"),
        (("A <mask>.", "--joint", "--targets", "a"), "not allowed with argument --joint"),
    ],
    ids=["no mask", "top_k 0", "top_k 2.5", "top_k nan", "top_k five", "model", "bytes", "no text", "both"],
)
def test_predict_refuses_what_cannot_be_answered(arguments: tuple[str, ...], expected: str, shell: Shell) -> None:
    assert_refused(shell("predict", *arguments, "--json"), expected)
