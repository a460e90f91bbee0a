"""Models of the Hub, asked for through the real client: the Hub is a small server on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

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


@dataclass
class Repository:
    """A folder as the Hub shows it."""

    folder: Path
    sizes: dict[str, int] = field(default_factory=dict)  # in the place of the real ones
    refused: tuple[int, str] | None = None  # status and X-Error-Code of every request; status 0: no answer at all
    gated: bool = False  # files are refused, facts are not
    moving: bool = False  # another revision each time

    def files(self) -> dict[str, Path]:
        return {file.relative_to(self.folder).as_posix(): file for file in self.folder.rglob("*") if file.is_file()}


class LoopbackHub(ThreadingHTTPServer):
    """What a client needs to look at a model and to fetch it; keeps a list of all requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def fetched(self, name: str) -> set[str]:
        """The files of a repository that were asked for whole."""
        found = (re.fullmatch(rf"GET /{name}/resolve/\w+/(\S+) whole", request) for request in self.requests)
        return {match[1] for match in found if match}


class Answer(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: LoopbackHub

    def do_GET(self) -> None:
        path = urlparse(self.path).path
        part = "part" if "range" in self.headers else "whole"
        self.server.requests.append(f"{self.command} {path} {part}")
        facts = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/\w+)?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/\w+/(.+)", path)
        found = facts or file
        repository = self.server.repositories.get(found[1]) if found else None
        if found is None or repository is None:
            self.reply(401 if facts else 404, error="RepoNotFound")
        elif repository.refused:
            self.close_connection = not repository.refused[0]
            if not self.close_connection:
                self.reply(repository.refused[0], error=repository.refused[1])
        elif facts:
            self.reply(200, self.facts(found[1], repository))
        elif repository.gated:
            self.reply(403, error="GatedRepo")
        elif file and file[2] in repository.files():
            self.send_file(repository.files()[file[2]])
        else:
            self.reply(404, error="EntryNotFound")

    do_HEAD = do_GET

    def facts(self, name: str, repository: Repository) -> bytes:
        sizes = {file: path.stat().st_size for file, path in repository.files().items()} | repository.sizes
        seed = f"{name} {len(self.server.requests) if repository.moving else ''}"
        siblings = [{"rfilename": file, "size": size, "blobId": "0"} for file, size in sizes.items()]
        return json.dumps({"id": name, "sha": sha1(seed), "siblings": siblings}).encode()

    def send_file(self, path: Path) -> None:
        first, last = 0, path.stat().st_size - 1
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", "")):
            first, last = int(wanted[1]), min(int(wanted[2]), last)
        head = {"ETag": f'"{sha1(str(path))}"', "X-Repo-Commit": urlparse(self.path).path.split("/resolve/")[1][:40]}
        with path.open("rb") as stream:
            stream.seek(first)
            content = b"" if self.command == "HEAD" else stream.read(last + 1 - first)
        self.reply(206 if wanted else 200, content, head=head, length=last + 1 - first)

    def reply(
        self, status: int, content: bytes = b"", error: str = "", head: Any = None, length: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in ((head or {}) | ({"X-Error-Code": error} if error else {})).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else content)

    def log_message(self, *args: Any) -> None:
        pass


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


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
