"""Whatever is brought becomes documents, or is refused in a sentence."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.config import TrainConfig
from trainer.engine.documents import load_documents
from trainer.errors import DataError

cells = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
values = st.recursive(
    cells, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.dictionaries(st.text(max_size=6), values, max_size=4), max_size=5),
    name=st.sampled_from(["a.json", "a.jsonl", "a.csv"]),
)
def test_random_tables_become_documents_or_a_sentence(tmp_path_factory, rows, name):
    path = tmp_path_factory.mktemp("tables") / name
    lines = "\n".join(map(json.dumps, rows))
    path.write_text({"a.json": json.dumps(rows), "a.jsonl": lines}.get(name) or lines.replace("{", ""), "utf-8")
    _documents_or_a_sentence(path)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.sampled_from(
        [b"", b"[", b"{", b"text\n", b"\xff\xfe", b"\xef\xbb\xbf", b"PK\x03\x04", b"\x1f\x8b\x08", b"PAR1"]
    ),
    data=st.binary(max_size=200) | st.text(max_size=80).map(str.encode),
    name=st.sampled_from(["a.txt", "a.csv", "a.tsv", "a.json", "a.jsonl", "a.parquet", "a.zip", "a.txt.gz"]),
)
def test_random_bytes_become_documents_or_a_sentence(tmp_path_factory, head, data, name):
    path = tmp_path_factory.mktemp("bytes") / name
    path.write_bytes(head + data)
    _documents_or_a_sentence(path)


def _documents_or_a_sentence(path):
    try:
        documents = load_documents(TrainConfig(dataset=str(path)))
    except DataError as error:
        assert error.what and error.fix and str(path) not in str(error)
    else:
        assert all(isinstance(text, str) and text for text in documents.rows["text"])
