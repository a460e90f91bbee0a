"""The score of a model on a data set, without training."""

from __future__ import annotations

import pytest

from trainer.engine.assessment import assess
from trainer.engine.cloze import score_cloze
from trainer.engine.documents import load_documents
from trainer.engine.loop import fit
from trainer.errors import DataError
from trainer.events import Evaluated, Planned


def test_all_documents_are_scored(tiny_config):
    config = tiny_config()
    result = assess(config)
    assert set(result) == {"loss", "perplexity", "accuracy", "masked_tokens"}
    assert 5 < result["loss"] < 8 and 0 <= result["accuracy"] <= 1
    assert result["masked_tokens"] > assess(config, held_out_only=True)["masked_tokens"] * 3
    assert len(load_documents(config)) == 60


def test_the_held_out_part_scores_what_the_run_said_before_and_after(tiny_config, tmp_path, collected):
    config = tiny_config(max_steps=10, learning_rate=3e-3)
    fit(config, collected.append, output_dir=tmp_path)
    before, after = (event for event in collected if isinstance(event, Evaluated))
    assert after.best and after.loss < before.loss
    for model, event in ((config.model, before), (str(tmp_path / "model"), after)):
        result = assess(tiny_config(model=model), held_out_only=True)
        assert result == {name: getattr(event, name) for name in result}


def test_whole_words_are_scored_too(tiny_config):
    pieces, words = (assess(tiny_config(whole_word_mask=whole)) for whole in (False, True))
    assert words["loss"] != pieces["loss"]
    assert words["masked_tokens"] == pytest.approx(pieces["masked_tokens"], rel=0.3)


def test_blocks_are_no_longer_than_the_model_reads(tiny_config):
    assert assess(tiny_config(block_size=4096))["masked_tokens"] > 100


def test_nothing_to_score_is_refused_in_a_sentence(tiny_config):
    with pytest.raises(DataError, match="no token"):
        assess(tiny_config(test_size=0.0), held_out_only=True)


@pytest.mark.parametrize(
    "line",
    ["", "[]", '{"text": "_"}', '{"text": 1, "expected": []}', '{"text": "_", "expected": "a"}',
     '{"text": "_", "expected": [100]}'],
)  # fmt: skip
def test_what_is_no_cloze_set_is_refused_in_a_sentence(line, tiny_config, tmp_path):
    (tmp_path / "cloze.jsonl").write_text(line)
    with pytest.raises(DataError, match=r"'cloze\.jsonl' is no cloze set"):
        score_cloze(tiny_config(), tmp_path / "cloze.jsonl")


def test_no_event_counts_more_tokens_than_there_are(tiny_config, tmp_path, collected):
    fit(tiny_config(max_steps=1), collected.append, output_dir=tmp_path)
    (plan,) = (event for event in collected if isinstance(event, Planned))
    (first, _) = (event for event in collected if isinstance(event, Evaluated))
    assert 0 < first.masked_tokens < plan.held_out_blocks * plan.block_size * 0.3
