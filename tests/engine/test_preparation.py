"""The plan of a run follows from text and model."""

from __future__ import annotations

import math

import pytest
import transformers

from trainer.engine import hardware
from trainer.engine.loop import ignore
from trainer.engine.preparation import masking_for, prepare
from trainer.errors import ConfigError, DataError, ModelError
from trainer.events import Planned, Warned


def test_more_devices_and_accumulation_mean_fewer_steps(tiny_config, tmp_path):
    def plan(global_batch=None, **changes):
        settings = tiny_config(max_steps=None, num_train_epochs=2.0, **changes)
        return prepare(settings, ignore, tmp_path, global_batch=global_batch).plan

    one = plan()
    assert one.steps == 2 * one.steps_per_epoch and one.steps_per_epoch == math.ceil(one.train_blocks / 8)
    assert plan(global_batch=16).steps_per_epoch == math.ceil(one.train_blocks / 16)
    assert plan(gradient_accumulation_steps=4).steps_per_epoch == math.ceil(one.train_blocks / 32)


def test_a_long_run_is_compiled_by_itself_and_only_a_longer_one_where_steps_are_recorded(
    tiny_config, tmp_path, monkeypatch
):
    def compiles(**changes):
        return prepare(tiny_config(**changes), ignore, tmp_path).plan.compile

    assert not compiles(max_steps=10**6, compile="auto")  # there is no GPU
    monkeypatch.setattr(hardware, "gains_by_compiling", lambda: True)
    assert not compiles(max_steps=4_999, compile="auto") and compiles(max_steps=5_000, compile="auto")
    assert not compiles(max_steps=5_000, compile="auto", max_seconds=600)
    assert compiles(max_steps=1, compile="on") and not compiles(max_steps=10**6, compile="off")
    monkeypatch.setattr(hardware, "records_steps", lambda: True)
    assert not compiles(max_steps=49_999, compile="auto") and compiles(max_steps=50_000, compile="auto")
    assert compiles(max_steps=5_000, compile="auto", gradient_accumulation_steps=2)  # such steps are not recorded


def test_held_out_documents_share_no_text_with_those_learned_from(tiny_config, sample_text, tmp_path):
    prepared = prepare(tiny_config(block_size=8), ignore, tmp_path)
    tokenizer = prepared.model.tokenizer
    learned, held = (tokenizer.decode(part.ids) for part in (prepared.train, prepared.held_out))
    paragraphs = sample_text.read_text(encoding="utf-8").strip().split("\n\n")
    assert [(p[20:80] in learned) + (p[20:80] in held) for p in paragraphs[:-5]] == [1] * (len(paragraphs) - 5)


def test_blocks_longer_than_the_model_reads_are_refused(tiny_config, tmp_path):
    with pytest.raises(ConfigError, match=r"block_size is 257; .* reads at most 256 tokens"):
        prepare(tiny_config(block_size=257), ignore, tmp_path)
    assert prepare(tiny_config(block_size=256), ignore, tmp_path).train.longest == 256


def test_a_probe_text_longer_than_the_model_reads_is_refused_before_the_text_is_read(tiny_config, tmp_path, collected):
    with pytest.raises(ConfigError, match=r"probe_text can't be asked: .* tokens; this model reads at most 256"):
        prepare(tiny_config(probe_text="water " * 300 + "<mask>"), collected.append, tmp_path)
    assert not any(getattr(event, "phase", "") == "Reading the text" for event in collected)


def test_a_tokenizer_that_is_too_slow_for_a_text_is_refused(tiny_model, tiny_config, tmp_path):
    folder = tmp_path / "esm"
    words = ["<cls>", "<pad>", "<eos>", "<unk>", *"ABCDEFGHIKLMNPQRSTVWYZ", "<mask>"]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.EsmTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.EsmConfig(
        vocab_size=len(words), pad_token_id=1, mask_token_id=len(words) - 1, max_position_embeddings=300, **sizes
    )
    transformers.EsmForMaskedLM(config).save_pretrained(folder)
    with pytest.raises(ModelError, match=r"'esm' has a tokenizer without a tokenizer\.json"):
        prepare(tiny_config(model=str(folder)), ignore, tmp_path / "run")


def test_masks_spare_every_special_token_of_the_tokenizer(tiny_config, tmp_path):
    prepared = prepare(tiny_config(), ignore, tmp_path)
    masking = masking_for(tiny_config(), prepared.model)
    assert masking == prepared.masking
    assert set(masking.special_ids) == {0, 1, 2, 3, 4} and masking.mask_token_id == 4
    assert masking.vocabulary_size == 600


def test_a_single_document_is_warned_about_unless_nothing_was_to_be_held_out(tiny_config, tmp_path, collected):
    (tmp_path / "one.txt").write_text("The Sun is a star.")
    prepare(tiny_config(dataset=str(tmp_path / "one.txt")), collected.append, tmp_path / "run")
    assert [event.message[:31] for event in collected if isinstance(event, Warned)] == [
        "The text is a single document, "
    ]
    collected.clear()
    prepare(tiny_config(dataset=str(tmp_path / "one.txt"), test_size=0.0), collected.append, tmp_path / "run")
    assert not any(isinstance(event, Warned) for event in collected)
    assert isinstance(collected[-1], Planned)


@pytest.mark.parametrize(
    ("text", "whole_words", "warned"),
    [
        ("水が沸騰するあいだに氷が溶ける。", True, True),
        ("水が沸騰するあいだに氷が溶ける。", False, False),
        ("Ice melts. ", True, False),
    ],
    ids=["without spaces", "single tokens", "with spaces"],
)
def test_whole_words_of_a_text_without_spaces_are_warned_about(
    text, whole_words, warned, tiny_config, tmp_path, collected
):
    (tmp_path / "text.txt").write_text(f"{text * 20}\n" * 9, encoding="utf-8")
    settings = tiny_config(dataset=str(tmp_path / "text.txt"), whole_word_mask=whole_words)
    prepare(settings, collected.append, tmp_path / "run")
    messages = [event.message for event in collected if isinstance(event, Warned)]
    assert any("whole_word_mask hides whole passages" in message for message in messages) is warned


def test_what_cannot_be_opened_raises_its_own_error(tiny_config, tmp_path):
    with pytest.raises(DataError):
        prepare(tiny_config(dataset="/no/such.txt"), ignore, tmp_path)
    with pytest.raises(ModelError):
        prepare(tiny_config(model="/no/such"), ignore, tmp_path)


def test_words_and_skipped_documents_are_counted(tiny_config, tmp_path):
    rows = ['{"text": "one two three"}', '{"text": null}', '{"text": "four  five"}', '{"text": " "}']
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    plan = prepare(tiny_config(dataset=str(tmp_path / "rows.jsonl")), ignore, tmp_path / "run").plan
    assert (plan.documents, plan.skipped_documents, plan.words) == (2, 2, 5)
