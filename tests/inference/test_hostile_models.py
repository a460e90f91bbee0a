"""Models that are out to harm: whatever they end or fill, the next question gets its answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import ModelError, PredictionError, TrainerError
from trainer.inference.worker import FillService, WorkerFacts

pytestmark = pytest.mark.slow

SENTENCE = "The Milky Way is a <mask> galaxy."
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def service() -> Iterator[FillService]:
    """One for all tests, so each must leave it able to answer; little memory makes bombs go off early."""
    service = FillService(timeout_seconds=PATIENCE_SECONDS, memory_bytes=2 << 30)
    yield service
    service.close()


@pytest.fixture(scope="module")
def answer(service: FillService) -> list[str]:
    """What the bundled model says before it has met anybody."""
    return tokens(service)


@pytest.fixture
def worker(service: FillService, answer: list[str]) -> WorkerFacts:
    """The worker, up and idle."""
    assert tokens(service) == answer
    facts = service.facts()
    assert facts is not None
    return facts


def tokens(service: FillService) -> list[str]:
    (mask,) = service.fill(SENTENCE)
    return [candidate.token_str for candidate in mask.candidates]


def replacing(pattern: dict[str, str], content: str, times: int = 1) -> dict[str, Any]:
    """A tokenizer that replaces text, again and again."""
    step = {"type": "Replace", "pattern": pattern, "content": content}
    return {"normalizer": {"type": "Sequence", "normalizers": [step] * times}}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"config": {"num_hidden_layers": 3_000_000}}, "says num_hidden_layers = 3000000; at most 128"),
        ({"config": {"num_hidden_layers": 100}}, "says 100 layers; its weights hold 2"),
        ({"config": {"hidden_size": 60_000}}, "its files hold 46,"),
        ({"config": {"vocab_size": 2 * 10**9}}, "says vocab_size = 2000000000; at most"),
        ({"config": {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}}, "can't fill masks"),
        ({"config": {"quantization_config": {"quant_method": "bitsandbytes"}}}, "not supported here"),
        ({"tokenizer": replacing({"String": "a"}, "a" * 10, times=12)}, "would fill the memory"),
        ({"tokenizer": replacing({"Regex": r"([\w\s.]+)+$"}, "b")}, "can't be opened: PanicException"),
    ],
    ids=["layers", "missing layers", "width", "vocabulary", "code", "packed", "replacements", "panic"],
)
def test_what_is_refused_costs_a_sentence_and_no_worker(
    service: FillService, worker: WorkerFacts, answer: list[str], altered: Callable, settings: dict, words: str
) -> None:
    with pytest.raises(ModelError) as caught:
        service.fill(SENTENCE, str(altered(**settings)))
    assert words in caught.value.what
    assert tokens(service) == answer and service.facts() == worker


def test_a_panic_in_the_tokenizer_is_a_sentence_and_the_worker_goes_on(
    service: FillService, worker: WorkerFacts, answer: list[str], altered: Callable
) -> None:
    folder = str(altered(tokenizer=replacing({"Regex": "(a+)+$"}, "b")))
    with pytest.raises(TrainerError, match=r"The model failed on this text: PanicException"):
        service.fill("<mask> " + "a" * 40 + "!", folder)
    assert tokens(service) == answer and service.facts() == worker


def test_a_tokenizer_that_aborts_the_process_is_a_sentence_and_the_next_question_is_answered(
    service: FillService, worker: WorkerFacts, answer: list[str], altered: Callable
) -> None:
    """A thousandfold is let through, for honest tokenizers may reach it; on a long text it is too much."""
    if worker.device != "cpu":
        pytest.skip("the memory of a worker with a GPU is not bounded, and this would fill all of it")
    folder = str(altered(tokenizer=replacing({"String": "a"}, "a" * 1_900)))
    with pytest.raises(PredictionError) as caught:
        service.fill("a" * 45_000 + "<mask>", folder)
    assert "ended while it worked on this" in caught.value.what and caught.value.fix
    wait_until_gone(worker.pid)  # its pipe is closed a moment before its memory is given back
    assert tokens(service) == answer and service.facts() != worker


def test_a_model_too_large_for_the_memory_is_a_sentence(
    service: FillService, answer: list[str], altered: Callable, write_weights: Callable
) -> None:
    """Its files are in order and below every cap; but this worker has only 2 GiB."""
    import torch
    import transformers

    folder = altered()
    config = transformers.RobertaConfig(
        vocab_size=600, hidden_size=4096, intermediate_size=16384, num_hidden_layers=2, num_attention_heads=16
    )
    config.save_pretrained(folder)
    with torch.device("meta"):
        model = transformers.RobertaForMaskedLM(config)
    weights = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    write_weights(folder / "model.safetensors", weights)
    with pytest.raises(ModelError, match="it does not fit into this machine's memory"):
        service.fill(SENTENCE, str(folder))
    assert tokens(service) == answer


def wait_until_gone(pid: int) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while Path(f"/proc/{pid}").exists():
        stat = Path(f"/proc/{pid}/stat")
        if os.name != "posix" or (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"):
            return
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)
