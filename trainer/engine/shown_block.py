"""A block as the model will see it, in pieces that a reader can read: no character is ever cut in half."""

from __future__ import annotations

from typing import Any

from trainer.engine.blocks import Blocks
from trainer.engine.masking import Masking, shuffled
from trainer.previews import CHANGED, HIDDEN, KEPT, ShownToken

MOST = 160  # tokens shown
CUT = "\ufffd"  # what stands for half a character
PART = "(part of a character)"
LONGEST = 32  # tokens shown as one: those of a byte-level vocabulary may begin and end within characters
CONTEXT = 8  # tokens before a piece that decide whether it begins with a space


def first_block(blocks: Blocks, masking: Masking, tokenizer: Any) -> list[ShownToken]:
    """The block that is learned from first, with its masks of the first epoch."""
    number = shuffled(len(blocks), seed=masking.seed, epoch=0)[:1]
    ids, word_starts, _ = blocks.take(number)
    batch = masking(ids, number, epoch=0, word_starts=word_starts)
    original, seen = ids[0].tolist(), batch.input_ids[0].tolist()
    guessed = set(batch.positions.tolist())
    shown, start = [], 0
    while start < min(MOST, len(original)):
        end = start + 1
        text = _piece(original, start, end, tokenizer)
        while text.endswith(CUT) and end < min(len(original), start + LONGEST):
            end += 1
            text = _piece(original, start, end, tokenizer)
        fates = [_fate(original[at], seen[at], tokenizer) for at in range(start, end) if at in guessed]
        fate = next((fate for fate in (HIDDEN, CHANGED, KEPT) if fate in fates), None)
        shown.append(
            ShownToken(
                text=text.strip(CUT) or (PART if CUT in text else text),  # a block may begin and end within one
                tokens=end - start,
                special=original[start] in tokenizer.all_special_ids,
                fate=fate,
                seen=_seen(fate, seen[start:end], tokenizer),
            )
        )
        start = end
    return shown


def _piece(ids: list[int], start: int, end: int, tokenizer: Any) -> str:
    """The text that tokens add to those before them: WordPiece writes its spaces only between words."""
    context = max(0, start - CONTEXT)
    before = tokenizer.decode(ids[context:start], clean_up_tokenization_spaces=False)
    whole = tokenizer.decode(ids[context:end], clean_up_tokenization_spaces=False)
    return str(whole.removeprefix(before) if whole.startswith(before) else tokenizer.decode(ids[start:end]))


def _seen(fate: str | None, ids: list[int], tokenizer: Any) -> str:
    if fate == HIDDEN:
        return str(tokenizer.mask_token)
    text = str(tokenizer.decode(ids)) if fate == CHANGED else ""
    return PART if CUT in text else text


def _fate(original: int, seen: int, tokenizer: Any) -> str:
    if seen == tokenizer.mask_token_id:
        return HIDDEN
    return KEPT if seen == original else CHANGED
