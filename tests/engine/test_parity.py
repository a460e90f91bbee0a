"""Our loop against a plain `transformers.Trainer`: the same blocks and masks, the same losses and weights."""

from __future__ import annotations

import json
import shutil

import pytest
import safetensors.torch
import torch
import transformers

from trainer.config import TrainConfig
from trainer.engine.loop import fit, ignore
from trainer.engine.masking import shuffled
from trainer.engine.preparation import prepare
from trainer.engine.training import Training
from trainer.events import StepLogged

STEPS, BATCH = 50, 8


@pytest.fixture(scope="module")
def settings(tiny_model, answers, tmp_path_factory):
    """A RoBERTa without dropout, and a text whose blocks differ much in how many of their tokens are masked.

    Long answers come first, then single words, of whose tokens two thirds are special ones and never masked.
    """
    folder = tmp_path_factory.mktemp("parity")
    shutil.copytree(tiny_model("roberta"), folder / "model")
    config = json.loads((folder / "model/config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "model/config.json").write_text(json.dumps(config))
    words = " ".join(answers).split()[:2500]
    (folder / "uneven.txt").write_text("\n\n".join([*answers[:80], *words]), encoding="utf-8")
    return {
        "model": str(folder / "model"),
        "dataset": str(folder / "uneven.txt"),
        "test_size": 0.05,
        "block_size": 32,
        "max_steps": STEPS,
        "save_steps": STEPS,
        "logging_steps": 1,
        "learning_rate": 3e-4,
        "weight_decay": 0.5,  # so much that a bias which decays, or a matrix which does not, shows
        "precision": "float32",
        "probe_text": None,
    }


class Recording(transformers.Trainer):
    """The plain Trainer; it only keeps the exact loss of each step, which it would round for its log."""

    def training_step(self, *arguments, **options):
        loss = super().training_step(*arguments, **options)
        self.__dict__.setdefault("losses", []).append(loss.item())
        return loss


@pytest.fixture(scope="module")
def theirs(settings, tmp_path_factory):
    """Losses and final weights of the Trainer for our blocks and masks in our order."""
    folder = tmp_path_factory.mktemp("theirs")
    prepared = prepare(TrainConfig(**settings), ignore, folder)
    assert len(prepared.train) >= STEPS * BATCH  # so all steps lie in one epoch
    examples = []
    for block in shuffled(len(prepared.train), seed=42, epoch=0)[: STEPS * BATCH].split(1):
        batch = prepared.masking(prepared.train.take(block)[0], block, epoch=0)
        labels = torch.full((batch.input_ids.numel(),), -100)
        labels[batch.positions] = batch.targets
        examples.append({"input_ids": batch.input_ids[0], "labels": labels})
    masked = [int((example["labels"] >= 0).sum()) for example in examples]
    assert min(masked) == 0 and max(masked) >= 10
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "output"),
        per_device_train_batch_size=BATCH,
        max_steps=STEPS,
        learning_rate=settings["learning_rate"],
        weight_decay=settings["weight_decay"],
        lr_scheduler_type="linear",
        train_sampling_strategy="sequential",
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Recording(
        transformers.AutoModelForMaskedLM.from_pretrained(settings["model"], dtype=torch.float32),
        arguments,
        train_dataset=examples,
        data_collator=transformers.default_data_collator,
    )
    trainer.train()
    return trainer.losses, dict(trainer.model.named_parameters())


@pytest.fixture
def differences(settings, theirs, tmp_path):
    """Runs `fit`; gives the largest relative difference of a loss, and the largest absolute one of a final weight."""

    def run(**changes):
        events = []
        fit(TrainConfig(**(settings | changes)), events.append, output_dir=tmp_path)
        losses = [event.loss for event in events if isinstance(event, StepLogged)]
        model = transformers.AutoModelForMaskedLM.from_pretrained(settings["model"], dtype=torch.float32)
        safetensors.torch.load_model(model, tmp_path / f"checkpoints/step-{STEPS}/model.safetensors")
        their_losses, their_weights = theirs
        assert len(losses) == len(their_losses) == STEPS
        by_loss = max(abs(ours / their - 1) for ours, their in zip(losses, their_losses, strict=True))
        by_weight = max((p - their_weights[name]).abs().max().item() for name, p in model.named_parameters())
        return by_loss, by_weight

    return run


@pytest.mark.parametrize(("size", "accumulation"), [(8, 1), (4, 2), (1, 8)])
def test_fifty_steps_equal_those_of_the_trainer(size, accumulation, differences):
    by_loss, by_weight = differences(per_device_train_batch_size=size, gradient_accumulation_steps=accumulation)
    assert by_loss < 1e-5 and by_weight < 1e-5


def test_the_comparison_notices_a_loss_averaged_per_batch(differences, monkeypatch):
    def averaged(training, batch, masked):
        nats = training.wrapped(batch.input_ids, batch.positions, batch.targets)
        mean = nats / max(len(batch.targets), 1) / training.config.gradient_accumulation_steps
        training.accelerator.backward(mean)
        return mean.detach() * masked

    monkeypatch.setattr(Training, "_backward", averaged)
    by_loss, by_weight = differences(per_device_train_batch_size=4, gradient_accumulation_steps=2)
    assert by_loss > 1e-4 and by_weight > 1e-4


def test_the_comparison_notices_one_wrong_learning_rate(differences, monkeypatch):
    original = Training._learning_rate
    monkeypatch.setattr(Training, "_learning_rate", lambda t: original(t) * (1.1 if t.step == 10 else 1.0))
    assert max(differences()) > 1e-5
