"""What is looked at before a stranger's model is opened: sizes, config.json and the heads of its weights."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.initialization import no_init_weights
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from trainer.engine import hardware
from trainer.engine.failures import blamed_on_model
from trainer.engine.tokenizer import TOKENIZER_BYTES, TOKENIZER_FILES, check_tokenizer_files
from trainer.engine.weights import INDEX, Shapes, count, stored_shapes
from trainer.errors import ModelError

CONFIG = "config.json"
CONFIG_BYTES = 1 << 20  # the largest in use take some 10,000
WEIGHT_FILE = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
# Training takes 16 bytes for each weight (itself, its gradient and the optimizer's two): 10 GB on a processor, 32 on a
# GPU. The largest masked language model in common use, XLM-RoBERTa large, has 560 million.
PARAMETERS_CPU = 600_000_000
PARAMETERS_GPU = 2_000_000_000
STORED_BYTES = 5  # for each weight: float32, and room for heads that are not used here
SURPLUS = 1.25  # of a model over what is stored; a head that is missing is named when the model is opened

# How much a number in config.json may ask for, by the end of its name. Modules are built one by one, so that three
# million layers would take all memory and time before a single weight is compared.
LIMITS = (
    (re.compile(r"(layers?|blocks?|block_sizes)$"), 128),
    (re.compile(r"(groups?|group_num|repeats|per_block|networks)$"), 32),  # these multiply with the layers
    (re.compile(r"heads?$"), 256),
    (re.compile(r"(vocab_sizes?|n_words)$"), 2_000_000),
    (re.compile(r"(position_embeddings|n_positions)$"), 1_000_000),
    (re.compile(r"num_labels$"), 100_000),
    (re.compile(r"(attention_window|chunk_length)$"), 8_192),  # every text is padded to it
    (re.compile(r"(size|dim|d_model|d_inner|d_embed)$"), 65_536),
    (re.compile(r"entries$"), 1_000),  # of a list: one for each layer, or each language
)
# Requests to the library that are honoured wherever they come from: other weight files, other code for the layers.
REFUSED = ("quantization_config", "fusion_config", "transformers_weights", "distributed_config")


def check_folder(folder: Path, name: str) -> None:
    """Judges a model's files without opening it. Raises: ModelError."""
    with blamed_on_model(f"The model {name!r} can't be opened"):
        files = files_of({path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}, name)
        check_shape(folder, stored_shapes(folder, weight_files(files), name), name)
        check_tokenizer_files(folder, name)


def files_of(sizes: Mapping[str, int], name: str) -> list[str]:
    """The files that make up the model, among all of a folder by their sizes; the weights last. Raises: ModelError."""
    if CONFIG not in sizes:
        raise ModelError(f"{name!r} is not a model folder: config.json can't be read.", "Choose another.")
    weights = sorted(filter(WEIGHT_FILE.fullmatch, sizes))
    if "model.safetensors" in weights:
        weights = ["model.safetensors"]
    elif weights and INDEX in sizes:
        weights = [INDEX, *weights]
    else:
        fix = "Choose a model that has; other formats can hide a program."
        raise ModelError(f"{name!r} has no weights in safetensors format.", fix)
    files = [CONFIG, *(file for file in TOKENIZER_FILES if file in sizes), *weights]
    for file in files:
        limit = CONFIG_BYTES if file == CONFIG else TOKENIZER_BYTES
        if not file.endswith(".safetensors") and sizes[file] > limit:
            what = f"{file} of {name!r} has {_in_mb(sizes[file])}; at most {_in_mb(limit)} are read."
            raise ModelError(what, "Choose another model.")
    total, limit = sum(map(sizes.__getitem__, weight_files(files))), STORED_BYTES * _most_parameters()
    if total > limit:
        what = f"The weights of {name!r} take {_in_mb(total)}; at most {_in_mb(limit)} are accepted here."
        raise ModelError(what, "Choose a smaller model.")
    return files


def weight_files(files: list[str]) -> list[str]:
    """Those of a model's files that hold its weights."""
    return [file for file in files if file.endswith(".safetensors")]


def check_shape(folder: Path, stored: Shapes, name: str) -> None:
    """Bounds the sizes in config.json, and compares them with the tensors that are stored. Raises: ModelError."""
    config = _read_config(folder, name)
    for key, size in _sizes(config):
        limit = next((limit for ending, limit in LIMITS if ending.search(key)), None)
        if limit and not 0 <= size <= limit:
            what = f"config.json of {name!r} says {key} = {size!r}; at most {limit:,} is accepted."
            raise ModelError(what, "Choose another model.")
    _check_layers(config, stored, name)
    held, most = count(stored), _most_parameters()
    if held > most:
        what = f"{name!r} has {held / 1e6:,.0f} million weights; at most {most / 1e6:,.0f} are accepted here."
        raise ModelError(what, "Choose a smaller model.")
    with blamed_on_model(f"The model {name!r} can't be opened"), torch.device("meta"), no_init_weights():
        model = transformers.AutoModelForMaskedLM.from_config(open_config(folder), trust_remote_code=False)
        model.tie_weights()
    needed = sum(parameter.numel() for parameter in model.parameters())
    if needed > held * SURPLUS:
        raise ModelError(
            f"config.json of {name!r} describes a model of {needed:,} weights; its files hold {held:,}.",
            "The folder is damaged or was put together from two models.",
        )


def open_config(folder: Path) -> Any:
    """The library's view of config.json."""
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    config._attn_implementation = None  # the library's choice: a stranger's file must not name kernels of the Hub
    return config


def _read_config(folder: Path, name: str) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_bytes())
        kind = config["model_type"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{name!r} is not a model folder: config.json can't be read.", "Choose another.") from error
    if not isinstance(kind, str) or kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        what = f"{name!r} is a {str(kind)[:60]!r} model, which can't fill masks."
        raise ModelError(what, "Choose a BERT-like model.")
    for key in REFUSED:
        if config.get(key) is not None:
            what = f"config.json of {name!r} has a {key}, which is not supported here."
            raise ModelError(what, "Choose a model that is stored in the plain way.")
    return dict(config)


def _sizes(config: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a configuration with their names, those in lists and nested configurations too."""
    waiting = list(config.items())
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(key, item) for item in value]
            yield f"{key} entries", len(value)
        elif isinstance(value, (int, float)):
            yield key, value


def _check_layers(config: dict[str, Any], stored: Shapes, name: str) -> None:
    """Compares the number of layers with those in the weights, where their names tell; cheap, and in plain words."""
    found = {int(layer[1]) for tensor in stored if (layer := re.search(r"\.layers?\.(\d+)\.", tensor))}
    claimed = config.get("num_hidden_layers", config.get("n_layers"))
    if found and isinstance(claimed, int) and "decoder_layers" not in config and claimed != len(found):
        raise ModelError(
            f"config.json of {name!r} says {claimed} layers; its weights hold {len(found)}.",
            "The folder is damaged or was put together from two models.",
        )


def _most_parameters() -> int:
    return PARAMETERS_CPU if hardware.choose().device == "cpu" else PARAMETERS_GPU


def _in_mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
