"""Shared by all tests: a home of their own, no network, and tiny real models."""

from __future__ import annotations

import atexit
import functools
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

# The libraries read these when they are imported, so they stand here and not in a fixture.
CACHE = Path(tempfile.mkdtemp(prefix="mask-studio-tests-"))
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)
os.environ |= {
    "HF_HOME": str(CACHE),
    "HF_DATASETS_CACHE": str(CACHE / "datasets"),
    "HF_HUB_OFFLINE": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "OMP_NUM_THREADS": "1",  # tiny models are slower on more, and sums come out the same everywhere
}
for leftover in ("HF_TOKEN", "SPACE_ID", "RANK", "WORLD_SIZE"):
    os.environ.pop(leftover, None)

PROJECT = Path(__file__).resolve().parents[1]
SHARED = Path(__file__).parents[1].parent / "shared"
VOCABULARY = 600


def pytest_report_header() -> list[str]:
    """What the numbers of this session depend on."""
    names = ("torch", "transformers", "datasets", "accelerate", "gradio")
    device = "GPU (/dev/nvidia0)" if Path("/dev/nvidia0").exists() else "CPU"
    return [", ".join(f"{name} {_version(name)}" for name in names), f"device: {device}"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no worker has one of them left when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def clean_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Runs live in the test's own folder, and no test inherits another's Accelerator."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    monkeypatch.setenv("MASK_STUDIO_HOME", str(tmp_path / "home"))
    yield
    if state := sys.modules.get("accelerate.state"):
        state.AcceleratorState._reset_state(reset_partial_state=True)
        state.GradientState._reset_state()


@pytest.fixture
def collected() -> list[Any]:
    """Events in the order they were told: `emit=collected.append`."""
    return []


@pytest.fixture(scope="session")
def shared() -> Path:
    """Data kept beside the project, not in it."""
    if not SHARED.is_dir():
        pytest.skip("the folder 'shared' with real texts and tokenizers is not beside the project")
    return SHARED


@pytest.fixture(scope="session")
def answers() -> list[str]:
    """All answers of the bundled data set."""
    with (PROJECT / "assets/science-questions/train.jsonl").open(encoding="utf-8") as lines:
        return [answer for line in lines for answer in json.loads(line)["answers"]["text"]]


@pytest.fixture(scope="session")
def sample_text(answers: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text file of 60 short paragraphs. Not to be changed."""
    paragraphs = [" ".join(answer[:240].split()[:-1]) for answer in answers[:60]]
    path = tmp_path_factory.mktemp("texts") / "sample.txt"
    path.write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_tokenizer(answers: list[str]) -> Callable[[str], Any]:
    """Trains a tokenizer of 600 entries: "bpe" with RoBERTa's special tokens, or "wordpiece" with BERT's."""

    @functools.cache
    def train(algorithm: str) -> Any:
        import tokenizers
        import transformers

        if algorithm == "wordpiece":
            trained = tokenizers.BertWordPieceTokenizer()
            trained.train_from_iterator(answers, vocab_size=VOCABULARY, show_progress=False)
            return transformers.BertTokenizer(vocab=trained.get_vocab(), model_max_length=256)
        trained = tokenizers.ByteLevelBPETokenizer()
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        trained.train_from_iterator(answers, vocab_size=VOCABULARY, special_tokens=special, show_progress=False)
        model = json.loads(trained.to_str())["model"]
        merges = [tuple(pair) for pair in model["merges"]]
        return transformers.RobertaTokenizer(vocab=model["vocab"], merges=merges, model_max_length=256)

    return train


@pytest.fixture(scope="session")
def tiny_model(tiny_tokenizer: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes the folder of a random model, width 32 and 2 layers: `tiny_model("roberta")`. Copy it to change it."""
    root = tmp_path_factory.mktemp("models")

    @functools.cache
    def make(kind: str) -> Path:
        import torch
        import transformers

        tokenizer = tiny_tokenizer("wordpiece" if kind in ("bert", "electra") else "bpe")
        sizes: dict[str, Any] = {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 258 if kind == "roberta" else 256,
            "vocab_size": len(tokenizer),
        }
        if kind == "distilbert":
            sizes |= {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
            sizes = {key: size for key, size in sizes.items() if key not in transformers.DistilBertConfig.attribute_map}
        special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep")}
        special |= {"bos_token_id": tokenizer.cls_token_id, "eos_token_id": tokenizer.sep_token_id}
        config = transformers.AutoConfig.for_model(kind, **sizes, **special)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = transformers.AutoModelForMaskedLM.from_config(config)
        model.save_pretrained(root / kind)
        tokenizer.save_pretrained(root / kind)
        return root / kind

    return make


@pytest.fixture
def altered(tiny_model: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """A copy of a tiny model with other settings in its JSON files: `altered("bert", config={"n": 3}, tokenizer={})`.

    A tokenizer.json that is changed is believed, too: most classes take its vocabulary and leave the rest.
    """

    def make(kind: str = "roberta", **files: dict[str, Any]) -> Path:
        folder = shutil.copytree(tiny_model(kind), tmp_path / kind)
        if "tokenizer" in files:
            files.setdefault("tokenizer_config", {})["tokenizer_class"] = "PreTrainedTokenizerFast"
        for name, changes in files.items():
            file = folder / f"{name}.json"
            file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | changes), "utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def write_weights() -> Callable[..., None]:
    """Makes a file of zeros that take no room on the disk: `write_weights(file, {"name": (rows, columns)})`."""

    def write(file: Path, shapes: dict[str, tuple[int, ...]], dtype: str = "F32") -> None:
        end, header = 0, {}
        for name, shape in shapes.items():
            begin, end = end, end + math.prod(shape) * {"F32": 4, "I8": 1}[dtype]
            header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
        text = json.dumps(header).encode()
        with file.open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            stream.truncate(8 + len(text) + end)

    return write


@pytest.fixture
def opened_files() -> Iterator[Callable[[Path], list[str]]]:
    """Called with a folder, a list that grows by each file below it that this process opens from then on."""
    watched: list[tuple[str, list[str]]] = []

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if watched and event == "open" and isinstance(arguments[0], str):
            for folder, opened in watched:
                if arguments[0].startswith(folder):
                    opened.append(arguments[0])

    def below(folder: Path) -> list[str]:
        watched.append((f"{folder}{os.sep}", []))
        return watched[-1][1]

    sys.addaudithook(hear)  # there is no way to take it off again: it hears nothing once the test is over
    yield below
    watched.clear()


@pytest.fixture(scope="session")
def thousand_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with 1,000 finished runs. Not to be changed."""
    from tests.thousand_runs import write_runs

    home = tmp_path_factory.mktemp("thousand")
    write_runs(home)
    return home


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
