"""All GPUs are used where there are several, and what is asked for but not there is an error."""

import sys

import pytest

from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.runs import backends
from trainer.runs.backends import Backends, HubJob, LocalDevices, LocalProcess, backend_of, visible_gpus
from trainer.runs.folder import RunFolder


@pytest.fixture
def driver(monkeypatch):
    """Makes a driver's tool that lists so many GPUs."""

    def make(count):
        lines = "".join(f"GPU {number}: NVIDIA H100 (UUID: GPU-{number})\\n" for number in range(count))
        monkeypatch.setattr(backends, "SMI", (sys.executable, "-S", "-c", f"print('{lines}', end='')"))

    return make


@pytest.mark.parametrize(
    ("chosen", "seen"), [(None, 4), ("0,1", 2), ("", 0), ("2", 1), ("0,-1,1", 1), ("0,1,2,3,4,5", 4)]
)
def test_the_gpus_a_run_would_see_are_counted(chosen, seen, driver):
    driver(4)
    assert visible_gpus({} if chosen is None else {"CUDA_VISIBLE_DEVICES": chosen}) == seen


def test_several_gpus_are_used_by_themselves_and_one_process_only_when_asked_for(driver):
    driver(4)
    assert backend_of({}) == LocalDevices(4)
    assert backend_of({"MASK_STUDIO_BACKEND": "process"}) == LocalProcess()
    driver(1)
    assert backend_of({}) == LocalProcess()


def test_a_machine_without_a_driver_has_no_gpu_and_says_so_to_who_wants_several(monkeypatch):
    monkeypatch.setattr(backends, "SMI", ("no-such-tool",))
    assert backend_of({}) == LocalProcess()
    with pytest.raises(ConfigError, match="no GPU is visible"):
        backend_of({"MASK_STUDIO_BACKEND": "devices"})
    with pytest.raises(ConfigError, match="must be one of auto, process, devices"):
        backend_of({"MASK_STUDIO_BACKEND": "cloud"})


@pytest.mark.parametrize(("gpus", "backend"), [(1, LocalProcess()), (4, LocalDevices(4))])
def test_a_run_that_began_here_goes_on_here_though_new_ones_rent_a_machine(gpus, backend, driver, tmp_path):
    driver(gpus)
    backends, folder = Backends({"MASK_STUDIO_BACKEND": "job"}, "hf_token"), RunFolder(tmp_path)
    assert (backends.of(folder), backends.secret(folder)) == (backend, "")
    folder.write_config(TrainConfig(), backend=backends.check(backends.usual_key))
    assert (backends.of(folder), backends.secret(folder)) == (HubJob("t4-small"), "hf_token")


def test_a_launch_of_fewer_processes_than_there_are_gpus_would_be_an_error(tmp_path):
    command = LocalDevices(4).command(RunFolder(tmp_path))
    assert command[command.index("--num_processes") + 1] == "4"
    assert command[-5:] == ["trainer", "run", str(tmp_path), "--processes", "4"]


def test_the_page_refuses_a_wrong_name_with_one_sentence_and_exit_code_2(monkeypatch, capsys):
    import app

    monkeypatch.setenv("MASK_STUDIO_BACKEND", "cloud")
    assert app.main() == 2
    assert capsys.readouterr().err.startswith("error: MASK_STUDIO_BACKEND is 'cloud'; it must be one of auto")
