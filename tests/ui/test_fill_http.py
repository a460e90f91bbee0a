"""Predictions over HTTP: the README's examples, every endpoint, and what strangers send."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[2]
SENTENCE = "The Milky Way is a <mask> galaxy."


@pytest.fixture(scope="module")
def client(session_app: Any) -> Any:
    return session_app.client()


def refusal(client: Any, *values: Any, api_name: str) -> str:
    with pytest.raises(Exception) as caught:  # the client's own class differs between its versions
        client.predict(*values, api_name=api_name)
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


def test_the_examples_of_the_readme_run(
    session_app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    over_http = (PROJECT / "README.md").read_text(encoding="utf-8").split("## Over HTTP")[1]
    code = over_http.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace("http://127.0.0.1:7860", session_app.url), "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "Sun" in printed and "Ice is frozen <mask>." in printed


def test_joint_answers_fill_every_mask(client: Any) -> None:
    ways = client.predict("The United <mask> of <mask>.", "bundled", 3, "left_to_right", 1, api_name="/fill_jointly")
    assert [len(way["words"]) for way in ways] == [2, 2, 2]
    assert ways[0]["log_probability"] >= ways[1]["log_probability"] >= ways[2]["log_probability"]
    assert all(word in ways[0]["sequence"] for word in ways[0]["words"])


def test_given_words_keep_their_order_and_share_what_they_have(client: Any) -> None:
    (words,) = client.predict(SENTENCE, ["spiral", "giant", "lenticular"], api_name="/rank_words")
    assert [word["word"] for word in words] == ["spiral", "giant", "lenticular"]
    assert sum(word["share"] for word in words) == pytest.approx(1.0)
    assert len(words[2]["pieces"]) > 1


def test_two_models_answer_the_same(client: Any) -> None:
    compared = client.predict(SENTENCE, "bundled", "bundled", 3, api_name="/compare_models")
    assert compared["model"] == compared["other"] and compared["same_tokens"] is True
    assert compared["model"]["masks"] == client.predict(SENTENCE, "bundled", 3, api_name="/fill_mask")


def test_surprisal_of_each_token_adds_up(client: Any) -> None:
    scored = client.predict("The Earth orbits the Sun.", api_name="/score_sentence")
    assert sum(token["nats"] for token in scored["tokens"]) == pytest.approx(scored["nats"])
    assert scored["pseudo_perplexity"] > 1


def test_no_file_is_read_that_was_not_uploaded(session_app: Any, client: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("The password is <mask> swordfish.\n")
    for sent in (str(secret), {"path": str(secret)}, {"path": f"{secret}\0"}, {"path": 5}, None, [str(secret)]):
        assert "There is no uploaded file." in refusal(client, sent, "bundled", 1, api_name="/fill_file")
    # As Gradio's own client writes it, but without the upload
    named = {"path": str(secret), "meta": {"_type": "gradio.FileData"}, "orig_name": "secret.txt"}
    body = json.dumps({"data": [named, "bundled", 1]}).encode()
    calls = f"{session_app.url}gradio_api/call/fill_file"
    request = urllib.request.Request(calls, body, {"Content-Type": "application/json"})
    event = json.load(urllib.request.urlopen(request))["event_id"]
    said = urllib.request.urlopen(f"{calls}/{event}").read().decode()
    assert "event: error" in said and "swordfish" not in said


def test_an_address_in_a_files_place_is_not_fetched(client: Any) -> None:
    there = {"path": "https://example.com/large.txt", "meta": {"_type": "gradio.FileData"}}
    assert "no address is fetched" in refusal(client, there, "bundled", 1, api_name="/fill_file")


@pytest.mark.parametrize("top_k", [0, -1, 10**9, 2.5, "five", None, [5], True])
@pytest.mark.parametrize("api_name", ["/fill_mask", "/fill_jointly"])
def test_a_number_that_makes_no_sense_gets_a_sentence(client: Any, api_name: str, top_k: Any) -> None:
    assert "it must be a whole number from 1 to 100" in refusal(client, SENTENCE, "bundled", top_k, api_name=api_name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x" * 10_000_000 + " <mask>", "at most 50,000 are read"),
        ("<mask> " * 7_000, "at most 20 are filled"),
        ("<mask>" * 10_000, "at most"),
        (None, "it must be text"),
        (["<mask>"], "it must be text"),
        ({"a": 1}, "it must be text"),
        ("", "There is no <mask>"),
    ],
)
@pytest.mark.parametrize("api_name", ["/fill_mask", "/fill_jointly"])
def test_a_text_that_cannot_be_read_gets_a_sentence(client: Any, api_name: str, text: Any, said: str) -> None:
    assert said in refusal(client, text, "bundled", api_name=api_name)


@pytest.mark.parametrize(
    "text",
    [
        "\x00\x07\x1b[31m <mask>",
        "\u202e\u200f <mask> \u2066",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 <mask> \U0001f3f3\ufe0f\u200d\U0001f308",
        "<b>**<mask>**</b> &lt;`${1}`",
        "العربية <mask>",
    ],
)
def test_any_characters_get_an_answer(client: Any, text: str) -> None:
    (mask,) = client.predict(text, "bundled", 2, api_name="/fill_mask")
    assert len(mask) == 2
    assert client.predict(text, api_name="/score_sentence")["count"] > 0


@pytest.mark.parametrize("words", [[], None, "", [5], ["x" * 1_000], ["a"] * 1_000])
def test_words_that_are_none_get_a_sentence(client: Any, words: Any) -> None:
    said = refusal(client, SENTENCE, words, api_name="/rank_words")
    assert any(part in said for part in ("no words", "is no word", "at most 100"))
