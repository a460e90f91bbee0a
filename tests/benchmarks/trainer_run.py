"""A run with `transformers.Trainer`, as the tutorial writes it or with the best settings it has for the device.

A process of its own: `python -m tests.benchmarks.trainer_run MODEL TEXT FOLDER OPTIONS`, as JSON: `max_steps` of a
`batch` each, or `num_train_epochs` with all that the tutorial measures and saves; `best`; `compile`. It prints seconds
a step and in all, and the loss.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from trainer.config import TrainConfig
from trainer.engine import hardware
from trainer.engine.blocks import make_blocks, split_documents
from trainer.engine.documents import load_documents


class Stopwatch(TrainerCallback):
    """When the steps ended; those up to `warm_up` don't count."""

    def __init__(self, warm_up: int) -> None:
        self.warm_up, self.moments = warm_up, [time.perf_counter()] * 2

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.warm_up or state.global_step == state.max_steps:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.moments[int(state.global_step > self.warm_up)] = time.perf_counter()


def main() -> None:
    model_folder, text, folder, options = sys.argv[1:]
    asked = json.loads(options)
    best, epochs = asked.get("best", False), asked.get("num_train_epochs")
    config = TrainConfig(dataset=text)
    documents = load_documents(config)
    learned, held_out = split_documents(documents, test_size=config.test_size, seed=config.seed)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)

    def examples(part: Any, name: str) -> list[dict[str, list[int]]]:
        """As the tutorial's data set gives them."""
        blocks = make_blocks(documents.batches(part), tokenizer, config.block_size, Path(folder) / name)
        return [{"input_ids": row} for row in blocks.ids.reshape(len(blocks), -1).tolist()]

    model = AutoModelForMaskedLM.from_pretrained(model_folder, dtype=torch.float32)
    chosen = hardware.choose()
    length = {"num_train_epochs": epochs, "eval_strategy": "epoch"} if epochs else {"save_strategy": "no"}
    arguments = TrainingArguments(
        output_dir=folder,
        **length,
        max_steps=asked.get("max_steps", -1),
        per_device_train_batch_size=asked.get("batch", 8),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        seed=config.seed,
        report_to="none",
        disable_tqdm=True,
        use_cpu=chosen.device == "cpu",
        bf16=best and chosen.precision == "bf16",
        torch_compile=asked.get("compile", False),
        dataloader_num_workers=2 if best else 0,
        dataloader_pin_memory=chosen.device == "cuda",
    )
    stopwatch = Stopwatch(asked.get("warm_up", 0))
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=examples(learned, "train.ids"),
        eval_dataset=examples(held_out, "held-out.ids") if epochs else None,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=config.mlm_probability),
        callbacks=[stopwatch],
    )
    began = time.perf_counter()
    loss = trainer.train().training_loss
    if epochs:
        trainer.evaluate()
    whole = time.perf_counter() - began
    seconds = (stopwatch.moments[1] - stopwatch.moments[0]) / (trainer.state.global_step - stopwatch.warm_up)
    print(json.dumps({"seconds": seconds, "whole_seconds": whole, "loss": loss}))


if __name__ == "__main__":
    main()
