"""Blocks against plain per-document tokenizing, concatenating and cutting."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import tokenizers
import torch
import transformers

from trainer.config import TrainConfig
from trainer.engine.blocks import make_blocks, split_documents
from trainer.engine.documents import load_documents


def plainly(texts, tokenizer):
    """All tokens of all documents, one after the other, the way the tutorial has it."""
    return list(itertools.chain.from_iterable(tokenizer(text)["input_ids"] for text in texts))


def rows(blocks):
    """The tokens of every block."""
    return [part.tolist() for part in np.split(blocks.ids, blocks.bounds[1:-1])]


def cut(flat, size):
    return [flat[i : i + size] for i in range(0, len(flat) - len(flat) % size, size)]


@pytest.fixture
def bundled():
    return load_documents(TrainConfig())


def test_blocks_of_real_answers_equal_the_plain_recipe(shared, tmp_path):
    documents = load_documents(TrainConfig(dataset=str(shared / "texts/skeptics_eli5_schema.jsonl")))
    assert documents.text_column == "answers.text"
    assert len(documents) == 1066
    tokenizer = transformers.AutoTokenizer.from_pretrained(shared / "tokenizers/roberta")
    everything = range(len(documents))
    blocks = make_blocks(documents.batches(list(everything)), tokenizer, 128, tmp_path / "blocks.ids")
    with (shared / "texts/skeptics_eli5_schema.jsonl").open(encoding="utf-8") as lines:
        texts = [" ".join(json.loads(line)["answers"]["text"]).strip() for line in lines]
    expected = cut(plainly(texts, tokenizer), 128)
    assert rows(blocks) == expected
    assert blocks.words == sum(len(text.split()) for text in texts)


@pytest.mark.parametrize("algorithm", ["bpe", "wordpiece"])
def test_blocks_of_the_bundled_text_equal_the_plain_recipe(bundled, tiny_tokenizer, algorithm, tmp_path):
    tokenizer = tiny_tokenizer(algorithm)
    everything = list(range(len(bundled)))
    blocks = make_blocks(bundled.batches(everything), tokenizer, 64, tmp_path / "blocks.ids")
    flat = plainly(bundled.rows["text"], tokenizer)
    assert rows(blocks) == cut(flat, 64)
    assert blocks.tokens == len(flat)


def test_only_the_very_last_remainder_is_dropped_whatever_the_batches(bundled, tiny_tokenizer, tmp_path):
    tokenizer, chosen = tiny_tokenizer("bpe"), list(range(40))
    flat = plainly(bundled.rows["text"][:40], tokenizer)
    for size in (1, 7, 1000):
        blocks = make_blocks(bundled.batches(chosen, size), tokenizer, 50, tmp_path / f"{size}.ids", whole_words=True)
        assert blocks.ids.tolist() == flat[: len(flat) // 50 * 50]
        assert len(flat) - blocks.ids.size == len(flat) % 50
        if size == 1:
            starts = blocks.word_starts.copy()
        assert np.array_equal(blocks.word_starts, starts)


def test_documents_keep_the_order_they_are_asked_for(bundled, tiny_tokenizer, tmp_path):
    tokenizer = tiny_tokenizer("bpe")
    blocks = make_blocks(bundled.batches([5, 2, 9]), tokenizer, 8, tmp_path / "blocks.ids")
    texts = bundled.rows["text"]
    assert rows(blocks) == cut(plainly([texts[5], texts[2], texts[9]], tokenizer), 8)


def test_a_text_too_short_for_a_block_is_one_short_block(tiny_tokenizer, tmp_path):
    tokenizer = tiny_tokenizer("bpe")
    blocks = make_blocks([["The Sun is a star."]], tokenizer, 128, tmp_path / "blocks.ids", whole_words=True)
    assert rows(blocks) == [tokenizer("The Sun is a star.")["input_ids"]]
    assert blocks.word_starts.shape == blocks.ids.shape


def test_no_documents_give_no_blocks(tiny_tokenizer, tmp_path):
    assert len(make_blocks([], tiny_tokenizer("bpe"), 128, tmp_path / "blocks.ids", whole_words=True)) == 0


@pytest.mark.parametrize("algorithm", ["bpe", "wordpiece"])
def test_words_start_where_the_tokenizer_says_so_and_special_tokens_stand_alone(
    tiny_tokenizer, sample_text, algorithm, tmp_path
):
    tokenizer = tiny_tokenizer(algorithm)
    texts = sample_text.read_text(encoding="utf-8").split("\n\n")[:10]
    expected = []
    for text in texts:
        before = None
        for word in tokenizer(text).word_ids():
            expected.append(word is None or word != before)
            before = word
    blocks = make_blocks([texts[:4], texts[4:]], tokenizer, 16, tmp_path / "blocks.ids", whole_words=True)
    assert blocks.word_starts.tolist() == expected[: blocks.ids.size]
    assert 0.2 < blocks.word_starts.mean() < 0.9
    special = np.isin(blocks.ids, tokenizer.all_special_ids)
    assert special.any() and blocks.word_starts[special].all()


def test_take_gives_the_rows_asked_for(bundled, tiny_tokenizer, tmp_path):
    blocks = make_blocks(
        bundled.batches(list(range(9))), tiny_tokenizer("bpe"), 8, tmp_path / "blocks.ids", whole_words=True
    )
    ids, starts, attention_mask = blocks.take(torch.tensor([3, 0]))
    assert ids.dtype == torch.int64 and starts.dtype == torch.bool and attention_mask is None
    assert ids.tolist() == [rows(blocks)[3], rows(blocks)[0]]
    assert starts.tolist() == [blocks.word_starts[24:32].tolist(), blocks.word_starts[:8].tolist()]


@pytest.mark.parametrize("algorithm", ["bpe", "wordpiece"])
def test_line_by_line_a_document_is_a_block_cut_off_with_its_special_tokens_and_padded_to_the_longest(
    tiny_tokenizer, algorithm, tmp_path
):
    tokenizer = tiny_tokenizer(algorithm)
    texts = ["The Sun is a star.", "Why?", "Plants use sunlight, water and carbon dioxide to make sugar. " * 5, "Stars"]
    blocks = make_blocks(
        [texts[:1], texts[1:]], tokenizer, 16, tmp_path / "blocks.ids", whole_words=True, line_by_line=True
    )
    assert tokenizer.backend_tokenizer.truncation is None  # it would be saved with the model
    expected = [tokenizer(text, truncation=True, max_length=16)["input_ids"] for text in texts]
    assert rows(blocks) == expected
    assert (len(blocks), blocks.longest, blocks.truncated, blocks.tokens) == (4, 16, 1, sum(map(len, expected)))
    batch = tokenizer.pad({"input_ids": [expected[3], expected[0], expected[1]]}, return_tensors="pt")
    ids, starts, attention_mask = blocks.take(torch.tensor([3, 0, 1]))
    assert torch.equal(ids, batch["input_ids"]) and torch.equal(attention_mask, batch["attention_mask"])
    assert starts.shape == ids.shape and starts[:, 0].all()
    assert blocks.take(torch.tensor([2]))[2] is None


def test_line_by_line_a_document_of_which_nothing_is_left_is_no_block(tmp_path):
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=model, unk_token="[UNK]")
    blocks = make_blocks([["\u3000", "a a", "\u3000"]], tokenizer, 8, tmp_path / "blocks.ids", line_by_line=True)
    assert rows(blocks) == [[1, 1]]
    assert len(make_blocks([], tokenizer, 8, tmp_path / "none.ids", line_by_line=True)) == 0


def test_a_vocabulary_above_65536_keeps_its_ids(tmp_path):
    vocabulary = {"[UNK]": 0} | {f"w{number}": number for number in range(1, 70_000)}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=model, unk_token="[UNK]")
    blocks = make_blocks([["w1 w69999", "w65536 w65535"]], tokenizer, 2, tmp_path / "blocks.ids")
    assert rows(blocks) == [[1, 69_999], [65_536, 65_535]]


def test_blocks_are_mapped_from_disk_and_leave_no_drafts(bundled, tiny_tokenizer, tmp_path):
    blocks = make_blocks(bundled.batches(list(range(9))), tiny_tokenizer("bpe"), 8, tmp_path / "b" / "train.ids")
    assert isinstance(blocks.ids, np.memmap) and blocks.ids.dtype == np.uint16
    assert sorted(file.name for file in (tmp_path / "b").iterdir()) == ["train.bounds", "train.ids", "train.words"]


def lists(parts):
    return [part.tolist() for part in parts]


@pytest.mark.parametrize("test_size", [0.01, 0.2, 0.5, 0.9])
def test_every_document_is_learned_or_held_out_and_seed_decides_which(bundled, test_size):
    learned, held = lists(split_documents(bundled, test_size=test_size, seed=1))
    assert sorted(learned + held) == list(range(len(bundled)))
    assert learned == sorted(learned) and held == sorted(held)
    assert len(held) == max(1, round(len(bundled) * test_size))
    assert [learned, held] == lists(split_documents(bundled, test_size=test_size, seed=1))
    assert held != lists(split_documents(bundled, test_size=test_size, seed=2))[1]


@pytest.mark.parametrize(("count", "test_size", "sizes"), [(1, 0.2, (1, 0)), (2, 0.9, (1, 1)), (5, 0.0, (5, 0))])
def test_few_documents_leave_something_to_learn_from(count, test_size, sizes):
    few = load_documents(TrainConfig(max_documents=count))
    learned, held = split_documents(few, test_size=test_size, seed=42)
    assert (len(learned), len(held)) == sizes
