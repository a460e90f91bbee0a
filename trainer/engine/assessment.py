"""The score of a model on a data set, without any training."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from trainer.config import TrainConfig
from trainer.engine import hardware
from trainer.engine.blocks import make_blocks, split_documents
from trainer.engine.documents import load_documents
from trainer.engine.evaluation import evaluate_model
from trainer.engine.model import load_model
from trainer.engine.preparation import masking_for
from trainer.errors import DataError


def assess(config: TrainConfig, *, held_out_only: bool = False) -> dict[str, Any]:
    """Loss, perplexity, accuracy and masked tokens over all documents, or over those a run would hold out.

    Raises: DataError, ModelError.
    """
    documents = load_documents(config)
    _, held_out = split_documents(documents, test_size=config.test_size, seed=config.seed)
    chosen = held_out if held_out_only else range(len(documents))
    where = hardware.choose(config.precision)
    accelerator = Accelerator(cpu=where.device == "cpu")
    model = load_model(config.model, precision=where.precision).to(accelerator.device)
    with tempfile.TemporaryDirectory() as scratch:
        blocks = make_blocks(
            documents.batches(chosen),
            model.tokenizer,
            min(config.block_size, model.max_tokens),
            Path(scratch) / "blocks.ids",
            whole_words=config.whole_word_mask,
            line_by_line=config.line_by_line,
        )
        result = evaluate_model(
            model,
            blocks,
            masking_for(config, model),
            batch_size=config.per_device_train_batch_size,
            accelerator=accelerator,
        )
    if not result["masked_tokens"]:
        raise DataError("The text is too short: no token of it was masked.", "Use more text, or mask a larger share.")
    return result
