"""The HTTP interface, through the client that others use."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow

QUICK = {"max_steps": 2, "max_documents": 20, "logging_steps": 1}
OVER = ("completed", "stopped", "failed", "interrupted")


def status(client: Any, run: str) -> dict[str, Any]:
    return client.predict(run, api_name="/run_status")


def refusal(client: Any, *values: Any, api_name: str) -> str:
    with pytest.raises(Exception) as caught:  # the client's own class differs between its versions
        client.predict(*values, api_name=api_name)
    return str(caught.value)


def test_these_endpoints_are_documented_and_nothing_else_is(session_app: Any) -> None:
    named = session_app.client().view_api(return_format="dict", print_info=False)["named_endpoints"]
    about_runs = {"/start_run", "/run_status", "/stop_run", "/list_runs"}
    about_text = {"/fill_mask", "/fill_jointly", "/rank_words", "/compare_models", "/score_sentence", "/fill_file"}
    assert set(named) == about_runs | about_text


def test_fill_mask_answers_one_list_per_mask(session_app: Any) -> None:
    answer = session_app.client().predict("The <mask> orbits the <mask>.", "bundled", 3, api_name="/fill_mask")
    assert [len(mask) for mask in answer] == [3, 3]
    assert set(answer[0][0]) == {"score", "token", "token_str", "sequence"}


def test_a_run_goes_from_start_to_finished_and_its_model_answers(session_app: Any, eventually: Callable) -> None:
    client = session_app.client()
    started = client.predict(QUICK, api_name="/start_run")
    assert started["state"] in ("queued", "running")
    eventually(lambda: status(client, started["run"])["state"] in OVER)
    ended = status(client, started["run"])
    assert ended["state"] == "completed", ended
    assert ended["step"] == ended["steps"] == 2
    assert ended["perplexity"] > 1 and ended["perplexity_before"] > 1
    assert client.predict("A <mask>.", ended["model"], 1, api_name="/fill_mask")[0][0]["score"] > 0
    assert started["run"] in [run["run"] for run in client.predict(api_name="/list_runs")]


def test_a_run_is_stopped_and_keeps_what_it_learned(
    session_app: Any, endless: dict[str, Any], eventually: Callable
) -> None:
    client = session_app.client()
    run = client.predict(endless, api_name="/start_run")["run"]
    eventually(lambda: status(client, run)["step"] > 5)
    client.predict(run, api_name="/stop_run")
    eventually(lambda: status(client, run)["state"] in OVER)
    assert status(client, run)["state"] == "stopped"
    assert status(client, run)["model"] == run


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"learning_rate": 5}, "learning_rate is 5.0; it must be between"),
        ({"block_size": 3}, "block_size is 3; it must be between 8"),
        ({"lerning_rate": 1e-4}, "Did you mean learning_rate?"),
        ({"dataset": "/etc/passwd"}, "it must be 'bundled' or a Hub id"),
        ({"dataset": "../shared/texts"}, "it must be 'bundled' or a Hub id"),
        ({"model": "/etc"}, "it must be 'bundled', a Hub id"),
    ],
)
def test_bad_settings_get_a_sentence_and_start_nothing(session_app: Any, config: dict, words: str) -> None:
    client = session_app.client()
    before = len(client.predict(api_name="/list_runs"))
    assert words in refusal(client, config, api_name="/start_run")
    assert len(client.predict(api_name="/list_runs")) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("No gap here.", "bundled", 5), "There is no <mask> in the text."),
        (("A <mask>.", "bundled", 0), "top_k is 0"),
        (("A <mask>.", "no-such/model", 5), "no-such/model"),
        (("A <mask>.", "/etc", 5), "it must be 'bundled', a Hub id"),
        (("A <mask>.", "20200101-000000-no-run", 5), "There is no run"),
    ],
)
def test_bad_questions_get_a_sentence(session_app: Any, arguments: tuple, words: str) -> None:
    assert words in refusal(session_app.client(), *arguments, api_name="/fill_mask")


@pytest.mark.parametrize(
    ("api_name", "value"),
    [
        ("/start_run", [1]),
        ("/start_run", "abc"),
        ("/start_run", {"model": 5}),
        ("/run_status", 5),
        ("/stop_run", "../x"),
    ],
)
def test_values_of_the_wrong_kind_get_a_sentence(session_app: Any, api_name: str, value: Any) -> None:
    said = refusal(session_app.client(), value, api_name=api_name)
    assert "must be" in said or "There is no run" in said


@pytest.mark.parametrize("config", [{"text_column": "answer"}, {"model": "no-such/model"}])
def test_what_only_the_run_can_find_out_ends_it_with_a_sentence(
    session_app: Any, eventually: Callable, config: dict
) -> None:
    client = session_app.client()
    run = client.predict(config, api_name="/start_run")["run"]
    eventually(lambda: status(client, run)["state"] in OVER)
    ended = status(client, run)
    assert ended["state"] == "failed"
    assert next(iter(config.values())) in ended["error"] and ended["fix"]


def test_a_restarted_page_finds_the_living_run_and_the_dead_one(
    start_app: Callable, endless: dict[str, Any], eventually: Callable
) -> None:
    first = start_app()
    client = first.client()
    run = client.predict(endless, api_name="/start_run")["run"]
    eventually(lambda: status(client, run)["step"] > 5)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()

    second = start_app()
    client = second.client()
    assert status(client, run)["state"] == "running"
    step = status(client, run)["step"]
    eventually(lambda: status(client, run)["step"] > step)
    second.process.send_signal(signal.SIGKILL)
    second.process.wait()
    os.killpg(int((second.home / run / "lock").read_text()), signal.SIGKILL)

    third = start_app()
    client = third.client()
    eventually(lambda: status(client, run)["state"] in OVER, 30)
    ended = status(client, run)
    assert ended["state"] in ("failed", "interrupted") and "interrupted" in ended["error"]
    another = client.predict(QUICK, api_name="/start_run")["run"]
    eventually(lambda: status(client, another)["state"] in OVER)
    assert status(client, another)["state"] == "completed"
