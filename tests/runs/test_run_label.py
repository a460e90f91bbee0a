"""Runs are called what their users call them."""

import time

import pytest

from trainer.errors import RunError


@pytest.fixture
def finished(stage):
    manager = stage.manager()
    (run_id,) = stage.start(manager, "quick")
    stage.until_state(manager, run_id, "completed")
    return manager, run_id


def test_a_run_bears_its_new_name_everywhere_and_its_own_again_when_that_is_taken_away(stage, finished):
    manager, run_id = finished
    own = manager.view(run_id).name
    version = manager.view(run_id).version
    manager.rename(run_id, "  Tea\n and   biscuits ")
    names = {manager.view(run_id).name, manager.views()[0].name, stage.folder(run_id).name}
    assert names == {"Tea and biscuits"}
    assert manager.view(run_id).summary()["name"] == "Tea and biscuits"
    assert manager.view(run_id).version != version and manager.view(run_id).id == run_id
    manager.rename(run_id, "")
    assert manager.view(run_id).name == manager.views()[0].name == own


def test_names_of_any_script_are_kept_as_they_are(finished):
    manager, run_id = finished
    for name in ("은하수", "<script>alert(1)</script>", "../../etc/passwd", "${1+1}", "x" * 60, "عربي", "🎭"):
        manager.rename(run_id, name)
        assert manager.view(run_id).name == name


@pytest.mark.parametrize("name", ["x" * 61, "a\x00b", "half \ud800", "turned \u202e round", "\x1b[31m"])
def test_what_cannot_be_a_name_is_refused_and_the_old_one_stays(finished, name):
    manager, run_id = finished
    manager.rename(run_id, "Before")
    with pytest.raises(RunError, match="The name h"):
        manager.rename(run_id, name)
    assert manager.view(run_id).name == "Before"


def test_a_page_beside_this_one_on_the_same_home_shows_the_new_name(stage, finished):
    manager, run_id = finished
    other = stage.manager()
    assert other.views()[0].name != "Tea"
    time.sleep(0.05)
    manager.rename(run_id, "Tea")
    stage.until(lambda: other.views()[0].name == "Tea")


def test_a_label_that_was_not_written_by_us_is_passed_over(stage, finished):
    manager, run_id = finished
    own = manager.view(run_id).name
    for content in (b"\xff\xfe", b"x" * 10_000, b"\x00"):
        stage.folder(run_id).label.write_bytes(content)
        assert manager.view(run_id).name == own


def test_errors_call_a_run_by_its_name(finished):
    manager, run_id = finished
    manager.rename(run_id, "Tea")
    with pytest.raises(RunError, match="Run Tea has no model"):
        manager.model_folder(run_id)
