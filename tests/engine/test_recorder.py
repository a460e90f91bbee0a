"""Steps that are recorded and played again. A CUDA graph itself needs a GPU; all around it is tried without one."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.engine.told import of
from trainer.engine import hardware, recorder, training, trial
from trainer.engine.loop import fit
from trainer.engine.masking import MaskedBatch
from trainer.engine.model import load_model
from trainer.engine.preparation import prepare
from trainer.events import Evaluated, Finished, Planned, StepLogged, Warned

KNOWN = ("roberta", "distilbert", "bert", "modernbert")
# What a GPU must be waited for, and what is brought to it from elsewhere: neither can be recorded.
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal.default", "lift_fresh", "unique")


class Asked(TorchDispatchMode):
    """Notes the operations that would wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.names, self.total = set(), 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.total += 1
        indices = args[1] if "index" in str(function) and len(args) > 1 and isinstance(args[1], list | tuple) else ()
        by_mask = any(torch.is_tensor(index) and index.dtype == torch.bool for index in indices)
        if by_mask or any(name in str(function) for name in WAITING):
            self.names.add(str(function))
        return function(*args, **(kwargs or {}))


@pytest.fixture
def playing(monkeypatch):
    """A recorder that plays by doing everything anew; notes what it played."""
    played = []

    def recorded(update, stream):
        def play():
            played.append(1)
            return update()

        return play

    monkeypatch.setattr(hardware, "records_steps", lambda: True)
    monkeypatch.setattr(recorder, "recorded", recorded)
    return played


@pytest.fixture
def batch():
    ids = torch.randint(5, 200, (4, 16), generator=torch.Generator().manual_seed(3))
    positions = torch.tensor([0, 5, 17, 40, 63])
    return MaskedBatch(ids, positions, ids.flatten()[positions])


def curve(events):
    return [(event.step, event.loss, event.grad_norm) for event in of(StepLogged, events)]


@pytest.mark.parametrize("blocks, count", [(4, 5), (4, 6), (4, 64), (5, 5), (7, 112)])
def test_what_fills_a_batch_up_changes_neither_loss_nor_gradients(blocks, count, batch, tiny_model):
    model = load_model(str(tiny_model("modernbert"))).train()
    filled = batch.of_shape(blocks, count)
    results = []
    for each in (batch, filled):
        nats = model(each.input_ids, each.positions, each.targets)
        model.zero_grad()
        nats.backward()
        results.append([nats.detach(), *(p.grad.clone() for p in model.parameters())])
    assert len(filled.positions.unique()) == count and filled.input_ids.shape == (blocks, 16)
    for plain, padded in zip(*results, strict=True):
        torch.testing.assert_close(padded, plain, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optim", ["adamw", "muon"])
def test_a_run_of_recorded_steps_is_the_same_run(optim, playing, tiny_config, tiny_model, tmp_path, monkeypatch):
    config = tiny_config(model=str(tiny_model("modernbert")), optim=optim, max_steps=None, num_train_epochs=2.0)
    events = []
    fit(config, events.append, output_dir=tmp_path / "recorded")
    (planned,) = of(Planned, events)
    assert planned.cuda_graph and planned.steps > 2 * recorder.WARM_UP
    assert planned.train_blocks % config.per_device_train_batch_size  # are left for the last step of an epoch
    assert len(playing) == planned.steps - recorder.WARM_UP

    monkeypatch.setattr(hardware, "records_steps", lambda: False)
    plain = []
    fit(config, plain.append, output_dir=tmp_path / "plain")
    assert not of(Planned, plain)[0].cuda_graph
    assert [step for step, *_ in curve(events)] == [step for step, *_ in curve(plain)]
    for recorded_point, point in zip(curve(events), curve(plain), strict=True):
        assert recorded_point == pytest.approx(point, rel=2e-3)
    assert of(Evaluated, events)[-1].loss == pytest.approx(of(Evaluated, plain)[-1].loss, rel=1e-3)


def test_a_batch_with_more_masks_than_there_are_places_takes_the_long_way(
    playing, tiny_config, tiny_model, tmp_path, monkeypatch
):
    monkeypatch.setattr(recorder, "places_for", lambda shape, probability: 1)
    events = []
    fit(tiny_config(model=str(tiny_model("modernbert"))), events.append, output_dir=tmp_path / "run")
    assert len(curve(events)) == 6 and not playing


def test_the_rate_of_a_recorded_step_is_that_of_the_schedule(playing, tiny_config, tiny_model, tmp_path):
    """A constant would have been recorded along."""
    start = load_model(str(tiny_model("modernbert"))).state_dict()
    moved = []
    for rate in (1e-3, 1e-7):
        config = tiny_config(model=str(tiny_model("modernbert")), max_steps=12, learning_rate=rate)
        fit(config, output_dir=tmp_path / str(rate))
        weights = load_model(str(tmp_path / str(rate) / "model")).state_dict()
        moved.append(max((weights[name] - start[name]).abs().max() for name in start))
    assert moved[0] > 1e-3 and moved[1] < 3e-6 and len(playing) == 2 * (12 - recorder.WARM_UP)


def test_the_time_that_is_promised_is_that_of_recorded_steps(playing, tiny_config, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "SECONDS", 0.2)
    config = tiny_config(model=str(tiny_model("modernbert")))
    prepared = prepare(config, [].append, tmp_path)
    estimate = trial.measured(config, prepared, hardware.choose("float32"))
    assert estimate and estimate.step_seconds > 0 and playing


@pytest.mark.parametrize("reason", ["operation not permitted when stream is capturing\nmore of it", ""])
def test_where_steps_cannot_be_recorded_the_run_goes_on_without(reason, tiny_config, tiny_model, tmp_path, monkeypatch):
    def broken(update, stream):
        raise RuntimeError(reason)

    monkeypatch.setattr(hardware, "records_steps", lambda: True)
    monkeypatch.setattr(recorder, "recorded", broken)
    events = []
    fit(tiny_config(model=str(tiny_model("modernbert"))), events.append, output_dir=tmp_path / "run")
    (warned,) = of(Warned, events)
    assert (reason.partition("\n")[0] or "RuntimeError") in warned.message and "more of it" not in warned.message
    assert of(Finished, events)[0].reason == "completed" and len(curve(events)) == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"compile": "off"},
        {"gradient_accumulation_steps": 2},
        {"per_device_train_batch_size": 1024},
        {"line_by_line": True},
    ],
)
def test_steps_are_recorded_only_where_they_are_small_and_alike(changes, playing, tiny_config, tmp_path):
    events = []
    fit(tiny_config(**changes), events.append, output_dir=tmp_path / "run")
    assert not of(Planned, events)[0].cuda_graph and not playing


@pytest.mark.parametrize("optim", ["adamw", "muon"])
@pytest.mark.parametrize("kind", KNOWN)
def test_a_step_that_is_recorded_waits_for_nothing_and_fetches_nothing(
    kind, optim, tiny_config, tiny_model, tmp_path, monkeypatch
):
    """Otherwise a GPU could neither work ahead nor be given the step as one."""
    asked = Asked()

    def watched(update, stream):
        with asked:
            update()
        return update

    monkeypatch.setattr(hardware, "records_steps", lambda: True)
    monkeypatch.setattr(recorder, "recorded", watched)
    fit(tiny_config(model=str(tiny_model(kind)), optim=optim), output_dir=tmp_path / "run")
    assert asked.total > 100 and not asked.names


@pytest.mark.gpu
@pytest.mark.parametrize("logging_steps", [1, None])
@pytest.mark.parametrize("optim", ["adamw", "muon"])
@pytest.mark.parametrize("kind", ["modernbert", "roberta"])
def test_a_cuda_graph_teaches_what_single_kernels_teach(kind, optim, logging_steps, tiny_config, tiny_model, tmp_path):
    losses = {}
    for compile_it in ("auto", "off"):
        events = []
        changes = {"max_steps": 60, "compile": compile_it, "precision": "auto", "logging_steps": logging_steps}
        config = tiny_config(model=str(tiny_model(kind)), optim=optim, **changes)
        fit(config, events.append, output_dir=tmp_path / compile_it)
        assert of(Planned, events)[0].cuda_graph == (compile_it == "auto") and not of(Warned, events)
        losses[compile_it] = of(Evaluated, events)[-1].loss
    assert losses["auto"] == pytest.approx(losses["off"], rel=2e-2)


@pytest.mark.gpu
def test_a_step_that_waits_for_the_gpu_is_not_recorded_and_the_run_goes_on(
    tiny_config, tiny_model, tmp_path, monkeypatch
):
    original = training.Training._backward

    def waiting(self, batch, masked):
        nats = original(self, batch, masked)
        nats.item()
        return nats

    monkeypatch.setattr(training.Training, "_backward", waiting)
    events = []
    fit(tiny_config(model=str(tiny_model("roberta")), max_steps=10), events.append, output_dir=tmp_path / "run")
    assert len(of(Warned, events)) == 1 and of(Finished, events)[0].reason == "completed" and len(curve(events)) == 10
