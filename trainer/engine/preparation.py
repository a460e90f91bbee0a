"""All that comes before the first step: documents, model, blocks and the plan that follows from them."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from trainer.config import TrainConfig
from trainer.engine import hardware
from trainer.engine.blocks import Blocks, make_blocks, split_documents
from trainer.engine.checkpoint import replace_folder
from trainer.engine.documents import Documents, check_documents, check_length, load_documents
from trainer.engine.kept_blocks import BLOCKS, PARTS, Cut, keep, kept, key_of
from trainer.engine.masking import Masking
from trainer.engine.model import MaskedLanguageModel, check_model, load_model
from trainer.engine.recorder import TOKENS
from trainer.engine.scratch import new_model, shape_of, train_tokenizer
from trainer.engine.vocabulary import unknown_share, word_share
from trainer.errors import ConfigError, DataError, ModelError, PredictionError
from trainer.events import Emit, PhaseChanged, Planned, Warned
from trainer.presets import MULTILINGUAL, title_of

TEXT = ".text"  # folder of what is unpacked and parsed, until it is blocks: no user calls one of theirs so
# Of a run that is worth the minute or two that compiling takes. Recorded steps take a GPU some milliseconds.
COMPILED_STEPS, COMPILED_RECORDED_STEPS, COMPILED_SECONDS = 5_000, 50_000, 1800.0
MANY_UNKNOWN, MOST_UNKNOWN = 0.01, 0.5  # shares of the tokens: a warning, a refusal
FEW_WORDS = 0.1  # of the tokens begin one: English has 0.7 and more, Korean read byte by byte still 0.11
TOKENIZER = "tokenizer"  # folder of a tokenizer made for this run


class Stopped(Exception):
    """The run was to end before its first step."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What training and evaluation work on."""

    model: MaskedLanguageModel
    train: Blocks
    held_out: Blocks
    masking: Masking
    plan: Planned
    global_batch: int  # blocks a step, of all processes together
    documents: Callable[[], Documents]  # read when first asked for, where the blocks were there already


def check_sources(config: TrainConfig) -> None:
    """Refuses a text or a model that can't be opened, before anything is made. Raises: DataError, ModelError."""
    check_documents(config)
    if config.from_scratch is None:
        check_model(config.model)


def prepare(
    config: TrainConfig,
    emit: Emit,
    output_dir: Path,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    precision: str = "float32",
    global_batch: int | None = None,
    sample_bytes: int | None = None,
    begun: list[str] | None = None,
) -> Prepared:
    """Loads or makes the model, reads the text and cuts it into blocks, if they are not there from a run before.

    `global_batch` is what one process takes when None; `should_stop` is asked now and then; with `sample_bytes` only
    the beginning of a large text is read. A run that goes on has `begun` with blocks of these digests, and takes those
    it kept, whatever became of its text. Raises: DataError, ModelError, ConfigError; Stopped.
    """

    @functools.cache
    def read() -> tuple[Documents, np.ndarray, np.ndarray]:
        """The text, what of it is learned, and what is held out; only where it must be read."""
        emit(PhaseChanged(phase="Reading the text"))
        documents = load_documents(config, output_dir / TEXT, sample_bytes=sample_bytes)
        check_length(documents)
        return documents, *split_documents(documents, test_size=config.test_size, seed=config.seed)

    model = _model(config, read, emit, output_dir / TOKENIZER, precision)
    if config.block_size > model.max_tokens:
        reader = "a model made from nothing" if config.from_scratch else repr(title_of(config.model))
        limit = f"{reader} reads at most {model.max_tokens} tokens"
        raise ConfigError([f"block_size is {config.block_size}; {limit}."])
    if not model.tokenizer.is_fast:
        what = f"{title_of(config.model)!r} has a tokenizer without a tokenizer.json, which is too slow for a text."
        raise ModelError(what, "It can fill masks; to train, choose another model.")
    if config.probe_text:
        try:
            model.encode(config.probe_text)
        except PredictionError as error:
            raise ConfigError([f"probe_text can't be asked: {error.what}"]) from error
    key = None if sample_bytes else key_of(config, model.tokenizer)
    cut = kept(key, output_dir, begun)
    if not cut:
        documents, *parts = read()
        emit(PhaseChanged(phase="Cutting the text into blocks"))
        train, held_out = (
            make_blocks(
                _until(should_stop, documents.batches(indices)),
                model.tokenizer,
                config.block_size,
                output_dir / BLOCKS / f"{part}.ids",
                whole_words=config.whole_word_mask,
                line_by_line=config.line_by_line,
            )
            for part, indices in zip(PARTS, parts, strict=True)
        )
        cut = Cut(train, held_out, documents.text_column, len(documents), documents.skipped, len(parts[1]))
        keep(cut, key, output_dir)
    _check(cut, config, model.tokenizer, emit)
    global_batch = global_batch or config.per_device_train_batch_size * config.gradient_accumulation_steps
    plan = _plan(config, cut, model, global_batch)
    model.casts_at_once = plan.cuda_graph  # where each kernel counts
    emit(plan)
    masking = masking_for(config, model)
    return Prepared(model, cut.train, cut.held_out, masking, plan, global_batch, lambda: read()[0])


def _check(cut: Cut, config: TrainConfig, tokenizer: Any, emit: Emit) -> None:
    """Refuses blocks that there is nothing to learn from, and warns of others. Raises: DataError, ModelError."""
    train, held_out = cut.train, cut.held_out
    if not len(train):
        raise DataError("There is no text to learn from.", "Use more text, or a smaller test_size.")
    if not len(held_out) and config.test_size:
        emit(Warned(message="The text is a single document, so nothing is held out and no perplexity can be measured."))
    if cut_off := train.truncated + held_out.truncated:
        share = cut_off / (len(train) + len(held_out))
        said = f"{share:.1%} of the documents are longer than {config.block_size} tokens: their ends are left out."
        emit(Warned(message=f"{said} Raise block_size, or don't take the text line_by_line."))
    if word_share(train, tokenizer) < FEW_WORDS:  # a tokenizer looks for spaces, which not every language has
        said = "This tokenizer finds hardly any words in the text: whole_word_mask hides whole passages."
        emit(Warned(message=f"{said} Do without it."))
    # A tokenizer of another language knows few of the words.
    unknown = unknown_share(train, tokenizer)
    said = f"The model's tokenizer does not know {unknown:.0%} of this text"
    other = f"Choose a model for this language, such as {MULTILINGUAL}."
    if unknown > MOST_UNKNOWN:
        raise ModelError(f"{said}, so there is nothing to learn.", other)
    if unknown > MANY_UNKNOWN:
        emit(Warned(message=f"{said}. {other}"))


def _until(should_stop: Callable[[], bool], batches: Iterable[list[str]]) -> Iterator[list[str]]:
    """The batches, until the run is to end, which is asked once a second."""
    asked = time.monotonic()
    for batch in batches:
        if time.monotonic() - asked >= 1.0:
            if should_stop():
                raise Stopped
            asked = time.monotonic()
        yield batch


def masking_for(config: TrainConfig, model: MaskedLanguageModel) -> Masking:
    """The masking rule of a run."""
    tokenizer = model.tokenizer
    return Masking(
        config.seed, config.mlm_probability, tokenizer.mask_token_id, tuple(tokenizer.all_special_ids), len(tokenizer)
    )


def _model(
    config: TrainConfig,
    read: Callable[[], tuple[Documents, np.ndarray, np.ndarray]],
    emit: Emit,
    tokenizer_dir: Path,
    precision: str,
) -> MaskedLanguageModel:
    """The model to start from, or a new one; its tokenizer is made once and kept, for a resumed run needs the same."""
    if config.from_scratch is None:
        emit(PhaseChanged(phase="Loading the model"))
        return load_model(config.model, precision=precision)
    shape = shape_of(config.from_scratch)
    if not tokenizer_dir.exists():
        documents, learned, _ = read()
        emit(PhaseChanged(phase="Training the tokenizer"))
        tokenizer = train_tokenizer(documents.batches(learned), shape[3])
        replace_folder(tokenizer_dir, tokenizer.save_pretrained)
    return new_model(AutoTokenizer.from_pretrained(tokenizer_dir), shape, precision=precision)


def _plan(config: TrainConfig, cut: Cut, model: MaskedLanguageModel, global_batch: int) -> Planned:
    train, held_out = cut.train, cut.held_out
    steps_per_epoch = math.ceil(len(train) / global_batch)
    steps = config.max_steps or max(1, math.ceil(config.num_train_epochs * steps_per_epoch))
    alone = global_batch == config.per_device_train_batch_size  # one process, and one batch a step
    small = train.longest * global_batch <= TOKENS and model.head is not None
    plain = not config.line_by_line and not config.fsdp
    cuda_graph = config.compile != "off" and alone and small and plain and hardware.records_steps()
    enough = COMPILED_RECORDED_STEPS if cuda_graph else COMPILED_STEPS
    is_long = steps >= enough and (config.max_seconds or math.inf) >= COMPILED_SECONDS
    pays = is_long and plain and hardware.gains_by_compiling()
    return Planned(
        text_column=cut.text_column,
        documents=cut.documents,
        skipped_documents=cut.skipped_documents,
        words=train.words + held_out.words,
        tokens=train.tokens + held_out.tokens,
        train_blocks=len(train),
        held_out_blocks=len(held_out),
        held_out_documents=cut.held_out_documents,
        block_size=train.longest,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        parameters=sum(p.numel() for p in model.parameters()),
        architecture=type(model.model).__name__,
        masked_positions_only=model.head is not None,
        compile=config.compile == "on" or (config.compile == "auto" and pays),
        cuda_graph=cuda_graph,
        line_by_line=config.line_by_line,
    )
