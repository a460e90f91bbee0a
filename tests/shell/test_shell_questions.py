"""`preview`, `evaluate`, `predict` and `score`: what they answer, and that they leave nothing behind."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.shell.answers import Shell, assert_refused, made


def test_preview_tells_the_plan_and_leaves_nothing_behind(settings: list[str], shell: Shell, tmp_path: Path) -> None:
    before = made(tmp_path)
    plan = shell("preview", *settings, "--json").json
    assert plan["documents"] == 60 and plan["block_size"] == 32 and plan["steps"] == 3
    assert plan["train_blocks"] > plan["held_out_blocks"] > 0 and plan["architecture"] == "RobertaForMaskedLM"
    words = shell("preview", *settings).out
    assert words.startswith(f"60 documents, {plan['words']:,} words, {plan['tokens']:,} tokens: ")
    assert made(tmp_path) == before


def test_preview_of_nothing_named_is_that_of_the_bundled_text_and_model(shell: Shell) -> None:
    plan = shell("preview", "--json").json
    assert plan["text_column"] == "answers.text" and plan["documents"] >= 300


def test_evaluate_tells_loss_perplexity_accuracy_and_masked_tokens(
    settings: list[str], shell: Shell, tmp_path: Path
) -> None:
    run = tmp_path / "run.json"
    run.write_text(json.dumps({"test_size": 0.2, "validation_split": None}))
    before = made(tmp_path)
    score = shell("evaluate", *settings, "--json").json
    assert list(score) == ["loss", "perplexity", "accuracy", "masked_tokens"]
    assert score["perplexity"] == pytest.approx(math.exp(score["loss"]))
    assert score["loss"] == pytest.approx(math.log(600), abs=0.3)  # a random model guesses among 600 tokens
    assert 0 <= score["accuracy"] <= 1 and score["masked_tokens"] > 100
    assert shell("evaluate", *settings, "--json").json == score
    held_out = shell("evaluate", *settings, "--json", "--test-size", "0.2").json
    assert held_out["masked_tokens"] < score["masked_tokens"] / 2
    assert shell("evaluate", "--config", str(run), *settings, "--json").json == held_out
    given = shell("evaluate", *settings, "--json", "--validation-split", "train[:20%]").json
    assert given["masked_tokens"] < score["masked_tokens"] / 2
    assert "loss 6." in shell("evaluate", *settings).out
    assert made(tmp_path) == before


def test_evaluate_hides_15_percent_whichever_share_a_model_learns_best_by(shell: Shell, sample_text: Path) -> None:
    words = ("evaluate", "--model", "bundled", "--dataset", str(sample_text), "--json")
    assert shell(*words).json == shell(*words, "--mlm-probability", "0.15").json


def test_evaluate_refuses_a_text_in_which_nothing_is_masked(shell: Shell, here: Path) -> None:
    (here / "short.txt").write_text("Hi.\n", encoding="utf-8")
    arguments = ("evaluate", "--dataset", "short.txt", "--mlm-probability", "0.01", "--json")
    assert_refused(shell(*arguments), "The text is too short")


def test_predict_gives_a_list_for_every_mask(tiny_model: Callable[[str], Path], shell: Shell) -> None:
    model = str(tiny_model("roberta"))
    (single,) = shell("predict", "A <mask>.", "--model", model, "--json").json
    assert len(single) == 5
    assert all(list(candidate) == ["score", "token", "token_str", "sequence"] for candidate in single)
    both = shell("predict", "A <mask> and a [MASK].", "--model", model, "--top-k", "3", "--json").json
    assert [len(candidates) for candidates in both] == [3, 3]


def test_predict_without_a_model_asks_the_bundled_one(shell: Shell) -> None:
    (candidates,) = shell("predict", "The Milky Way is a <mask> galaxy.", "--json").json
    assert all(c["sequence"] == f"The Milky Way is a{c['token_str']} galaxy." for c in candidates)


def test_predict_scores_targets_in_the_order_given(tiny_model: Callable[[str], Path], shell: Shell) -> None:
    arguments = ("predict", "A <mask>.", "--model", str(tiny_model("roberta")), "--json", "--targets")
    (candidates,) = shell(*arguments, "of, the,and").json
    assert [candidate["token_str"] for candidate in candidates] == [" of", " the", " and"]
    assert all(list(one) == ["score", "token", "token_str", "sequence"] for one in candidates)
    (candidates,) = shell(*arguments, "the,unforeseeable").json
    assert isinstance(candidates[0]["token"], int) and len(candidates[1]["token"]) > 3
    assert candidates[1]["token_str"] == "unforeseeable" and 0 < candidates[1]["score"] < candidates[0]["score"]
    assert candidates[1]["sequence"].split() == ["A", "unforeseeable."]
    assert_refused(shell(*arguments, "the,</s>"), "'</s>'")


def test_predict_fills_all_masks_together_when_asked(shell: Shell) -> None:
    arguments = ("predict", "The ___ orbits the ___.", "--joint", "--top-k", "3")
    fillings = shell(*arguments, "--json").json
    assert [list(one) for one in fillings] == [["words", "log_probability", "pieces", "sequence"]] * 3
    assert fillings[0]["sequence"] == "The {} orbits the {}.".format(*fillings[0]["words"])
    lines = shell(*arguments).out.splitlines()
    assert len(lines) == 3 and all("orbits" in line for line in lines)


def test_score_tells_the_surprisal_of_every_token(shell: Shell) -> None:
    scored = shell("score", "Water boils.", "--json").json
    assert [token["text"] for token in scored["tokens"]][-1] == "." and scored["windows"] == 1
    assert scored["pseudo_perplexity"] == pytest.approx(math.exp(scored["nats"] / scored["count"]))
    lines = shell("score", "Water boils.").out.splitlines()
    assert len(lines) == len(scored["tokens"]) + 1 and "pseudo-perplexity" in lines[-1]
    assert_refused(shell("score", "___", "--json"), "no word in the text")


def test_predict_without_json_prints_a_line_for_every_candidate(shell: Shell) -> None:
    lines = shell("predict", "A <mask>.", "--top-k", "2").out.splitlines()
    assert len(lines) == 2 and all("%" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("No gap here.",), "There is no <mask> in the text."),
        (("A <mask>.", "--top-k", "0"), "top_k is 0.0; it must be a whole number from 1 to 100."),
        (("A <mask>.", "--top-k", "2.5"), "top_k is 2.5; it must be"),
        (("A <mask>.", "--top-k", "nan"), "top_k is nan; it must be"),
        (("A <mask>.", "--top-k", "five"), "argument --top-k: invalid float value: 'five'"),
        (("A <mask>.", "--model", "nobody/nothing"), "'nobody/nothing'"),
        (("A <mask> \udcff.",), "half a character"),
        ((), "required: TEXT"),
        (("A <mask>.", "--joint", "--targets", "a"), "not allowed with argument --joint"),
    ],
    ids=["no mask", "top_k 0", "top_k 2.5", "top_k nan", "top_k five", "model", "bytes", "no text", "both"],
)
def test_predict_refuses_what_cannot_be_answered(arguments: tuple[str, ...], expected: str, shell: Shell) -> None:
    assert_refused(shell("predict", *arguments, "--json"), expected)
