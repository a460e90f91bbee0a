"""The preview tells the truth: figures of the run, a block as it is masked, and what should give one pause."""

from __future__ import annotations

import json
import random

import pytest
import transformers

from trainer.config import TrainConfig
from trainer.engine import trial
from trainer.engine.blocks import make_blocks
from trainer.engine.masking import Masking, shuffled
from trainer.engine.preparation import prepare
from trainer.engine.preview import preview
from trainer.engine.scripts import scripts_of
from trainer.engine.shown_block import first_block
from trainer.errors import ModelError
from trainer.previews import Preview


@pytest.fixture(autouse=True)
def quick_trial(monkeypatch):
    monkeypatch.setattr(trial, "SECONDS", 0.0)


@pytest.fixture
def settings(tiny_model):
    return {"model": str(tiny_model("roberta")), "block_size": 32, "num_train_epochs": 1.0}


def test_figures_are_those_of_the_run_and_survive_json(settings, sample_text, tmp_path):
    config = TrainConfig(dataset=str(sample_text), **settings)
    seen = preview(config)
    assert seen.plan == prepare(config, lambda event: None, tmp_path).plan
    assert seen.share == 1.0 and len(seen.first_documents) == 3 and seen.estimate.seconds > 0
    assert Preview.from_json(seen.to_json()) == seen
    assert json.loads(seen.to_json())["documents"] == 60
    assert "60 documents" in seen.in_words() and "<mask>" in seen.in_words()


def test_figures_of_a_sample_are_scaled_to_the_whole(settings, tmp_path, monkeypatch):
    lines = [f"Sentence {random.Random(number).getrandbits(60)} about water and ice." for number in range(3000)]
    (tmp_path / "a.txt").write_text("\n".join(lines) + "\n")
    config = TrainConfig(dataset=str(tmp_path / "a.txt"), **settings)
    whole = preview(config).plan
    monkeypatch.setattr("trainer.engine.preview.SAMPLE_BYTES", 30_000)
    part = preview(config)
    assert 0 < part.share < 0.6
    assert part.plan.documents == pytest.approx(3000, rel=0.05)
    assert part.plan.steps == pytest.approx(whole.steps, rel=0.1)
    assert part.plan.held_out_documents == pytest.approx(600, rel=0.1)


def test_the_block_is_the_one_that_is_learned_from_first_with_its_masks(tiny_tokenizer, answers, tmp_path):
    tokenizer = tiny_tokenizer("bpe")
    blocks = make_blocks([answers[:50]], tokenizer, 64, tmp_path / "a.ids")
    special = tuple(tokenizer.all_special_ids)
    masking = Masking(7, 0.3, tokenizer.mask_token_id, special, len(tokenizer))
    shown = first_block(blocks, masking, tokenizer)
    number = shuffled(len(blocks), seed=7, epoch=0)[:1]
    ids, *_ = blocks.take(number)
    batch = masking(ids, number, epoch=0)
    assert sum(token.tokens for token in shown) == 64
    assert "".join(token.text for token in shown) == tokenizer.decode(ids[0].tolist())
    if all(token.tokens == 1 for token in shown):
        assert [i for i, token in enumerate(shown) if token.fate] == batch.positions.tolist()
        hidden = [i for i, token in enumerate(shown) if token.fate == "hidden"]
        assert hidden == (batch.input_ids[0] == tokenizer.mask_token_id).nonzero().squeeze(1).tolist()


@pytest.mark.parametrize("name", ["roberta", "klue-roberta", "bert-base-uncased"])
def test_no_character_of_korean_or_japanese_is_cut_in_half(shared, name, tmp_path):
    texts = ["물이 끓는다. 한국어 문장입니다. 빛은 빠르다. " * 3, "水は百度で沸騰する。鬱蒼とした森。🙂 " * 3]
    texts += [(shared / "texts" / text).read_text("utf-8")[:3000] for text in ("ko_kornlu.txt", "ja_aozora_terada.txt")]
    tokenizer = transformers.AutoTokenizer.from_pretrained(shared / "tokenizers" / name)
    for size in (400, 31):  # short blocks begin and end within characters
        blocks = make_blocks([texts], tokenizer, size, tmp_path / f"{size}.ids")
        for seed in range(1, 9):
            masking = Masking(seed, 0.15, tokenizer.mask_token_id, tuple(tokenizer.all_special_ids), len(tokenizer))
            shown = first_block(blocks, masking, tokenizer)
            assert not any("\ufffd" in token.text + token.seen for token in shown)
            ids, *_ = blocks.take(shuffled(len(blocks), seed=seed, epoch=0)[:1])
            assert min(160, size) <= sum(token.tokens for token in shown) <= size
            whole = tokenizer.decode(ids[0].tolist(), clean_up_tokenization_spaces=False).replace("\ufffd", "")
            joined = "".join(token.text for token in shown).replace("(part of a character)", "")
            assert whole.startswith(joined) and (size == 400 or len(joined) == len(whole))
    if name == "roberta":
        assert any(token.tokens > 1 for token in shown)


WARNED = {
    "few": ("Water boils and ice melts.\n" * 2, "Very little text is held out"),
    "short": ("".join(f"no {number}\n" for number in range(500)), "fewer than 10 tokens"),
    "markup": ("<p>Water <b>boils</b> at</p><br/>\n" * 50, "looks like markup"),
    "spelled": (
        "물은 끓고 얼음은 녹는다고 한다.\n" * 50,
        "reads it byte by byte. Choose a model for this language",
    ),
    "duplicates": ("Water boils and ice melts in the warm spring.\n" * 40 + "Other text.\n", "repeat others"),
}


@pytest.mark.parametrize("case", WARNED)
def test_what_should_give_one_pause_is_said(case, settings, tmp_path):
    text, said = WARNED[case]
    (tmp_path / "a.txt").write_text(text)
    assert any(
        said in warning for warning in preview(TrainConfig(dataset=str(tmp_path / "a.txt"), **settings)).warnings
    )


def test_a_model_that_needs_more_memory_than_there_is_is_named(settings, sample_text, monkeypatch):
    monkeypatch.setattr("trainer.engine.hardware.memory_bytes", lambda device: 100_000)
    seen = preview(TrainConfig(dataset=str(sample_text), **settings))
    assert seen.estimate is None and any("Take smaller batches" in warning for warning in seen.warnings)


def test_a_tokenizer_of_another_language_is_warned_of_and_then_refused(tiny_model, tmp_path, answers):
    config = TrainConfig(model=str(tiny_model("bert")), block_size=32, dataset=str(tmp_path / "a.txt"))
    (tmp_path / "a.txt").write_text("\n".join([*(answer[:300] for answer in answers[:30]), "水 沸 騰 森 鬱 蒼 " * 9]))
    told = []
    prepare(config, told.append, tmp_path / "run")
    assert any("does not know" in getattr(event, "message", "") for event in told)
    (tmp_path / "a.txt").write_text("水 沸 騰 森 鬱 蒼\n" * 90)
    with pytest.raises(ModelError, match=r"does not know \d+% of this text.*xlm-roberta"):
        prepare(config, told.append, tmp_path / "run")


def test_scripts_are_named(shared):
    def of(name):
        return next(iter(scripts_of((shared / "texts" / name).read_text("utf-8")[:20_000].splitlines())))

    assert (of("ko_kornlu.txt"), of("ja_aozora_terada.txt")) == ("Korean", "Japanese")
    assert list(scripts_of(["这是中文", "Вода", "Water water water"])) == ["Latin", "Chinese characters", "Cyrillic"]
    assert scripts_of(["123 !"]) == {}
