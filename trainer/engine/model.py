"""Load, check and save a masked language model; its vocabulary projection runs on the masked positions alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from torch import Tensor, nn
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from trainer.config import is_unicode, split_at_masks
from trainer.errors import ModelError, PredictionError
from trainer.presets import BUNDLED_MODEL, is_hub_id, title_of

FILES = ("config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*", "vocab*", "merges.txt", "*.model",
         "special_tokens_map.json", "added_tokens.json")  # fmt: skip
HEADER_LIMIT = 25 << 20  # bytes; of a safetensors file
# A config.json is a stranger's: three million layers would fill the memory before any weight is compared.
LIMITS = {"num_hidden_layers": 128, "n_layers": 128, "encoder_layers": 128, "decoder_layers": 128,
          "hidden_size": 16_384, "dim": 16_384, "intermediate_size": 65_536, "hidden_dim": 65_536,
          "num_attention_heads": 256, "n_heads": 256, "vocab_size": 2_000_000, "max_position_embeddings": 1_000_000,
          "num_labels": 100_000}  # fmt: skip

HEADS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "bert": lambda model, hidden: model.cls(hidden),
    "distilbert": lambda model, hidden: model.vocab_projector(
        model.vocab_layer_norm(model.activation(model.vocab_transform(hidden)))
    ),
    "modernbert": lambda model, hidden: model.decoder(model.head(hidden)),
    "roberta": lambda model, hidden: model.lm_head(hidden),
    "xlm-roberta": lambda model, hidden: model.lm_head(hidden),
}


class MaskedLanguageModel(nn.Module):
    """A model with its tokenizer, and how the two are used: the loss, and the answers for a text's masks."""

    def __init__(self, model: Any, tokenizer: Any, *, precision: str = "float32") -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.precision = precision
        self.head = HEADS.get(model.config.model_type)

    def logits(self, input_ids: Tensor, positions: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Scores of every token of the vocabulary at some positions; heads not in `HEADS` compute all the others too.

        Shapes: input_ids (texts, tokens), padded only with an attention_mask like it (1: read, 0: padding);
        positions (masked,) into them flattened -> (masked, vocabulary).
        """
        with torch.autocast(input_ids.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            batch = {"input_ids": input_ids, "attention_mask": attention_mask}
            if self.head is None:
                return self.model(**batch).logits.flatten(0, 1)[positions]
            hidden = self.model.base_model(**batch)[0]  # (texts, tokens, width)
            return self.head(self.model, hidden.flatten(0, 1)[positions])

    def forward(self, input_ids: Tensor, positions: Tensor, targets: Tensor) -> Tensor:
        """The loss in nats, summed over the masked positions."""
        logits = self.logits(input_ids, positions).float()
        return nn.functional.cross_entropy(logits, targets, reduction="sum")

    @property
    def max_tokens(self) -> int:
        """The longest text it reads, special tokens included."""
        positions = getattr(self.model.config, "max_position_embeddings", None) or 10**9
        embeddings = getattr(getattr(self.model.base_model, "embeddings", None), "position_embeddings", None)
        padding = getattr(embeddings, "padding_idx", None)
        return positions if padding is None else positions - padding - 1  # RoBERTa counts from behind the padding

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, `<mask>` and `[MASK]` understood. Raises: PredictionError."""
        if not is_unicode(text):
            raise PredictionError("The text has half a character in it, which no tokenizer reads.", "Type it anew.")
        spelled = self.tokenizer.mask_token.join(split_at_masks(text))
        ids = self.tokenizer(spelled, verbose=False)["input_ids"]
        if self.tokenizer.mask_token_id not in ids:
            raise PredictionError("There is no <mask> in the text.", "Put <mask> where a word is to be guessed.")
        if len(ids) > self.max_tokens:
            raise PredictionError(
                f"The text has {len(ids):,} tokens; this model reads at most {self.max_tokens:,}.", "Shorten it."
            )
        return ids

    @torch.inference_mode()
    def probabilities(self, ids: list[int]) -> Tensor:
        """The distribution over the vocabulary at each mask. Shape: (masks, vocabulary), on the CPU."""
        was_training = self.training
        self.eval()
        batch = torch.tensor([ids], device=self.model.device)
        positions = (batch[0] == self.tokenizer.mask_token_id).nonzero().squeeze(1)
        probabilities = self.logits(batch, positions).float().softmax(-1).cpu()
        self.train(was_training)
        return probabilities

    def top_words(self, text: str, count: int) -> list[tuple[str, float]]:
        """The likeliest tokens for the first mask of a text, with their probabilities."""
        scores, tokens = self.probabilities(self.encode(text))[0].topk(count)
        return [(self.tokenizer.decode([t]), s) for t, s in zip(tokens.tolist(), scores.tolist(), strict=True)]

    def save(self, folder: Path) -> None:
        """A plain transformers folder: safetensors in one file, config, tokenizer."""
        self.model.save_pretrained(folder, max_shard_size="100GB")
        save_tokenizer(self.tokenizer, folder)


def load_model(name: str, *, precision: str = "float32") -> MaskedLanguageModel:
    """The model and tokenizer called `name`, checked, with float32 weights. Raises: ModelError."""
    folder = check_model(name)
    name = title_of(name)  # from here on for messages only
    transformers.utils.logging.disable_progress_bar()
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        config._attn_implementation = None  # a stranger's file must not choose the kernels
        model, report = transformers.AutoModelForMaskedLM.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # of any kind: the files are a stranger's, and the libraries take them at their word
        raise ModelError(f"The model {name!r} can't be opened: {_first_line(error)}", "Choose another one.") from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ModelError(
            f"The weights of {name!r} lack {len(missing)} tensors the model needs, such as {missing[0]}.",
            "Choose a model that was trained to fill masks.",
        )
    check_tokenizer(tokenizer, model.get_input_embeddings().num_embeddings, name, folder)
    return MaskedLanguageModel(model, tokenizer, precision=precision)


def check_model(name: str) -> Path:
    """The folder of a model that may be opened, judged without opening it. Raises: ModelError."""
    folder = find_model(name)
    _check_config(folder, title_of(name))
    return folder


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """The tokenizer's files, under a class name that transformers 4 and 5 both know."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text("utf-8"))
    if config.get("tokenizer_class") == "TokenizersBackend":  # version 5's own; 4 has never heard of it
        config |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": tokenizer.model_input_names}
        path.write_text(json.dumps(config, indent=2, ensure_ascii=False), "utf-8")


def check_tokenizer(tokenizer: Any, embeddings: int, name: str, folder: Path) -> None:
    """Refuses a tokenizer that can't be used for filling masks with this model. Raises: ModelError."""
    if tokenizer.mask_token_id is None:
        raise ModelError(
            f"The tokenizer of {name!r} has no mask token, so there is nothing to fill.",
            "Choose a masked language model, such as distilbert/distilroberta-base.",
        )
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ModelError(f"The tokenizer of {name!r} is missing; its folder has no files of one.", "Add them to it.")
    if len(tokenizer) > embeddings:
        raise ModelError(
            f"The tokenizer of {name!r} has {len(tokenizer):,} entries, its model only {embeddings:,}.",
            "Choose a model whose tokenizer belongs to it.",
        )
    stored = folder / "tokenizer.json"
    if stored.exists():
        text = "Water boils. Das Wasser kocht. 물이 끓는다. 水が沸く。"
        plain = transformers.PreTrainedTokenizerFast(tokenizer_file=str(stored))
        if tokenizer.encode(text, add_special_tokens=False) != plain.encode(text, add_special_tokens=False):
            raise ModelError(
                f"The tokenizer of {name!r} is mislabelled: its configuration names a class "
                f"({type(tokenizer).__name__}) that splits text differently from its own tokenizer.json.",
                "Correct tokenizer_class in its tokenizer_config.json, or choose another model.",
            )


def find_model(name: str) -> Path:
    """The folder of a model: bundled, a path, or fetched from the Hub (only files that hold data)."""
    if name == "bundled":
        return BUNDLED_MODEL
    path = Path(name).expanduser()
    if name and path.is_dir():
        return path
    if not is_hub_id(name):
        raise ModelError(f"There is no model {name!r}.", "Give 'bundled', a Hub id (owner/name), or a model folder.")
    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except RepositoryNotFoundError as error:
        raise ModelError(f"The Hub has no model {name!r}.", "Check the name; private ones need HF_TOKEN.") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise ModelError(
            f"The model {name!r} is neither a folder here nor could it be fetched from the Hub.",
            "Check the name and the connection, or use 'bundled'.",
        ) from error


def _check_config(folder: Path, name: str) -> None:
    """Bounds the sizes in config.json, and compares its layers with those in the weights' own header."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        kind = config["model_type"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{name!r} is not a model folder: config.json can't be read.", "Choose another.") from error
    if not isinstance(kind, str) or kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        raise ModelError(f"{name!r} is a {kind!r} model, which can't fill masks.", "Choose a BERT-like model.")
    for key, limit in LIMITS.items():
        size = config.get(key, 1)
        if not isinstance(size, int) or not 0 < size <= limit:
            raise ModelError(f"config.json of {name!r} says {key} = {size!r}; at most {limit:,} is accepted.")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelError(f"{name!r} has no weights in safetensors format.", "Choose a model that has.")
    tensors = [key for file in weights for key in _header(file, name)]
    stored = {int(found[1]) for key in tensors if (found := re.search(r"\.layers?\.(\d+)\.", key))}
    claimed = config.get("num_hidden_layers", config.get("n_layers"))
    if stored and claimed is not None and claimed != len(stored):
        raise ModelError(
            f"config.json of {name!r} says {claimed} layers; its weights hold {len(stored)}.",
            "The folder is damaged or was put together from two models.",
        )


def _header(file: Path, name: str) -> dict[str, Any]:
    """The table of tensors at the head of a safetensors file, read without the weights."""
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if not 0 < size <= HEADER_LIMIT:
            raise ModelError(f"{file.name} of {name!r} is not a safetensors file.", "Fetch the model again.")
        try:
            return dict(json.loads(stream.read(size)))
        except (ValueError, TypeError, RecursionError) as error:
            raise ModelError(f"{file.name} of {name!r} is damaged.", "Fetch the model again.") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
