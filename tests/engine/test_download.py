"""Models of the Hub, asked for through the real client: the Hub is a small server on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.loopback_hub import LoopbackHub, Repository, sha1

pytestmark = pytest.mark.slow

KEPT = ("kept-private", "kept-gated", "kept-broken", "kept-dropped")
PROJECT = Path(__file__).resolve().parents[2]
ASK = """
import json, sys
from trainer.engine.model import load_model
from trainer.errors import ModelError

for name in sys.argv[1:]:
    try:
        words = load_model(name).top_words("The <mask> orbits the Sun.", 3)
        print(json.dumps({"words": words}), flush=True)
    except ModelError as error:
        print(json.dumps({"what": error.what, "fix": error.fix}), flush=True)
"""


@pytest.fixture(scope="module")
def hub(
    tiny_model: Callable[[str], Path], write_weights: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LoopbackHub]:
    """The Hub with a sound model, and others that are not."""
    hub = LoopbackHub()
    root = tmp_path_factory.mktemp("hub")

    def add(name: str, **facts: Any) -> Path:
        folder = shutil.copytree(tiny_model("roberta"), root / name)
        hub.repositories[f"org/{name}"] = Repository(folder, **facts)
        return folder

    good = add("good")
    for stranger in ("evil.py", "pytorch_model.bin", "onnx/model.onnx", "sub/model.safetensors", "extra.safetensors"):
        (good / stranger).parent.mkdir(exist_ok=True)
        (good / stranger).write_bytes(b"evil")
    sharded = add("sharded")
    import transformers

    model = transformers.AutoModelForMaskedLM.from_pretrained(sharded)
    (sharded / "model.safetensors").unlink()
    model.save_pretrained(sharded, max_shard_size="60KB")
    add("private", refused=(401, "RepoNotFound"))
    add("gated", gated=True)
    add("broken", refused=(503, ""))
    add("dropped", refused=(0, ""))
    add("kept-private", refused=(401, "RepoNotFound"))
    add("kept-gated", gated=True)
    add("kept-broken", refused=(503, ""))
    add("kept-dropped", refused=(0, ""))
    add("busy", refused=(429, ""))
    add("moving", moving=True)
    add("heavy", sizes={"model.safetensors": 5 * 10**9})
    add("wordy", sizes={"tokenizer.json": 10**9})
    add("endless", sizes={"config.json": 10**9})
    add("unbacked", sizes={"model.safetensors": 1000})  # the Hub's word is not all: the file's own head counts
    (add("pickled") / "model.safetensors").rename(root / "pickled/pytorch_model.bin")
    (add("bare") / "config.json").unlink()
    write_weights(add("many") / "model.safetensors", {"a": (700_000_000,)}, "I8")
    (add("garbled") / "model.safetensors").write_bytes(b"cos\nsystem\n(S'false'\ntR." * 100)
    change(add("deep") / "config.json", num_hidden_layers=100)
    change(add("bomb") / "config.json", num_hidden_layers=3_000_000)
    change(add("wide") / "config.json", hidden_size=60_000)
    change(add("causal") / "config.json", model_type="gpt2")
    tenfold = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}
    change(add("chain") / "tokenizer.json", normalizer={"type": "Sequence", "normalizers": [tenfold] * 12})
    yield hub
    hub.shutdown()
    hub.server_close()


def change(file: Path, **settings: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | settings), "utf-8")


def ask(home: Path, endpoint: str, *names: str, **environment: str) -> dict[str, dict[str, Any]]:
    """What a fresh process says of these models: their words, or why there are none."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, *names],
        env=os.environ
        | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        | {"PYTHONPATH": str(PROJECT), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(names, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.fixture(scope="module")
def home(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of the client, in which some models lie already."""
    home = tmp_path_factory.mktemp("cache")
    for name in KEPT:
        stored = home / f"hub/models--org--{name}"
        shutil.copytree(hub.repositories[f"org/{name}"].folder, stored / "snapshots" / sha1(f"org/{name} "))
        (stored / "refs").mkdir()
        (stored / "refs/main").write_text(sha1(f"org/{name} "))
    return home


@pytest.fixture(scope="module")
def answers_online(hub: LoopbackHub, home: Path) -> dict[str, dict[str, Any]]:
    """Every model asked for once, by one process; the sound one by a second time."""
    return ask(home, hub.url, *hub.repositories, "org/missing", "org/good")


def test_a_sound_model_answers_and_only_files_that_hold_data_were_fetched(
    hub: LoopbackHub, home: Path, answers_online: dict[str, Any]
) -> None:
    assert len(answers_online["org/good"]["words"]) == 3
    expected = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert hub.fetched("org/good") == expected
    (snapshot,) = home.glob("hub/models--org--good/snapshots/*")
    assert snapshot.name == sha1("org/good ") and {file.name for file in snapshot.iterdir()} == expected


def test_a_model_is_looked_at_once_and_its_weights_come_last(hub: LoopbackHub, answers_online: dict[str, Any]) -> None:
    requests = [line for line in hub.requests if line.startswith("GET") and "org/good" in line]
    asked = [line.split("org/good")[1].rpartition("/")[2] for line in requests]
    assert asked[:4] == [" whole", " whole", "config.json whole", "model.safetensors part"]
    assert asked[-1] == "model.safetensors whole" and len(asked) == len(set(asked)) + 1


def test_weights_in_several_files_are_fetched_with_their_index(
    hub: LoopbackHub, answers_online: dict[str, Any]
) -> None:
    assert answers_online["org/sharded"]["words"]
    assert {"model.safetensors.index.json", "model-00001-of-00003.safetensors"} <= hub.fetched("org/sharded")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("heavy", "take 5,000.0 MB; at most 3,000.0 MB are accepted here"),
        ("wordy", "tokenizer.json of 'org/wordy' has 1,000.0 MB; at most"),
        ("endless", "config.json of 'org/endless' has 1,000.0 MB; at most"),
        ("many", "has 700 million weights; at most 600 are accepted here"),
        ("pickled", "has no weights in safetensors format"),
        ("bare", "is not a model folder"),
        ("garbled", "model.safetensors of 'org/garbled' is damaged"),
        ("deep", "says 100 layers; its weights hold 2"),
        ("bomb", "says num_hidden_layers = 3000000; at most 128"),
        ("wide", "describes a model of"),
        ("causal", "is a 'gpt2' model, which can't fill masks"),
        ("gated", "is gated: its authors want to know who uses it"),
        ("private", "The Hub has no model 'org/private'. Check the name; private ones can be used in the shell alone"),
        ("missing", "The Hub has no model 'org/missing'"),
        ("broken", "nor could it be fetched from the Hub. The Hub answered 503: try again later."),
        ("dropped", "nor could it be fetched from the Hub. Check the name and the connection"),
        ("busy", "nor could it be fetched from the Hub. The Hub answered 429: try again later."),
        ("moving", "was changed on the Hub at this moment. Try again."),
    ],
)
def test_what_is_refused_is_refused_in_words_before_its_weights_are_fetched(
    name: str, words: str, hub: LoopbackHub, answers_online: dict[str, Any]
) -> None:
    refusal = answers_online[f"org/{name}"]
    assert words in f"{refusal['what']} {refusal['fix']}" and refusal["fix"]
    assert hub.fetched(f"org/{name}") <= {"config.json"}


def test_what_only_the_files_tell_is_refused_when_they_are_there(answers_online: dict[str, Any]) -> None:
    assert "times longer, which would fill the memory" in answers_online["org/chain"]["what"]


def test_what_was_fetched_before_is_opened_without_asking_anybody_when_offline(
    hub: LoopbackHub, home: Path, answers_online: dict[str, Any]
) -> None:
    before = len(hub.requests)
    answers = ask(home, hub.url, "org/good", "org/never", "org/heavy", "org/gated", HF_HUB_OFFLINE="1")
    assert len(hub.requests) == before
    assert answers.pop("org/good") == answers_online["org/good"]
    for name, refusal in answers.items():
        assert refusal["what"] == f"The model {name!r} is neither a folder here nor could it be fetched from the Hub."
        assert "HF_HUB_OFFLINE keeps this machine from the Hub" in refusal["fix"]


@pytest.mark.parametrize("name", ["kept-broken", "kept-dropped"])
def test_what_was_fetched_before_is_opened_when_the_hub_does_not_answer(
    name: str, answers_online: dict[str, Any]
) -> None:
    assert answers_online[f"org/{name}"] == answers_online["org/good"]


@pytest.mark.parametrize("name", ["kept-private", "kept-gated"])
def test_a_model_somebody_else_fetched_is_kept_from_those_the_hub_refuses_it(
    name: str, answers_online: dict[str, Any]
) -> None:
    assert "words" not in answers_online[f"org/{name}"]
