"""A run in memory: model, optimizer and counters, and the single steps the loop is made of."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from trainer.config import TrainConfig
from trainer.engine import sharding
from trainer.engine.batches import Batches
from trainer.engine.best_model import BestModel
from trainer.engine.checkpoint import CHECKPOINTS
from trainer.engine.evaluation import Left, evaluate_model
from trainer.engine.masking import DROPOUT, MaskedBatch, hashed
from trainer.engine.optimizer import optimizers
from trainer.engine.pace import Pace
from trainer.engine.preparation import Prepared
from trainer.engine.recorder import Numbers, Recorder, places_for
from trainer.engine.schedule import learning_rate_at
from trainer.engine.window import Window
from trainer.errors import TrainingError
from trainer.events import Emit, Evaluated, Probed, StepLogged, Warned

PROBE_CANDIDATES = 5


class Training:
    """What changes while a run goes on. `step` counts optimizer updates done."""

    def __init__(
        self,
        config: TrainConfig,
        prepared: Prepared,
        accelerator: Accelerator,
        emit: Emit,
        output_dir: Path,
        began: float,
    ) -> None:
        self.config = config
        self.accelerator = accelerator
        self.output_dir = output_dir
        self.prepared, self.plan = prepared, prepared.plan
        self.step = 0
        self.best_loss = math.inf
        self.evaluations_since_best = 0
        self.evaluated_step: int | None = None
        self.saved_step: int | None = None

        self.model = prepared.model.train()  # the module itself; `wrapped` is what ranks share
        self.best_model = BestModel(self.model, output_dir / "model", accelerator, emit)
        self.emit = self.best_model.emit
        self.is_sharded = config.fsdp and accelerator.num_processes > 1
        if self.is_sharded:
            sharding.shard(self.model, accelerator)
            self.wrapped, self.optimizers = self.model, optimizers(self.model, config)
        else:
            self.model.to(accelerator.device)
            if self.plan.compile:
                self.model.compile()
            self.wrapped, *self.optimizers = accelerator.prepare(self.model, *optimizers(self.model, config))
        rank, ranks = accelerator.process_index, accelerator.num_processes
        self.batches = Batches(config, prepared, rank, ranks, together=self.is_sharded)
        tokens = self.plan.block_size if self.plan.compile and not config.line_by_line else 0  # compiled for one shape
        self._places = places_for((config.per_device_train_batch_size, tokens), config.mlm_probability)
        self.recorder: Recorder | None = None
        if self.plan.cuda_graph and ranks == 1:
            self.recorder = Recorder(self._update, self.optimizers, config, self.plan, accelerator.device, self.emit)
        floats = 3 * sum(p.numel() for p in self.model.parameters())  # weights, and AdamW's two moments of each
        self.pace = Pace(began, config.max_seconds, 4 * floats)
        self.started = time.monotonic()
        self.open_window()

    @property
    def epoch(self) -> float:
        return self.step / self.plan.steps_per_epoch

    @property
    def checkpoint(self) -> Path:
        """The one that is written at this step."""
        return self.output_dir / CHECKPOINTS / f"step-{self.step}"

    @property
    def elapsed_seconds(self) -> float:
        return time.monotonic() - self.started

    def train_step(self) -> None:
        """One optimizer update on the next global batch; no number is read back from the device."""
        began = time.monotonic()
        mine = self.batches.of(self.step)
        masked = float(sum(len(batch.targets) for _, batch in mine))
        of_all = self.accelerator.reduce(torch.full((), masked, device=self.accelerator.device))
        self.learning_rate = self._learning_rate()
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate
        self._seed(mine[0][0])
        update = self.recorder.update if self.recorder else self._update
        nats, self.grad_norm = update(mine, of_all)
        self.window.nats += nats
        self.step += 1
        self.window.note_step([batch for _, batch in mine])
        self.pace.note_step(time.monotonic() - began)

    def _seed(self, number: int) -> None:
        """Dropout is a function of the step and of the micro-batch."""
        seed = int(hashed(self.config.seed, DROPOUT, self.step, number))
        # `torch.manual_seed` writes down the stack for each kind of device that isn't there, for 0.15 ms.
        torch.default_generator.manual_seed(seed)
        if self.accelerator.device.type != "cpu":
            torch.get_device_module(self.accelerator.device).manual_seed(seed)

    def _update(self, batches: Sequence[tuple[int, MaskedBatch]], masked: Tensor) -> Numbers:
        """All that a step does on the device; for its first batch, the dropout is seeded already."""
        nats = torch.zeros((), device=self.accelerator.device)
        for number, batch in batches:
            if number != batches[0][0]:
                self._seed(number)
            if len(batch.positions) < self._places:
                batch = batch.of_shape(self.config.per_device_train_batch_size, self._places)
            with nullcontext() if number == batches[-1][0] else self.accelerator.no_sync(self.wrapped):
                nats += self._backward(batch.to(self.accelerator.device), masked)
        clip = sharding.clip_gradients if self.is_sharded else self.accelerator.clip_grad_norm_
        grad_norm = clip(self.wrapped.parameters(), self.config.max_grad_norm or math.inf)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return nats, grad_norm

    def _backward(self, batch: MaskedBatch, masked: Tensor) -> Tensor:
        nats: Tensor = self.wrapped(batch.input_ids, batch.positions, batch.targets, batch.attention_mask)
        # The exchange between ranks takes the mean of their gradients; the sum over all, divided once, is wanted.
        self.accelerator.backward(nats * (self.accelerator.num_processes / masked.clamp(min=1)))
        return nats.detach()

    def _learning_rate(self) -> float:
        return learning_rate_at(
            self.step,
            peak=self.config.learning_rate,
            warmup_steps=round(self.config.warmup_ratio * self.plan.steps),
            total_steps=self.plan.steps,
            kind=self.config.lr_scheduler_type,
        )

    def log(self) -> None:
        """A point of the training curve, and the probe sentence beside it.

        Raises: TrainingError when the loss is no longer a finite number.
        """
        if self.window.steps:
            self._log_window()
        self.probe()
        self.pace.note_point()
        self.open_window()

    def _log_window(self) -> None:
        nats, masked, tokens = self.window.sums(self.accelerator)
        grad_norm = float(self.grad_norm)
        if not masked:
            return
        seconds = self.window.seconds  # only now, as the device has done all that was asked of it
        self.pace.note_step(seconds / self.window.steps)
        if not math.isfinite(nats) or not math.isfinite(grad_norm):
            raise TrainingError(
                f"The loss was no longer a finite number at step {self.step} (learning rate {self.learning_rate:.3g}).",
                f"Start again with a lower learning_rate, {self.config.learning_rate / 3:.1g} perhaps; "
                "the model and the checkpoint from before are kept.",
            )
        self.emit(
            StepLogged(
                step=self.step,
                epoch=self.epoch,
                loss=nats / masked,
                learning_rate=self.learning_rate,
                grad_norm=grad_norm,
                tokens_per_second=tokens / max(seconds, 1e-9),
                elapsed_seconds=self.elapsed_seconds,
            )
        )

    def probe(self) -> None:
        """What the model now answers to the probe sentence."""
        if not self.config.probe_text or not (self.accelerator.is_main_process or self.is_sharded):
            return
        words = self.model.top_words(self.config.probe_text, PROBE_CANDIDATES)
        candidates = [{"score": score, "token_str": word} for word, score in words]
        self.emit(Probed(step=self.step, text=self.config.probe_text, candidates=candidates))

    def evaluate(self, why_leave: Callable[[], str | None]) -> str | None:
        """The held-out loss; a model better than all before replaces `model/`. Or why it was left before its end."""
        began = time.monotonic()
        size, accelerator = self.config.per_device_train_batch_size, self.accelerator
        how = {"batch_size": size, "accelerator": accelerator, "why_leave": why_leave}
        try:
            result = evaluate_model(self.model, self.prepared.held_out, self.prepared.masking, **how)
        except Left as left:
            self.pace.evaluation_seconds = max(self.pace.evaluation_seconds, self._mean_seconds_since(began))
            return str(left)
        seconds = self._mean_seconds_since(began)
        if not result["masked_tokens"]:  # nothing is held out, or too little for a mask
            self.best_model.replace()
            return None
        if not math.isfinite(result["loss"]):
            raise TrainingError(
                f"The held-out loss is not a finite number at step {self.step}.",
                "Start again with a lower learning rate.",
            )
        best = result["loss"] < self.best_loss
        self.evaluations_since_best = 0 if best else self.evaluations_since_best + 1
        if best:
            self.best_loss = result["loss"]
            self.best_model.replace()
        self.evaluated_step = self.step
        self.pace.evaluation_seconds = seconds + self.best_model.seconds
        self.emit(Evaluated(step=self.step, epoch=self.epoch, best=best, **result))
        self.open_window()
        return None

    def _mean_seconds_since(self, began: float) -> float:
        """Of all ranks, which decide by it."""
        seconds = torch.tensor(time.monotonic() - began, device=self.accelerator.device)
        return float(self.accelerator.reduce(seconds, "mean"))

    def keep_unmeasured(self) -> None:
        """`model/` as it is now, for a run that ends before its first evaluation and has no time for one."""
        self.best_model.replace()
        self.emit(Warned(message="The run ended before an evaluation: this model has not been measured."))

    def is_patient(self) -> bool:
        patience = self.config.early_stopping_patience
        return patience is None or self.evaluations_since_best < patience

    def close(self) -> None:
        """Waits for what is being written, and gives the device's memory back."""
        self.recorder = None  # which holds this run, as the run holds it
        self.accelerator.free_memory()
        self.best_model.close()

    def open_window(self) -> None:
        """From here on the next point of the curve is added up."""
        self.window = Window(self.accelerator.device)
