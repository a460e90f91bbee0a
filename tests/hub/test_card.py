"""The model card: valid for the Hub, true to the run, and free of this machine."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from PIL import Image

from trainer.hub.card import licence_of, model_card
from trainer.hub.curves import draw_curves
from trainer.hub.trained import read_run


@pytest.fixture
def card_of(trained_run: Callable[..., Path]) -> Callable[..., ModelCard]:
    def make(kind: str = "roberta", licence: str | None = "apache-2.0", **settings: Any) -> ModelCard:
        return ModelCard(model_card(read_run(trained_run(kind, **settings)), "alice/otter", licence))

    return make


def test_card_of_a_run_on_the_tutorials_model_and_data_has_all_metadata(card_of: Any) -> None:
    data = card_of(model="distilbert/distilroberta-base", dataset="dany0407/eli5_category").data
    assert data.base_model == "distilbert/distilroberta-base" and data.datasets == ["dany0407/eli5_category"]
    assert (data.pipeline_tag, data.library_name, data.license, data.language) == (
        "fill-mask", "transformers", "apache-2.0", "en",
    )  # fmt: skip
    widget = [example["text"] for example in data.get("widget")]
    assert widget[0] == "The Milky Way is a <mask> galaxy." and len(widget) == len(set(widget)) > 3
    assert all("<mask>" in text for text in widget)
    assert data.model_name == "otter"
    results = {result.metric_type: result for result in data.eval_results}
    assert (results["perplexity"].metric_value, results["loss"].metric_value) == (148.41, 5.0)
    assert results["accuracy"].metric_value == 0.25 and results["loss"].dataset_type == "dany0407/eli5_category"


def test_the_hubs_own_check_takes_the_card(card_of: Any, hub: Any) -> None:
    card_of().validate()
    assert hub.requests == ["validate"]
    with pytest.raises(ValueError):
        ModelCard("no metadata at all").validate()


def test_every_evaluation_has_its_line_and_the_one_before_training_too(card_of: Any) -> None:
    text = card_of().text
    assert "| 0 | 0.00 | 6.4000 | 601.85 | 25.0% | before training |" in text
    assert "| 4 | 1.00 | 5.0000 | 148.41 | 25.0% | **this model** |" in text
    assert "| 8 | 2.00 | 5.5000 | 244.69 | 25.0% |  |" in text
    assert "perplexity went from 601.85 to **148.41**" in text


def test_device_time_versions_and_settings_are_told(card_of: Any) -> None:
    text = card_of(learning_rate=3e-4).text
    for fact in ("AMD EPYC (float32)", "| time | 12 s |", "| version of torch | 2.13.0 |", "123,456 weights",
                 "| `learning_rate` | 0.0003 |", "| `seed` | 7 |", "60 documents, 2,345 words"):  # fmt: skip
        assert fact in text


def test_the_example_shows_what_the_model_that_was_kept_said(card_of: Any) -> None:
    text = card_of().text
    assert 'pipeline("fill-mask", model="alice/otter")' in text
    assert "0.500 ' spiral'" in text and "small" not in text


def test_the_mask_is_spelled_as_the_model_reads_it(card_of: Any) -> None:
    card = card_of("bert")
    widget = [example["text"] for example in card.data.get("widget")]
    assert widget[0] == "The Milky Way is a [MASK] galaxy." and all("[MASK]" in text for text in widget)
    assert 'fill("The Milky Way is a [MASK] galaxy.")' in card.text and "<mask>" not in card.text


def test_the_code_of_the_card_is_python(card_of: Any) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", card_of(probe_text='A "quoted" <mask>\\ \n line.').text, re.DOTALL)
    compile(code, "card", "exec")


@pytest.mark.parametrize("probe", ["A <mask> galaxy.", "A <mask> of <mask>."])
def test_the_code_of_the_card_runs_with_one_mask_and_with_several(
    probe: str, trained_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained_run(probe_text=probe)
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [line for line in lines if "probed" not in line]  # else the card would show what was asked then
    (folder / "events.jsonl").write_text("\n".join(asked) + "\n", encoding="utf-8")
    text = model_card(read_run(folder), str(folder / "model"), None)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(code, "card", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 5


@pytest.mark.parametrize("source", ["/data/someone/secret/notes.txt", "../secret/notes.txt", "secret/notes.txt"])
def test_no_path_of_this_machine_is_told(source: str, card_of: Any, tmp_path: Path) -> None:
    card = card_of(dataset=source, model=str(tmp_path / "20260101-110000-calm-owl" / "model"))
    assert "secret" not in card.content and str(tmp_path) not in card.content and "someone" not in card.content
    assert card.data.base_model is None and card.data.datasets is None
    assert "calm-owl" in card.text


def test_a_run_that_measured_nothing_says_so(trained_run: Any) -> None:
    folder = trained_run()
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "events.jsonl").write_text(
        "\n".join(li for li in lines if "evaluated" not in li) + "\n", encoding="utf-8"
    )
    run = read_run(folder)
    card = ModelCard(model_card(run, "alice/otter", None))
    assert "has not been measured" in card.text and card.data.eval_results is None and card.data.license is None
    assert draw_curves(run)


def test_the_picture_shows_two_curves_and_can_be_opened(trained_run: Any) -> None:
    image = Image.open(io.BytesIO(draw_curves(read_run(trained_run()))))
    image.load()
    assert image.format == "PNG" and image.size == (960, 340)
    colors = {color for _, color in image.convert("P", palette=Image.Palette.ADAPTIVE).convert("RGB").getcolors() or ()}
    assert any(red > 200 and blue < 90 for red, _, blue in colors)  # the held-out curve


def test_licence_follows_the_model_trained_from() -> None:
    assert licence_of("bundled") == "cc-by-sa-4.0" and licence_of("distilbert/distilroberta-base") == "apache-2.0"
    assert licence_of("somebody/something") is None
