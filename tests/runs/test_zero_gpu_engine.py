"""The engine in slices of a lent GPU, in processes that are forked and killed as there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from trainer.runs import launch
from trainer.runs.folder import RunFolder
from trainer.runs.history import RunReader

pytestmark = pytest.mark.slow

ZERO_GPU = Path(__file__).parents[1] / "zero_gpu"
STEPS = 6

# The page's process, without the page: every slice has time for one step, and the third one is killed in its middle.
PAGE = """
import json
import sys
from pathlib import Path
import spaces
from trainer import slice
from trainer.config import TrainConfig
from trainer.runs.manager import RunManager
from trainer.runs.ownership import OwnRuns, Visitor
from trainer.runs.zero_gpu import Slicer, ZeroGpu

home, settings = Path(sys.argv[1]), sys.argv[2]
slice.MARGIN = 1.0
spaces.lender.kill_after = {3: 6}
slice.load_engine()
runs = RunManager(home, {}, starts=False)
own = OwnRuns(runs, Visitor(sees_all=True))
slicer = Slicer(runs, ZeroGpu().lent(slice.slice_of), 300.0)
runs.start(TrainConfig.from_dict(json.loads(settings)))
while slicer.next_of(own):
    list(slicer.slice_of(own))
print(len(spaces.lender.lent))
"""


def curve(folder):
    """The points of the training curve that hold, and the evaluations, without their times."""
    view = RunReader(folder).read()
    points = [[point[name] for name in ("step", "loss", "learning_rate", "grad_norm")] for point in view.points]
    return points, [[record[name] for name in ("step", "loss", "accuracy", "best")] for record in view.evaluations]


def test_a_run_in_slices_of_which_one_is_killed_becomes_the_unbroken_run(tiny_model, sample_text, tmp_path):
    from trainer.config import TrainConfig

    config = TrainConfig(
        model=str(tiny_model("roberta")), dataset=str(sample_text), block_size=32, learning_rate=1e-3,
        precision="float32", max_steps=STEPS, logging_steps=1, eval_steps=3, save_steps=STEPS, probe_text=None,
    )  # fmt: skip
    environment = launch.environment(os.environ) | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    whole = RunFolder(tmp_path / "whole" / "20260101-120000-quiet-otter")
    whole.write_config(config)
    subprocess.run(launch.command(whole), env=environment, check=True, timeout=300)

    environment["PYTHONPATH"] = os.pathsep.join([str(ZERO_GPU), environment["PYTHONPATH"]])
    home = tmp_path / "slices"
    command = [sys.executable, "-c", PAGE, str(home), config.to_json()]
    done = subprocess.run(command, env=environment, check=True, timeout=600, stdout=subprocess.PIPE, text=True)
    (run,) = home.glob("2*")
    folder, view = RunFolder(run), RunReader(RunFolder(run)).read()

    assert view.state == "completed" and view.step == STEPS, view.failure
    kinds = [json.loads(line)["kind"] for line in folder.events.read_text().splitlines()]
    lent, paused = kinds.count("gpu_lent"), kinds.count("paused")
    assert lent == int(done.stdout) == view.slice_number
    assert lent == paused + 2  # the killed one, and the last
    assert curve(folder) == curve(whole)
    for file in (f"checkpoints/step-{STEPS}/model.safetensors", "model/model.safetensors"):
        one, other = (safetensors.torch.load_file(path / file) for path in (whole.path, run))
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one), file


def test_a_visitor_who_leaves_ends_the_slice_at_a_checkpoint(tiny_model, sample_text, tmp_path, monkeypatch):
    from trainer.config import TrainConfig
    from trainer.slice import slice_of

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = RunFolder(tmp_path / "20260101-120000-quiet-otter")
    folder.write_config(
        TrainConfig(model=str(tiny_model("roberta")), dataset=str(sample_text), block_size=32, max_steps=10**6,
                    logging_steps=1, probe_text=None, compile="off")
    )  # fmt: skip
    signs = slice_of(str(folder.path), 600.0)
    while next(signs) != "step_logged":
        pass
    signs.close()
    assert folder.is_waiting() and folder.newest_checkpoint() and not folder.is_alive()


def test_a_run_whose_settings_cannot_be_read_fails_in_words(tmp_path):
    from trainer.slice import slice_of

    folder = RunFolder(tmp_path / "20260101-120000-quiet-otter")
    folder.path.mkdir()
    folder.config.write_text("{")
    list(slice_of(str(folder.path), 600.0))
    record = folder.last_record()
    assert record["kind"] == "failed" and "can't be read" in record["what"]
