"""A user's mistake is one line on standard error and exit code 2, and loses nothing."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.shell.answers import Shell, assert_refused, in_process_of_its_own, made
from trainer.config import TrainConfig
from trainer.events import Warned
from trainer.runs.folder import RunFolder

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
