"""What a stranger's tokenizer may do, and the sentence that refuses it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import struct

import pytest
import tokenizers
import transformers

from tests.engine.refusals import edit, refusal
from trainer.engine.loop import fit, never
from trainer.engine.model import load_model
from trainer.engine.tokenizer import check_tokenizer
from trainer.errors import ModelError
from trainer.events import Failed


def test_a_tokenizer_without_a_mask_is_refused(copied, answers):
    folder = copied()
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(answers, vocab_size=600, special_tokens=["<|endoftext|>"], show_progress=False)
    trained.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert "has no mask token, so there is nothing to fill" in refusal(folder)


@pytest.mark.parametrize("gone", [("tokenizer.json", "tokenizer_config.json"), ("tokenizer.json",)])
def test_a_folder_without_a_vocabulary_is_refused(gone, copied, nothing_is_opened):
    folder = copied()
    for name in gone:
        (folder / name).unlink()
    assert "tokenizer" in refusal(folder) and "missing" in refusal(folder)


def test_a_vocabulary_of_nothing_but_special_tokens_is_refused(tokenized):
    folder = tokenized()
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    specials = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    edit(folder / "tokenizer.json", model=tokenizer["model"] | {"vocab": specials, "merges": []})
    assert "is missing; its folder has no files of one" in refusal(folder)


def test_a_tokenizer_larger_than_the_embedding_is_refused(copied):
    folder = copied()
    larger = transformers.AutoTokenizer.from_pretrained(folder)
    larger.add_tokens(["anentirelynewword"])
    larger.save_pretrained(folder)
    assert "has 601 entries, its model only 600" in refusal(folder)


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "vocab.txt", "merges.txt"])
def test_a_tokenizer_file_of_more_than_32_mib_is_refused(file, copied, nothing_is_opened):
    folder = copied()
    (folder / file).touch()
    os.truncate(folder / file, 40_000_000)
    assert f"{file} of 'roberta' has 40.0 MB; at most 33.6 MB are read" in refusal(folder)


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "added_tokens.json"])
@pytest.mark.parametrize("content", ["", "{", "5", "[" * 100_000, '{"a": "\udcff"}'])
def test_a_damaged_tokenizer_file_is_refused(file, content, copied):
    folder = copied()
    (folder / file).write_text(content, errors="surrogateescape")
    assert f"{file} of 'roberta' is damaged" in refusal(folder)


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json", "added_tokens.json"])
def test_300_000_added_tokens_are_refused(file, copied, nothing_is_opened):
    folder = copied()
    if file == "tokenizer.json":
        added = json.loads((folder / file).read_text())["added_tokens"]
        edit(folder / file, added_tokens=[added[0] | {"id": n, "content": f"w{n}"} for n in range(100_000)])
    elif file == "tokenizer_config.json":
        edit(folder / file, added_tokens_decoder={str(n): {"content": f"w{n}"} for n in range(300_000)})
    else:
        edit(folder / file, **{f"w{n}": n for n in range(300_000)})
    assert "00,000 tokens to its vocabulary; at most 20,000 are read" in refusal(folder)


@pytest.mark.parametrize("step", [{}, {"pattern": 5, "content": "a"}, {"pattern": {"String": "a"}, "content": 5}])
def test_a_damaged_normalizer_is_refused(step, tokenized):
    assert "tokenizer.json of 'roberta' is damaged" in refusal(tokenized(normalizer={"type": "Replace"} | step))


TENFOLD = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}


def charsmap(character, content):
    """Normalization rules as SentencePiece stores them (a Darts double array), with one rule."""
    label = ord(character)
    units = [0] * 512
    units[0] = 256 << 10  # the root's children lie at 256 ^ label
    units[256 ^ label] = label | 1 << 8 | 1 << 10  # this one has a leaf, one further
    units[256 ^ label ^ 1] = 1 << 31  # the leaf: its replacement begins at 0
    return base64.b64encode(struct.pack("<I512I", 2048, *units) + content.encode() + b"\0").decode()


@pytest.mark.parametrize("place", ["normalizer", "decoder"])
@pytest.mark.parametrize(
    "steps",
    [
        [TENFOLD] * 12,
        [{"type": "Sequence", "normalizers": [TENFOLD] * 2, "decoders": [TENFOLD] * 2}] * 6,
        [TENFOLD | {"pattern": {"Regex": "a*"}}] * 4,
        [TENFOLD | {"content": "a" * 1_000_000}],
        [{"type": "Prepend", "prepend": "a" * 1_000_000}],
        [{"type": "ByteLevel"}] * 40,
        [{"type": "Precompiled", "precompiled_charsmap": charsmap("a", "a" * 10)}] * 12,
        [{"type": "Precompiled", "precompiled_charsmap": charsmap("a", "a" * 1_000_000)}],
    ],
    ids=[
        "12 replacements",
        "nested",
        "expressions",
        "one long",
        "prefix",
        "bytes of bytes",
        "12 rules",
        "one long rule",
    ],
)
def test_steps_that_blow_a_text_up_are_refused(steps, place, tokenized, nothing_is_opened):
    chain = {"type": "Sequence", f"{place}s": steps}
    assert "times longer, which would fill the memory" in refusal(tokenized(**{place: chain}))


@pytest.mark.parametrize(
    "steps",
    [
        [{"type": "Replace", "pattern": {"String": "``"}, "content": '"'}, {"type": "NFKD"}, {"type": "StripAccents"},
         {"type": "Lowercase"}, {"type": "Precompiled", "precompiled_charsmap": charsmap("\x01", "an honest eighteen")},
         {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}],
        [{"type": "NFC"}],
        [{"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
          "lowercase": True}],
    ],
    ids=["ALBERT", "ModernBERT", "BERT"],
)  # fmt: skip
def test_the_normalizers_of_real_models_pass(steps, tokenized):
    folder = tokenized(normalizer={"type": "Sequence", "normalizers": steps})
    assert load_model(str(folder)).encode("The <mask> orbits the Sun.")


def test_a_tokenizer_that_puts_thousands_of_tokens_around_a_text_is_refused(tokenized):
    begin, text = {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    special = {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}
    crowd = {"type": "TemplateProcessing", "single": [begin] * 5000 + [text], "pair": [text], "special_tokens": special}
    assert "puts 5,000 special tokens around a text" in refusal(tokenized(post_processor=crowd))


def test_a_text_on_which_the_tokenizer_panics_is_a_sentence(tokenized):
    evil = {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "b"}
    model = load_model(str(tokenized(normalizer=evil)))
    with pytest.raises(ModelError, match="The model failed on this text: PanicException"):
        model.encode("<mask> " + "a" * 40 + "!")
    assert model.encode("<mask> of the Earth")


def test_a_run_whose_tokenizer_panics_ends_in_a_sentence(tokenized, tiny_config, tmp_path, collected):
    evil = {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "b"}
    text = tmp_path / "text.txt"
    text.write_text("Water is wet.\n" * 20 + "a" * 40 + "!\n")
    with pytest.raises(ModelError):
        config = tiny_config(model=str(tokenized(normalizer=evil)), dataset=str(text))
        fit(config, collected.append, never, tmp_path / "run")
    assert isinstance(collected[-1], Failed) and collected[-1].fix
    assert "The model failed on the text: PanicException" in collected[-1].what


def test_a_tokenizer_that_panics_when_it_is_opened_is_a_sentence(tokenized):
    evil = {"type": "Replace", "pattern": {"Regex": r"([\w\s.]+)+$"}, "content": "b"}
    said = refusal(tokenized(normalizer=evil))
    assert "can't be opened: PanicException" in said


def test_a_mislabelled_tokenizer_is_refused(shared, copied):
    folder = copied(vocab_size=32_000)
    config = transformers.RobertaConfig(
        vocab_size=32_000, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    transformers.RobertaForMaskedLM(config).save_pretrained(folder)
    for source, refused in (("klue-roberta-mislabelled", True), ("klue-roberta", False)):
        for file in (shared / "tokenizers" / source).glob("tokenizer*"):
            shutil.copyfile(file, folder / file.name)
        if refused:
            assert "is mislabelled" in refusal(folder)
        else:
            assert load_model(str(folder)).tokenizer.mask_token == "[MASK]"


@pytest.mark.parametrize("name", ["roberta", "bert-base-uncased", "klue-roberta"])
def test_real_tokenizers_pass_the_check(name, shared):
    folder = shared / "tokenizers" / name
    check_tokenizer(transformers.AutoTokenizer.from_pretrained(folder), 60_000, name, folder)
