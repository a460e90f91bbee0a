"""An honest plan before the start: the text as it is understood, and what a run on it will take."""

from __future__ import annotations

import math
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

from trainer.config import TrainConfig
from trainer.engine import hardware, trial
from trainer.engine.documents import Documents
from trainer.engine.duplicates import group_documents
from trainer.engine.preparation import Prepared, prepare
from trainer.engine.scripts import scripts_of
from trainer.engine.shown_block import first_block
from trainer.engine.vocabulary import unknown_share
from trainer.events import Event, Planned, Warned
from trainer.presets import MULTILINGUAL
from trainer.previews import Estimate, Preview

SAMPLE_BYTES = 2_000_000  # of a large source
LOOKED_AT = 200  # documents
FIRST, FIRST_CHARACTERS = 3, 300
MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|&[a-z]{2,6};|\{\{|\}\}")
MARKUP_EVERY = 200  # characters
ODD = re.compile("[\ufffd\x01-\x08\x0e-\x1a\x7f-\x9f]")
FEW_HELD_OUT = 2_000  # tokens, of which 300 are masked
SHORT_TOKENS = 10
COUNTS = ("documents", "skipped_documents", "words", "tokens", "train_blocks", "held_out_blocks", "held_out_documents")


def preview(config: TrainConfig) -> Preview:
    """Reads the text, or the beginning of a large one, and tries out the training. Raises: TrainerError."""
    told: list[Event] = []
    chosen = hardware.choose(config.precision)
    with tempfile.TemporaryDirectory(prefix="mask-studio-") as scratch:
        prepared = prepare(config, told.append, Path(scratch), precision=chosen.precision, sample_bytes=SAMPLE_BYTES)
        documents, tokenizer = prepared.documents(), prepared.model.tokenizer
        looked_at = next(documents.batches(range(min(LOOKED_AT, len(documents)))))
        plan = _scaled(config, prepared)
        scripts = scripts_of(looked_at)
        unknown = unknown_share(prepared.train, tokenizer)
        groups, _ = group_documents(documents.batches(range(len(documents))))
        duplicates = 1 - len(set(groups.tolist())) / len(groups)
        block = first_block(prepared.train, prepared.masking, tokenizer)
        lengths = [len(ids) - 2 for ids in tokenizer(looked_at, verbose=False)["input_ids"]]
        estimate = trial.measured(config, replace(prepared, plan=plan), chosen)
    warnings = [event.message for event in told if isinstance(event, Warned)]
    warnings += _about_text(looked_at, lengths, duplicates, plan) + _about_memory(plan, estimate, chosen.device)
    return Preview(
        plan=plan,
        share=documents.share,
        first_documents=tuple(_shortened(text) for text in looked_at[:FIRST]),
        block=tuple(block),
        scripts=scripts,
        unknown_share=unknown,
        duplicate_share=duplicates,
        estimate=estimate,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _scaled(config: TrainConfig, prepared: Prepared) -> Planned:
    """The plan for the whole text where only its beginning was read."""
    documents, plan = prepared.documents(), prepared.plan
    factor = _factor(documents, config.max_documents)
    if factor == 1.0:
        return plan
    counts = {name: round(getattr(plan, name) * factor) for name in COUNTS}
    batch = config.per_device_train_batch_size * config.gradient_accumulation_steps
    steps_per_epoch = math.ceil(counts["train_blocks"] / batch)
    steps = config.max_steps or max(1, math.ceil(config.num_train_epochs * steps_per_epoch))
    return replace(plan, **counts, steps=steps, steps_per_epoch=steps_per_epoch)


def _factor(documents: Documents, most: int | None) -> float:
    """How many times more documents a run will read."""
    whole = 1 / documents.share if documents.share else 1.0
    return max(1.0, min(whole, most / len(documents))) if most else whole


def _about_text(texts: list[str], lengths: list[int], duplicates: float, plan: Planned) -> list[str]:
    warnings = []
    if 0 < plan.tokens * plan.held_out_blocks / (plan.train_blocks + plan.held_out_blocks) < FEW_HELD_OUT:
        warnings.append("Very little text is held out: the perplexity will be a rough figure. Use more text.")
    if len(lengths) > 1 and median(lengths) < SHORT_TOKENS:
        few = f"Most documents have fewer than {SHORT_TOKENS} tokens"
        mixed = "so each block mixes many of them. With line_by_line each is learned from alone."
        warnings.append(f"{few}: little to guess a hidden word from." if plan.line_by_line else f"{few}, {mixed}")
    whole = "".join(texts)
    if sum(lengths) > len(whole):
        spelled = "The model knows hardly a word of this text: it reads it byte by byte."
        warnings.append(f"{spelled} Choose a model for this language, such as {MULTILINGUAL}.")
    if len(MARKUP.findall(whole)) * MARKUP_EVERY > len(whole):
        warnings.append("The text looks like markup (tags or templates), which the model would learn, too. Clean it.")
    if len(ODD.findall(whole)) * MARKUP_EVERY > len(whole):
        warnings.append("The text has many characters that no text has, as in binary data or a wrong encoding.")
    if duplicates > 0.2:
        warnings.append(f"{duplicates:.0%} of the documents repeat others, so the model would learn them by heart.")
    return warnings


def _about_memory(plan: Planned, estimate: Estimate | None, device: str) -> list[str]:
    there = hardware.memory_bytes(device)
    need = max(trial.BYTES_A_WEIGHT * plan.parameters, estimate.memory_bytes if estimate else 0)
    if estimate and need < 0.9 * there:
        return []
    said = f"about {need / 1e9:,.1f} GB" if estimate or need >= there else "more memory than there is"
    return [f"Training needs {said}; this device has {there / 1e9:,.1f} GB. Take smaller batches or a smaller model."]


def _shortened(text: str) -> str:
    return text if len(text) <= FIRST_CHARACTERS else f"{text[:FIRST_CHARACTERS].rstrip()} …"
