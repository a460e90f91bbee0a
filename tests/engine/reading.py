"""What is read of a data set."""

from __future__ import annotations

from trainer.config import TrainConfig
from trainer.engine.documents import load_documents


def read(path, **settings):
    return load_documents(TrainConfig(dataset=str(path), **settings))


def texts(documents):
    return list(documents.rows["text"])
