"""Publishing: what arrives on the Hub, what is said when it can't, and that Retry ends it well."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest

from tests.hub import local_hub
from trainer.errors import HubError
from trainer.hub.publish import Publisher
from trainer.hub.record import read_record
from trainer.hub.upload import PublishRequest

TOKEN = "hf_write_of_alice"
MODEL_FILES = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def refusal(publisher: Publisher, request: PublishRequest, token: str = TOKEN) -> HubError:
    with pytest.raises(HubError) as caught:
        publisher.publish(request, token)
    shown = "".join(traceback.format_exception(caught.value))
    assert not token or token not in shown
    assert caught.value.__cause__ is caught.value.__context__ is None  # whose request has the token
    return caught.value


def test_only_what_a_reader_of_the_model_needs_arrives_in_one_commit(
    hub: Any, publisher: Publisher, run: Path, request_for: Any
) -> None:
    record = publisher.publish(request_for(), TOKEN)
    repository = hub.repos["alice/otter"]
    assert set(repository.files) - {".gitattributes"} == MODEL_FILES | {"README.md", "curves.png"}
    for name in MODEL_FILES:
        assert repository.files[name] == (run / "model" / name).read_bytes()
    assert len(repository.commits) == 2 and hub.requests.count("commit") == 1  # the first one is the Hub's own
    assert record.is_published and record.commit == repository.commits[-1][0]
    assert record.url == f"{hub.url}/alice/otter"
    assert read_record(run) == record


def test_a_model_is_private_unless_asked_otherwise(hub: Any, publisher: Publisher, request_for: Any) -> None:
    publisher.publish(request_for(), TOKEN)
    publisher.publish(request_for(repo="alice/open", private=False), TOKEN)
    assert (hub.repos["alice/otter"].private, hub.repos["alice/open"].private) == (True, False)


def test_a_bare_name_is_published_under_the_account_of_the_token(
    hub: Any, publisher: Publisher, request_for: Any
) -> None:
    assert publisher.publish(request_for(repo="otter"), TOKEN).repo == "alice/otter"
    assert publisher.publish(request_for(repo="otter"), TOKEN).repo == "alice/otter"
    assert list(hub.repos) == ["alice/otter"]


def test_publishing_again_changes_nothing(hub: Any, publisher: Publisher, request_for: Any) -> None:
    first = publisher.publish(request_for(), TOKEN)
    assert publisher.publish(request_for(), TOKEN) == first
    assert len(hub.repos["alice/otter"].commits) == 2


def test_progress_rises_to_the_end_and_tells_of_bytes(publisher: Publisher, request_for: Any) -> None:
    told: list[tuple[float, str]] = []
    publisher.publish(request_for(), TOKEN, lambda share, words: told.append((share, words)))
    assert [share for share, _ in told] == sorted(share for share, _ in told) and told[-1] == (1.0, "Published")
    assert any("MB" in words for _, words in told)


# What can't be published, in words: how the Hub fails, what is said

LASTING = {
    "token unknown": ({"token": "hf_expired_token"}, {}, "does not take this token"),
    "not signed in": ({"token": ""}, {}, "not signed in"),
    "no token": ({"token": "hf_write\nof_alice"}, {}, "not a token"),
    "token that reads": ({"token": "hf_read_of_alice"}, {}, "may only read"),
    "token without the scope": ({}, {"create": {"status": 403}}, "may not write"),
    "another's name": ({"repo": "bob/otter"}, {}, "may not write to 'bob/otter'"),
    "name invalid": ({"repo": "alice/-otter"}, {}, "can't be the name"),
    "name refused": ({}, {"create": {"status": 400, "message": "Invalid name"}}, "can't be the name"),
    "quota": ({}, {"commit": {"status": 403, "message": "Private repository storage limit reached"}}, "no room"),
    "token expires on the way": ({}, {"preupload": {"status": 401}}, "does not take this token"),
    "repository removed on the way": ({}, {"commit": {"status": 404}}, "gone"),
}


@pytest.mark.parametrize("case", LASTING)
def test_what_will_not_pass_is_said_at_once(
    case: str, hub: Any, publisher: Publisher, run: Path, request_for: Any
) -> None:
    changes, faults, expected = LASTING[case]
    token = changes.get("token", TOKEN)
    for kind, how in faults.items():
        hub.fail(kind, times=100, **how)
    request = request_for(**{name: value for name, value in changes.items() if name != "token"})
    error = refusal(publisher, request, token)
    assert expected in error.what and error.fix
    assert hub.requests.count("create") <= 1 and hub.requests.count("commit") <= 1
    record = read_record(run)
    assert record is None or (not record.is_published and record.what == error.what)
    hub.faults.clear()
    assert publisher.publish(request_for(), TOKEN).is_published


def test_a_model_of_that_name_is_left_as_it_is(
    hub: Any, publisher: Publisher, trained_run: Any, tmp_path: Path, request_for: Any
) -> None:
    publisher.publish(request_for(), TOKEN)
    before = list(hub.repos["alice/otter"].commits)
    request_for().folder.joinpath("publish.json").unlink()  # as another run would see it
    assert "There is a model 'alice/otter' already" in refusal(publisher, request_for()).what
    assert hub.repos["alice/otter"].commits == before


def test_nothing_private_goes_into_a_repository_that_has_become_public(
    hub: Any, publisher: Publisher, request_for: Any
) -> None:
    hub.fail("commit", times=3, status=500)
    refusal(publisher, request_for(private=False))
    assert "exists and is public" in refusal(publisher, request_for(private=True)).what
    assert "model.safetensors" not in hub.repos["alice/otter"].files


PASSING = {
    "whoami slow down": ("whoami", {"status": 429}, "slow down"),
    "create slow down": ("create", {"status": 429}, "slow down"),
    "card slow down": ("validate", {"status": 429}, "slow down"),
    "upload broken": ("upload", {"status": 500}, "problem of its own (500)"),
    "upload cut": ("upload", {"cut": True}, "can't be reached"),
    "commit broken": ("commit", {"status": 500}, "problem of its own (500)"),
    "commit conflict": ("commit", {"status": 409}, "refused the upload (409)"),
    "commit cut": ("commit", {"cut": True}, "can't be reached"),
    "create answer lost": ("create", {"lose_reply": True}, "can't be reached"),
    "commit answer lost": ("commit", {"lose_reply": True}, "can't be reached"),
    "reading back broken": ("info", {"status": 503}, "problem of its own (503)"),
}


@pytest.mark.parametrize("case", PASSING)
def test_what_passes_is_tried_again(case: str, hub: Any, publisher: Publisher, request_for: Any) -> None:
    kind, how, _ = PASSING[case]
    hub.fail(kind, times=2, **how)
    assert publisher.publish(request_for(), TOKEN).is_published
    assert hub.faults[kind].times < 2 and len(hub.repos["alice/otter"].commits) == 2


@pytest.mark.parametrize("case", [case for case in PASSING if "lost" not in case])
def test_a_model_whose_upload_failed_stays_and_retry_ends_it_well(
    case: str, hub: Any, publisher: Publisher, run: Path, request_for: Any
) -> None:
    kind, how, expected = PASSING[case]
    hub.fail(kind, times=1000, **how)
    error = refusal(publisher, request_for())
    record = read_record(run)
    assert expected in error.what and "etry" in error.fix + error.what
    assert record and not record.is_published and (record.what, record.fix) == (error.what, error.fix)
    assert (run / "model" / "model.safetensors").exists()
    hub.faults.clear()
    assert publisher.publish(request_for(), TOKEN).is_published
    assert set(hub.repos["alice/otter"].files) >= MODEL_FILES


def test_a_hub_that_does_not_answer_is_given_up(hub: Any, publisher: Publisher, request_for: Any) -> None:
    hub.fail("whoami", times=3, delay_seconds=3.0)
    impatient = Publisher(hub.url, pauses_seconds=(), timeout_seconds=0.3)
    assert "can't be reached" in refusal(impatient, request_for()).what


def test_no_network_is_said(publisher: Publisher, hub: Any, request_for: Any) -> None:
    nowhere = Publisher("http://127.0.0.1:9", pauses_seconds=())
    assert "can't be reached" in refusal(nowhere, request_for()).what


def test_a_damaged_upload_is_noticed_and_sent_again(
    hub: Any, publisher: Publisher, request_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, told = local_hub.entries, []

    def forgetful(files: dict[str, bytes]) -> Any:
        for entry in honest(files):
            if entry["path"] == "model.safetensors" and not told:
                told.append(entry)
                entry = entry | {"size": entry["size"] - 1}
            yield entry

    monkeypatch.setattr(local_hub, "entries", forgetful)
    assert publisher.publish(request_for(), TOKEN).is_published and told


def test_a_server_that_repeats_the_token_is_not_quoted(hub: Any, publisher: Publisher, request_for: Any) -> None:
    hub.fail("create", status=403, message=f"Bearer {TOKEN} may not")
    error = refusal(publisher, request_for())
    assert TOKEN not in str(error) and "Bearer *** may not" in error.what


def test_a_run_without_a_model_is_not_published(publisher: Publisher, run: Path, request_for: Any) -> None:
    (run / "model" / "config.json").unlink()
    assert "has no model yet" in refusal(publisher, request_for()).what
    assert not publisher.progress(run)


def test_nothing_is_made_for_a_run_that_does_not_exist(
    hub: Any, publisher: Publisher, tmp_path: Path, request_for: Any
) -> None:
    assert "has no model yet" in refusal(publisher, request_for(folder=tmp_path / "nowhere")).what
    assert not hub.repos and not (tmp_path / "nowhere").exists()


def test_no_file_of_the_run_holds_the_token(
    hub: Any, publisher: Publisher, run: Path, request_for: Any, capfd: Any
) -> None:
    hub.fail("upload", times=1000, status=500)
    refusal(publisher, request_for())
    hub.faults.clear()
    publisher.publish(request_for(), TOKEN)
    assert all(TOKEN.encode() not in path.read_bytes() for path in run.rglob("*") if path.is_file())
    assert all(TOKEN.encode() not in content for content in hub.repos["alice/otter"].files.values())
    out, err = capfd.readouterr()
    assert TOKEN not in out + err
