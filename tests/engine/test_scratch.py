"""A tokenizer and a model from nothing."""

from __future__ import annotations

import shutil

import pytest
import torch
import transformers

from trainer.engine.loop import fit
from trainer.engine.model import load_model
from trainer.engine.scratch import new_model, shape_of, train_tokenizer
from trainer.events import Evaluated, PhaseChanged, Planned


@pytest.fixture
def trained(tiny_config, tmp_path, collected):
    """The model folder of a short run from scratch."""
    config = tiny_config(from_scratch="64x2x2x600", max_steps=20, learning_rate=5e-3, probe_text="The <mask>.")
    fit(config, collected.append, output_dir=tmp_path / "run")
    return tmp_path / "run/model"


def test_tokenizer_and_model_are_made_in_the_shape_asked_for_and_learn(trained, collected):
    (plan,) = (event for event in collected if isinstance(event, Planned))
    assert plan.architecture == "ModernBertForMaskedLM" and plan.masked_positions_only
    phases = [event.phase for event in collected if isinstance(event, PhaseChanged)]
    assert "Training the tokenizer" in phases and "Loading the model" not in phases
    losses = [event.loss for event in collected if isinstance(event, Evaluated)]
    assert losses[-1] < losses[0]
    config = transformers.AutoConfig.from_pretrained(trained)
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (64, 2, 2)
    assert config.vocab_size == len(transformers.AutoTokenizer.from_pretrained(trained)) == 600


def test_what_a_run_that_broke_off_left_is_no_part_of_a_new_one(tiny_config, tmp_path, trained):
    shutil.copytree(trained, tmp_path / "new" / "tokenizer")
    config = tiny_config(from_scratch="64x2x2x400", max_steps=1)
    (tmp_path / "new" / "config.json").write_text(config.to_json())
    fit(config, output_dir=tmp_path / "new")
    assert len(transformers.AutoTokenizer.from_pretrained(tmp_path / "new/model")) == 400


def test_a_new_model_is_saved_without_a_progress_bar(trained, capfd):
    assert capfd.readouterr().err == ""


def test_mask_takes_the_space_before_it_into_itself_after_a_reload(trained):
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained)
    with_space = tokenizer("The <mask> galaxy")["input_ids"]
    assert with_space == tokenizer("The<mask> galaxy")["input_ids"]
    before = with_space[: with_space.index(tokenizer.mask_token_id)]
    assert tokenizer.decode(before, skip_special_tokens=True) == "The"
    assert tokenizer.tokenize(" galaxy") == tokenizer.tokenize("<mask> galaxy")[1:]


def test_special_tokens_stand_where_robertas_do(trained):
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained)
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    assert tokenizer.convert_tokens_to_ids(names) == [0, 1, 2, 3, 4]
    ids = tokenizer("Light")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id
    config = transformers.AutoConfig.from_pretrained(trained)
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (1, 0, 2)


def test_any_text_survives_the_tokenizer(trained):
    tokenizer = load_model(str(trained)).tokenizer
    for text in ("The Milky Way is a galaxy.", "Größe 5 µm, 水が沸く 🙂", " two  spaces"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_the_saved_model_works_in_the_fill_mask_pipeline(trained):
    pipeline = transformers.pipeline("fill-mask", model=str(trained), device="cpu")
    answers = pipeline("The Milky Way is a <mask> galaxy.", top_k=3)
    assert len(answers) == 3
    ours = load_model(str(trained))
    probabilities = ours.probabilities(ours.encode("The Milky Way is a <mask> galaxy."))[0]
    assert [answer["token"] for answer in answers] == probabilities.topk(3).indices.tolist()
    assert [answer["score"] for answer in answers] == pytest.approx(probabilities.topk(3).values.tolist(), rel=1e-4)


def test_seed_decides_the_new_weights(tiny_tokenizer):
    def weights(seed):
        torch.manual_seed(seed)
        return new_model(tiny_tokenizer("bpe"), (32, 1, 2, 600), precision="float32").model.decoder.weight

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


def test_the_same_text_gives_the_same_tokenizer(answers):
    one, other = (train_tokenizer([answers[:50]], 400) for _ in range(2))
    assert one.get_vocab() == other.get_vocab()
    assert one(answers[60])["input_ids"] == other(answers[60])["input_ids"]


def test_shapes_are_read_as_width_layers_heads_and_vocabulary():
    assert shape_of("256x4x8x8192") == (256, 4, 8, 8192)
    assert len(shape_of("mini")) == 4
