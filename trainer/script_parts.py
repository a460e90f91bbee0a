"""The parts of a script that are the same for all settings; `recipe` puts them together."""

from __future__ import annotations

START = '''"""Fine-tunes a masked language model with the settings chosen in Mask Studio, without Mask Studio.

pip install "transformers[torch]>=5.23" "datasets>=5.2"
"""

import math
from collections.abc import Mapping
from itertools import chain

import torch
from datasets import load_dataset
from transformers import (
{names})

set_seed({seed})

# The text: one string for each document

{source}
COLUMNS = [{column}]


def texts(value, path):
    """The strings under a path such as answers.text, through lists and structs."""
    if isinstance(value, list):
        return [text for item in value for text in texts(item, path)]
    if isinstance(value, Mapping):
        return texts(value.get(path[0]), path[1:])
    return [value] if isinstance(value, str) else []


def documents(rows):
    joined = rows.map(
        lambda row: {{"text": "\\n".join(filter(None, (" ".join(texts(row, c.split("."))).strip() for c in COLUMNS)))}},
        remove_columns=rows.column_names,
    )
    return joined.filter(lambda row: row["text"])


dataset = documents(dataset)
'''

BLOCKS = """
# Tokens, cut into blocks; only the very last remainder is dropped

{tokenizer}


def tokenize(rows):
    return tokenizer(rows["text"], return_attention_mask=False, return_token_type_ids=False, verbose=False{offsets})


def cut(rows):
    joined = {{name: list(chain.from_iterable(lists)) for name, lists in rows.items()}}
    total = len(joined["input_ids"])
    size = min({block_size}, total)
    return {{
        name: [tokens[start : start + size] for start in range(0, total - size + 1, size)]
        for name, tokens in joined.items()
    }}


def blocks(part):
    tokens = part.map(tokenize, batched=True, remove_columns=["text"])
    return tokens.map(cut, batched=True, batch_size=len(tokens))

"""

LINES = """
# Tokens, one example for each document

{tokenizer}


def blocks(part):
    options = {{"truncation": True, "max_length": {block_size}{padding}}}
    return part.map(lambda rows: tokenizer(rows["text"], **options{offsets}), batched=True, remove_columns=["text"])

"""

MASKS = """
# Masks: new ones for every batch that is learned from

masks = DataCollatorForLanguageModeling(tokenizer, mlm_probability={mlm_probability}{rule})
train = blocks({train})
"""

HELD_OUT = """

# ... but the same ones at every evaluation: the Trainer alone would draw them anew, and the loss would jump about

KEPT = ("input_ids", "attention_mask", "labels")


def mask_once(rows):
    examples = [dict(zip(rows, values)) for values in zip(*rows.values())]
    batch, lengths = masks(examples), [len(ids) for ids in rows["input_ids"]]
    return {name: [row[:n] for row, n in zip(batch[name].tolist(), lengths)] for name in KEPT}


held_out = blocks(parts["test"])
held_out = held_out.map(mask_once, batched=True, remove_columns=held_out.column_names)
pad = DataCollatorForTokenClassification(tokenizer)


def collate(examples):
    return pad(examples) if "labels" in examples[0] else masks(examples)

"""

LOSS = '''
# The model, in float32 whatever type it was stored in

{model}


def loss_per_masked_token(outputs, labels, num_items_in_batch=None):
    """Summed over masked tokens and divided once.

    The heads of RoBERTa, BERT and DistilBERT divide by themselves, and then the Trainer multiplies loss and gradient
    by the accumulation steps.
    """
    nats = torch.nn.functional.cross_entropy(outputs.logits.flatten(0, 1).float(), labels.flatten(), reduction="sum")
    masked = (labels != -100).sum() if num_items_in_batch is None else num_items_in_batch
    return nats / max(masked, 1)

'''

CLOCK = '''
class Clock(TrainerCallback):
    """Ends the training when its time is over."""

    def on_train_begin(self, args, state, control, **others):
        self.end = time.monotonic() + {max_seconds}

    def on_step_end(self, args, state, control, **others):
        control.should_training_stop = control.should_training_stop or time.monotonic() >= self.end

'''
