"""What safetensors files say they hold, read from their heads alone and held against their lengths."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trainer.errors import ModelError

HEADER_BYTES = 25_000_000  # where the Hub's own reader stops, too; 600 tensors take 70,000
NUMBER_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
                "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}  # fmt: skip
INDEX = "model.safetensors.index.json"

Shapes = dict[str, tuple[int, ...]]  # of the tensors, by their names


def stored_shapes(folder: Path, files: Iterable[str], name: str) -> Shapes:
    """The tensors in the weight files of a folder. Raises: ModelError for files that are cut short or don't add up."""
    files = list(files)
    shapes: Shapes = {}
    for file in files:
        shapes |= _shapes_in(folder / file, name)
    if (folder / INDEX).exists() and "model.safetensors" not in files:
        try:
            named = set(json.loads((folder / INDEX).read_bytes())["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(f"{INDEX} of {name!r} is damaged.", "Fetch the model again.") from error
        if strange := sorted(map(str, named - set(files))):
            what = f"{INDEX} of {name!r} names {strange[0][:100]!r}, which is not one of its weight files."
            raise ModelError(what, "Fetch the model again, or choose another.")
    return shapes


def count(shapes: Shapes) -> int:
    """How many numbers there are in all."""
    return sum(map(math.prod, shapes.values()))


def _shapes_in(file: Path, name: str) -> Shapes:
    size = file.stat().st_size
    with file.open("rb") as stream:
        header_bytes = int.from_bytes(stream.read(8), "little")
        if not 0 < header_bytes <= min(HEADER_BYTES, size - 8):
            raise ModelError(f"{file.name} of {name!r} is not a safetensors file.", "Fetch the model again.")
        try:
            tensors = json.loads(stream.read(header_bytes))
            tensors.pop("__metadata__", None)
            return _checked(tensors, size - 8 - header_bytes)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(f"{file.name} of {name!r} is damaged.", "Fetch the model again.") from error


def _checked(tensors: dict[str, Any], size: int) -> Shapes:
    """The shapes in a header whose tensors fill `size` bytes one after another. Raises: ValueError and others."""
    end = 0
    for tensor in sorted(tensors.values(), key=lambda tensor: tensor["data_offsets"]):
        begin, next_end = tensor["data_offsets"]
        if any(type(side) is not int or side < 0 for side in tensor["shape"]):
            raise ValueError("a shape that is none")
        if begin != end or next_end - begin != math.prod(tensor["shape"]) * NUMBER_BYTES[tensor["dtype"]]:
            raise ValueError("tensors that overlap, leave gaps or are of another size than their shape")
        end = next_end
    if end != size:
        raise ValueError("the file is longer or shorter than its tensors")
    return {name: tuple(tensor["shape"]) for name, tensor in tensors.items()}
