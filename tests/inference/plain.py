"""What the answers are compared with: the library's model and tokenizer, used as simply as can be."""

from __future__ import annotations

import torch
import transformers

TOY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "sun", "moon", "earth", "orbits", "is", "hot", "##s", "."]


class Plain:
    """One text at a time, all of its places, nothing left out."""

    def __init__(self, folder: str) -> None:
        self.network = transformers.AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.mask = self.tokenizer.mask_token_id

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text.replace("<mask>", self.tokenizer.mask_token))["input_ids"])

    def log_probabilities(self, ids: list[int]) -> torch.Tensor:
        """Shape: (tokens, vocabulary)."""
        with torch.no_grad():
            return self.network(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
