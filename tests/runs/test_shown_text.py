"""Text of a run as visitors see it."""

import os
import sys
from pathlib import Path

from trainer.runs.launch import PROJECT
from trainer.runs.shown_text import without_machine_paths


def test_folders_of_this_machine_become_short_words(tmp_path):
    home = PROJECT / "runs"
    text = f"""File "{home}/20260101-000000-calm-lynx/x", line 3
{PROJECT}/trainer/engine/loop.py and {sys.prefix}/lib/torch/x.py, {Path.home()}/notes.txt; file://{home}"""
    shown = without_machine_paths(text, home)
    assert shown.splitlines() == [
        'File "(runs)/20260101-000000-calm-lynx/x", line 3',
        "(Mask Studio)/trainer/engine/loop.py and (Python)/lib/torch/x.py, ~/notes.txt; file://(runs)",
    ]


def test_a_path_that_only_begins_like_one_of_ours_stays_as_it_is(tmp_path):
    text = f"{tmp_path}-other/x /data{tmp_path}/y"
    shown = without_machine_paths(text, tmp_path)
    assert "(runs)" not in shown


def test_what_a_link_points_to_is_known_too(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert without_machine_paths(f"{tmp_path}/real/x", tmp_path / "link") == "(runs)/x"


def test_the_log_of_a_run_ends_with_its_last_lines_and_names_no_folder_of_this_machine(stage):
    manager = stage.manager()
    (run_id,) = stage.start(manager, "quick")
    stage.until_state(manager, run_id, "completed")
    folder = stage.folder(run_id)
    folder.log.write_text("".join(f"{n} <b>{folder.path}</b> {os.path.realpath(sys.executable)}\n" for n in range(300)))
    lines = manager.log(run_id).splitlines()
    assert len(lines) == 200 and lines[-1].startswith(f"299 <b>(runs)/{run_id}</b>")
    assert str(stage.home) not in "".join(lines) and sys.base_prefix not in "".join(lines)
