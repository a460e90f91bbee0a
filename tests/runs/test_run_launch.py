"""The command, the environment and the last words of a run's process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.runs.folder import RunFolder
from trainer.runs.launch import command, environment, failure


def test_the_command_is_one_a_person_could_type(tmp_path):
    assert command(RunFolder(tmp_path)) == [sys.executable, "-m", "trainer", "run", str(tmp_path)]


@pytest.mark.parametrize(
    "name",
    "HF_TOKEN HUGGING_FACE_HUB_TOKEN HUGGINGFACE_HUB_TOKEN HF_TOKEN_PATH hf_token OAUTH_CLIENT_SECRET "
    "WANDB_API_KEY AWS_SECRET_ACCESS_KEY DB_PASSWORD".split(),
)
def test_secrets_are_left_out(name):
    assert "hush" not in environment({name: "hush", "PATH": "/bin"}).values()


def test_everything_else_is_kept_and_nothing_is_asked_of_the_hub_behind_the_users_back():
    base = {"PATH": "/bin", "TOKENIZERS_PARALLELISM": "true", "MASK_STUDIO_HOME": "/runs"}
    made = environment(base)
    assert base.items() <= made.items()
    assert "HF_TOKEN" not in made
    for name in ("HF_HUB_DISABLE_TELEMETRY", "DISABLE_SAFETENSORS_CONVERSION", "HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        assert made[name] == "1"


def test_the_package_is_found_from_any_folder(tmp_path):
    made = environment({**os.environ, "PYTHONPATH": "/elsewhere"})
    assert made["PYTHONPATH"].split(os.pathsep)[1:] == ["/elsewhere"]
    asked = [sys.executable, "-c", "import trainer; print(trainer.__file__)"]
    found = subprocess.run(asked, cwd=tmp_path, env=made, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).is_relative_to(Path(__file__).resolve().parents[2])


@pytest.mark.parametrize(
    ("returncode", "words"),
    [(-9, "SIGKILL"), (-11, "SIGSEGV"), (-40, "signal 40"), (1, "exit code 1"), (0, "exit code 0")],
)
def test_a_death_is_told_with_signal_or_exit_code_and_the_end_of_the_log(returncode, words):
    event = failure(returncode, "some line\nlast line")
    assert words in event.what
    assert event.what.endswith("last line")
    assert event.fix


def test_sigkill_hints_at_memory_and_an_empty_log_is_not_mentioned():
    event = failure(-9, "")
    assert "memory" in event.fix
    assert "log" not in event.what
