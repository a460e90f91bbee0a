"""Data sets of the Hub, asked for through the real client: the Hub is a small server on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[2]
ASK = """
import json, sys
from trainer.config import TrainConfig
from trainer.engine.documents import load_documents
from trainer.errors import DataError

for line in sys.argv[1:]:
    try:
        found = load_documents(TrainConfig(**json.loads(line)))
        told = {"texts": found.rows["text"][:3], "count": len(found), "column": found.text_column}
    except DataError as error:
        told = {"what": error.what, "fix": error.fix}
    print(json.dumps(told), flush=True)
"""
ROWS = [{"title": f"Q{number}", "answers": {"text": [f"answer {number}", "more"]}} for number in range(40)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
HUGE = "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n  download_size: 9000000000000\n---\n"
TWO = "---\nconfigs:\n{}---\n".format(
    "".join(f"- config_name: {name}\n  data_files: {name}.jsonl\n" for name in ("easy", "hard"))
)
REPOSITORIES: dict[str, dict[str, str]] = {
    "org/plain": {"train.jsonl": LINES, "test.jsonl": LINES.replace("answer ", "test ")},
    "org/configured": {"README.md": TWO, "easy.jsonl": LINES, "hard.jsonl": LINES.replace("answer ", "hard ")},
    "org/huge": {"README.md": HUGE, "train.jsonl": "".join(f'{{"text": "row {n}"}}\n' for n in range(50))},
    "org/scripted": {"scripted.py": "raise SystemExit('run')\n"},
    "org/gated": {"train.jsonl": LINES},
    "org/mixed": {"a.jsonl": '{"text": "one"}\n', "b.jsonl": '{"question": "two", "n": 1}\n'},
}


class Answer(BaseHTTPRequestHandler):
    """One request for a data set."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlparse(self.path).path
        found = re.fullmatch(r"/(?:api/)?datasets/([^/]+/[^/]+)(?:/(\w[\w-]*)/(\w+)(?:/(.*))?)?", path)
        files = REPOSITORIES.get(found[1]) if found else None
        if found is None or files is None:
            return self.reply(401 if found else 404, error="RepoNotFound")
        kind, revision, name = found[2], found[3], found[4]
        if kind == "resolve" and found[1] == "org/gated":
            return self.reply(403, error="GatedRepo")
        if kind == "resolve":
            if name not in files:
                return self.reply(404, error="EntryNotFound")
            etag = hashlib.sha1(files[name].encode()).hexdigest()
            return self.reply(200, files[name].encode(), {"ETag": f'"{etag}"', "X-Repo-Commit": revision})
        entries = [{"type": "file", "path": file, "size": len(files[file]), "oid": "0"} for file in files]
        if kind == "tree":
            inside = f"{name}/" if name else ""
            entries = [entry for entry in entries if str(entry["path"]).startswith(inside)]
            return self.reply(200, json.dumps(entries).encode())
        if kind == "paths-info":
            asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
            return self.reply(200, json.dumps([entry for entry in entries if str(entry["path"]) in asked]).encode())
        siblings = [{"rfilename": file} for file in files]
        facts = {"id": found[1], "sha": hashlib.sha1(found[1].encode()).hexdigest(), "siblings": siblings}
        return self.reply(200, json.dumps(facts | {"gated": found[1] == "org/gated"}).encode())

    do_HEAD = do_POST = do_GET

    def reply(self, status: int, content: bytes = b"", head: Any = None, error: str = "") -> None:
        self.send_response(status)
        for key, value in ((head or {}) | ({"X-Error-Code": error} if error else {})).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else content)

    def log_message(self, *args: Any) -> None:
        pass


ASKED: dict[str, dict[str, Any]] = {
    "plain": {"dataset": "org/plain", "text_column": "title,answers.text"},
    "slice": {"dataset": "org/plain", "split": "train[10:12]"},
    "validation": {"dataset": "org/plain", "validation_split": "test", "max_documents": 5},
    "configuration": {"dataset": "org/configured", "dataset_config": "hard", "max_documents": 2},
    "huge, a slice": {"dataset": "org/huge", "split": "train[5:8]"},
    "huge, some documents": {"dataset": "org/huge", "max_documents": 4},
    "huge, all": {"dataset": "org/huge"},
    "huge, a percentage": {"dataset": "org/huge", "split": "train[:10%]"},
    "huge, a sum": {"dataset": "org/huge", "split": "train+train[:2]", "max_documents": 4},
    "a percentage": {"dataset": "org/plain", "split": "train[:10%]"},
    "no such": {"dataset": "org/missing"},
    "gated": {"dataset": "org/gated"},
    "script": {"dataset": "org/scripted"},
    "mixed": {"dataset": "org/mixed"},
    "no split": {"dataset": "org/plain", "split": "validation"},
    "empty slice": {"dataset": "org/plain", "split": "train[90:]"},
    "no configuration": {"dataset": "org/configured", "dataset_config": "odd"},
    "which configuration": {"dataset": "org/configured"},
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """What is answered to each question, by one process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = tmp_path_factory.mktemp("client")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}", "HF_HOME": str(home)}
    environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(PROJECT)}
    questions = [json.dumps(question) for question in ASKED.values()]
    done = subprocess.run(
        [sys.executable, "-c", ASK, *questions], cwd=home, env=environment, capture_output=True, text=True, timeout=180
    )
    server.shutdown()
    assert done.returncode == 0, done.stderr
    yield dict(zip(ASKED, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize(
    ("question", "count", "first"),
    [
        ("plain", 40, "Q0\nanswer 0 more"),
        ("slice", 2, "answer 10 more"),
        ("a percentage", 4, "answer 0 more"),
        ("validation", 45, "answer 0 more"),
        ("configuration", 2, "hard 0 more"),
        ("huge, a slice", 3, "row 5"),
        ("huge, some documents", 4, "row 0"),
    ],
)
def test_a_data_set_is_read_with_its_configuration_split_and_slice(told, question, count, first):
    assert (told[question].get("count"), told[question].get("texts", [None])[0]) == (count, first), told[question]


@pytest.mark.parametrize(
    ("question", "what", "fix"),
    [
        ("huge, all", "'org/huge' has 9,000.0 GB, which is much to fetch", "set max_documents, or a slice"),
        (
            "huge, a percentage",
            "'org/huge' has 9,000.0 GB, which is much to fetch",
            "a slice of it that is named in rows",
        ),
        ("huge, a sum", "'org/huge' has 9,000.0 GB, which is much to fetch", "a slice of it that is named in rows"),
        ("no such", "'org/missing' was not found on the Hub", "private ones can be used in the shell alone"),
        ("gated", "'org/gated' is not open to everybody", "Ask for access"),
        ("script", "'org/scripted' is only a program that would fetch it, which is not run here", "Choose another"),
        ("mixed", "The files of the data set 'org/mixed' have different columns", "Choose another"),
        ("no split", "'org/plain' has no split 'validation'", "Its splits are: train, test."),
        ("empty slice", r"The split 'train\[90:\]' is empty", "Choose a slice"),
        ("no configuration", "'org/configured' has no configuration 'odd'", "Its configurations are: easy, hard."),
        (
            "which configuration",
            "'org/configured' has several configurations",
            "Set dataset_config to one of: easy, hard.",
        ),
    ],
)
def test_a_data_set_that_cannot_be_had_is_refused_in_a_sentence(told, question, what, fix):
    assert re.search(what, told[question].get("what", "")) and fix in told[question]["fix"], told[question]
