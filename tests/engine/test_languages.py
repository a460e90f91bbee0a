"""Korean and Japanese from the file to the answer."""

from __future__ import annotations

import shutil

import pytest
import transformers

from trainer.__main__ import main
from trainer.config import TrainConfig
from trainer.engine.loop import fit
from trainer.engine.preview import preview
from trainer.events import Evaluated
from trainer.inference.fill_mask import MaskFiller


@pytest.fixture(scope="module")
def speaking(shared, tmp_path_factory):
    """A tiny random RoBERTa with a real tokenizer: `speaking("klue-roberta")`."""

    def make(name):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            shared / "tokenizers" / name.removesuffix("-mislabelled")
        )
        config = transformers.RobertaConfig(
            vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            max_position_embeddings=130, pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.cls_token_id,
            eos_token_id=tokenizer.sep_token_id,
        )  # fmt: skip
        folder = tmp_path_factory.mktemp("models") / name
        transformers.RobertaForMaskedLM(config).save_pretrained(folder)
        for file in (shared / "tokenizers" / name).glob("tokenizer*"):
            shutil.copyfile(file, folder / file.name)
        return str(folder)

    return make


@pytest.mark.parametrize(
    ("tokenizer", "text", "script", "question"),
    [
        ("klue-roberta", "ko_nsmc_reviews.txt", "Korean", "이 영화는 정말 [MASK]."),
        ("roberta", "ja_aozora_terada.txt", "Japanese", "私は<mask>を見た。"),
    ],
)
def test_a_text_is_previewed_learned_and_asked(tokenizer, text, script, question, speaking, shared, tmp_path):
    path = tmp_path / text
    with (shared / "texts" / text).open(encoding="utf-8") as lines:
        path.write_text("".join(line for line in lines if line.strip())[:30_000], encoding="utf-8")
    config = TrainConfig(
        model=speaking(tokenizer), dataset=str(path), line_by_line=True, block_size=64, max_steps=30,
        learning_rate=1e-2, precision="float32", probe_text=question,
    )  # fmt: skip
    seen = preview(config)
    assert next(iter(seen.scripts)) == script and seen.unknown_share < 0.01
    assert not any("\ufffd" in token.text + token.seen for token in seen.block)
    assert not any("does not know" in warning for warning in seen.warnings)
    events = []
    fit(config, events.append, output_dir=tmp_path / "run")
    before, *_, after = (event.loss for event in events if isinstance(event, Evaluated))
    assert after < before - 0.5
    (mask,) = MaskFiller().fill(question, str(tmp_path / "run" / "model"), 5)
    assert len(mask.candidates) == 5 and question[0] in mask.candidates[0].sequence


def test_a_mislabelled_tokenizer_is_refused_before_any_training(speaking, shared, tmp_path, capsys):
    model, run = speaking("klue-roberta-mislabelled"), tmp_path / "run"
    text = str(shared / "texts" / "ko_kornlu.txt")
    code = main(["fit", "--model", model, "--dataset", text, "--max-documents", "99", "--output", str(run)])
    told = capsys.readouterr()
    assert code == 2 and "is mislabelled: its configuration names a class" in told.err
    assert "Training" not in told.out and not (run / "checkpoints").exists()
