"""The learning rate against the schedulers of transformers."""

from __future__ import annotations

import pytest
import torch
import transformers

from trainer.engine.schedule import learning_rate_at

PEAK, STEPS = 3e-4, 40


def rates(**options) -> list[float]:
    return [learning_rate_at(step, peak=PEAK, total_steps=STEPS, **options) for step in range(STEPS + 3)]


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant"])
def test_without_warm_up_every_rate_is_that_of_transformers(kind):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = transformers.get_scheduler(kind, optimizer, num_warmup_steps=0, num_training_steps=STEPS)
    theirs = []
    for _ in range(STEPS):
        theirs.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates(warmup_steps=0, kind=kind)[:STEPS] == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant"])
def test_warm_up_rises_from_above_zero_to_the_peak(kind):
    rising = rates(warmup_steps=10, kind=kind)[:10]
    assert rising == pytest.approx([PEAK * (step + 1) / 10 for step in range(10)])
    assert rising[-1] == PEAK


def test_after_warm_up_it_falls_to_zero_and_stays_there():
    for kind in ("linear", "cosine"):
        falling = rates(warmup_steps=10, kind=kind)[10:]
        assert falling == sorted(falling, reverse=True)
        assert falling[0] == PEAK and falling[-3:] == [0.0, 0.0, 0.0]
    assert set(rates(warmup_steps=10, kind="constant")[10:]) == {PEAK}
