"""Load, check and save a masked language model; its vocabulary projection runs on the masked positions alone."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from trainer.config import is_unicode, split_at_masks
from trainer.engine.architectures import ARCHITECTURES
from trainer.engine.download import download
from trainer.engine.failures import blamed_on_model
from trainer.engine.halves import halves
from trainer.engine.last_layer import LastLayer
from trainer.engine.places import local_path
from trainer.engine.preflight import check_folder, open_config
from trainer.engine.projection import Projection
from trainer.engine.tokenizer import check_tokenizer, save_tokenizer
from trainer.errors import ModelError, PredictionError
from trainer.presets import BUNDLED_MODEL, is_hub_id, title_of


class MaskedLanguageModel(nn.Module):
    """A model with its tokenizer, and how the two are used: the loss, and the answers for a text's masks."""

    def __init__(self, model: Any, tokenizer: Any, *, precision: str = "float32") -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.precision = precision
        self.is_halved = self.is_sharded = self.casts_at_once = False
        if precision == "bf16" and not torch.cuda.is_available():
            # Fused attention is slow there: for blocks of 128, explicit products take less than a third of its time.
            model.set_attn_implementation("eager")
        architecture = ARCHITECTURES.get(model.config.model_type)
        self.head = architecture.head if architecture else None
        self.last_layer = LastLayer(*architecture.feed_forward(model.base_model)) if architecture else None
        self.projection = Projection(model.get_output_embeddings()) if architecture else None

    def logits(self, input_ids: Tensor, positions: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Scores of every token of the vocabulary at some positions; unknown architectures compute all others too.

        Shapes: input_ids (texts, tokens), padded only with an attention_mask like it (1: read, 0: padding);
        positions (masked,) into them flattened -> (masked, vocabulary).
        """
        return self._scores(input_ids, positions, attention_mask)

    def _scores(self, input_ids: Tensor, positions: Tensor, attention_mask: Tensor | None) -> Tensor:
        with torch.autocast(input_ids.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            batch = {"input_ids": input_ids, "attention_mask": attention_mask}
            if self.head is None:
                return self.model(**batch).logits.flatten(0, 1)[positions]
            with self.last_layer.at(positions):
                hidden = self.model.base_model(**batch)[0].flatten(0, 1)[positions]  # (masked, width)
            if not self.is_halved:
                return self.head(self.model, hidden)
        return self.head(self.model, hidden.float())

    def halve(self) -> None:
        """Keeps the layers' matrices in bf16, for predictions alone; the scores of the vocabulary stay float32.

        A large model waits for its weights to be read, and for its products. Unknown architectures stay as they are.
        """
        if self.head is not None:
            self.is_halved, self.precision = True, "bf16"
            self.model.set_attn_implementation("eager")  # as above
            for module in self.model.base_model.modules():
                if isinstance(module, nn.Linear):
                    module.to(torch.bfloat16)

    def forward(
        self, input_ids: Tensor, positions: Tensor, targets: Tensor, attention_mask: Tensor | None = None
    ) -> Tensor:
        """The loss in nats, summed over the masked positions."""
        # What is compiled is padded, and its casts are made, by the compiler.
        by_hand = self.precision == "bf16" and not torch.compiler.is_compiling()
        padded = self.projection.padded(by_hand and input_ids.is_cuda) if self.projection else nullcontext()
        with padded, halves(self.model) if by_hand and self.casts_at_once else nullcontext():
            logits = self._scores(input_ids, positions, attention_mask).float()
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
        with blamed_on_model("The model failed on this text"):
            ids = self.tokenizer(spelled, verbose=False)["input_ids"]
        if self.tokenizer.mask_token_id not in ids:
            raise PredictionError("There is no <mask> in the text.", "Put <mask> where a word is to be guessed.")
        if len(ids) > self.max_tokens:
            raise PredictionError(
                f"The text has {len(ids):,} tokens; this model reads at most {self.max_tokens:,}.", "Shorten it."
            )
        return ids

    def without_gradients(self) -> AbstractContextManager[None]:
        """For answers alone. What is gathered of shared weights must serve training later, too."""
        return torch.no_grad() if self.is_sharded else torch.inference_mode()

    def probabilities(self, ids: list[int]) -> Tensor:
        """The distribution over the vocabulary at each mask. Shape: (masks, vocabulary), on the CPU."""
        was_training = self.training
        self.eval()
        batch = torch.tensor([ids])
        positions = (batch[0] == self.tokenizer.mask_token_id).nonzero().squeeze(1)
        with self.without_gradients():
            scores = self.logits(batch.to(self.model.device), positions.to(self.model.device))
            probabilities = scores.float().softmax(-1).cpu()
        self.train(was_training)
        return probabilities

    def top_words(self, text: str, count: int) -> list[tuple[str, float]]:
        """The likeliest tokens for the first mask of a text, with their probabilities."""
        scores, tokens = self.probabilities(self.encode(text))[0].topk(count)
        return [(self.tokenizer.decode([t]), s) for t, s in zip(tokens.tolist(), scores.tolist(), strict=True)]

    def save(self, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
        """A plain transformers folder: safetensors in one file, config, tokenizer; `weights` instead of its own."""
        transformers.utils.logging.disable_progress_bar()
        self.model.save_pretrained(folder, state_dict=weights, max_shard_size="100GB")
        save_tokenizer(self.tokenizer, folder)


def load_model(name: str, *, precision: str = "float32") -> MaskedLanguageModel:
    """The model and tokenizer called `name`, checked, with float32 weights. Raises: ModelError."""
    folder = check_model(name)
    name = title_of(name)  # from here on for messages only
    transformers.utils.logging.disable_progress_bar()
    with blamed_on_model(f"The model {name!r} can't be opened"):
        model, report = transformers.AutoModelForMaskedLM.from_pretrained(
            folder,
            config=open_config(folder),
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
        if report["missing_keys"]:
            missing = sorted(report["missing_keys"])
            raise ModelError(
                f"The weights of {name!r} lack {len(missing)} tensors the model needs, such as {missing[0]}.",
                "Choose a model that was trained to fill masks.",
            )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        check_tokenizer(tokenizer, model.get_input_embeddings().num_embeddings, name, folder)
    return MaskedLanguageModel(model, tokenizer, precision=precision)


def check_model(name: str) -> Path:
    """The folder of a model that may be opened, judged without opening it. Raises: ModelError."""
    folder = find_model(name)
    check_folder(folder, title_of(name))
    return folder


def find_model(name: str) -> Path:
    """The folder of a model: bundled, a path, or fetched from the Hub. Raises: ModelError."""
    if name == "bundled":
        return BUNDLED_MODEL
    path = local_path(name)
    if path and path.is_dir():
        return path
    if not is_hub_id(name):
        raise ModelError(f"There is no model {name!r}.", "Give 'bundled', a Hub id (owner/name), or a model folder.")
    return download(name)
