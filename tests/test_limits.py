"""What a public page allows: safe on a Space, none at a desk, settings of the owner over both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.config import TrainConfig
from trainer.errors import ConfigError, ModelError
from trainer.limits import Limits, limits_of, place_for_runs

SPACE = {"SPACE_ID": "alice/studio"}
NAMES = ("SECONDS", "MILLION_WEIGHTS", "UPLOAD_MB", "QUEUED", "RUNS_PER_VISITOR")
ALL = [f"MASK_STUDIO_MAX_{name}" for name in NAMES]


def test_a_desk_has_no_limits_and_a_space_has() -> None:
    assert limits_of({}) == Limits() and limits_of({}).in_words() == ""
    limits = limits_of(SPACE)
    assert limits.max_seconds == 3600 and limits.max_parameters == 300_000_000
    assert limits.in_words() == (
        "Here a run may last 60 minutes, a model to train may have 300 million weights, a file may have 20 MB, "
        "10 runs may wait, you may have 3 at a time."
    )


def test_the_owner_decides() -> None:
    chosen = {"MASK_STUDIO_MAX_SECONDS": "600", "MASK_STUDIO_MAX_MILLION_WEIGHTS": "0", "MASK_STUDIO_MAX_QUEUED": "3"}
    chosen |= {"MASK_STUDIO_MAX_RUNS_PER_VISITOR": "2"}
    limits = limits_of(SPACE | chosen)
    assert limits == Limits(max_seconds=600.0, max_upload_megabytes=20, max_queued=3, max_runs=2)
    assert limits.in_words() == (
        "Here a run may last 10 minutes, a file may have 20 MB, 3 runs may wait, you may have 2 at a time."
    )
    assert limits_of(SPACE | dict.fromkeys(ALL, "0")) == Limits()
    with pytest.raises(ConfigError, match="MASK_STUDIO_MAX_SECONDS is 'long'; it must be a number"):
        limits_of({"MASK_STUDIO_MAX_SECONDS": "long"})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_a_limit_that_is_no_finite_number_is_refused_in_words(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"MASK_STUDIO_MAX_{name} is '{value}'; it must be a number, 0 for no limit"):
        limits_of(SPACE | {f"MASK_STUDIO_MAX_{name}": value})


def test_a_part_of_one_allows_one_and_not_none() -> None:
    names = ("UPLOAD_MB", "QUEUED", "RUNS_PER_VISITOR")
    limits = limits_of(SPACE | {f"MASK_STUDIO_MAX_{name}": "0.5" for name in names})
    assert (limits.max_upload_megabytes, limits.max_queued, limits.max_runs) == (1, 1, 1)


def test_a_run_gets_an_end_and_may_not_ask_for_a_later_one() -> None:
    limits = limits_of(SPACE)
    assert limits.applied_to(TrainConfig()).max_seconds == 3600
    assert limits.applied_to(TrainConfig(max_seconds=60)).max_seconds == 60
    with pytest.raises(ConfigError, match="max_seconds is 7200; here it must be at most 3600"):
        limits.applied_to(TrainConfig(max_seconds=7200))
    assert Limits().applied_to(TrainConfig()) == TrainConfig()


def test_too_large_a_model_is_named_with_both_sizes() -> None:
    limits_of(SPACE).check_size(278_000_000)  # the largest model on offer, which is recommended for many languages
    with pytest.raises(ModelError, match=r"355\.0 million weights; here it may have 300 million"):
        limits_of(SPACE).check_size(355_000_000)


def test_runs_live_where_they_outlast_a_restart_if_they_can(tmp_path: Path) -> None:
    home, default = str(tmp_path / "volume/runs"), tmp_path / "runs"
    assert place_for_runs({}, default) == (default, True)
    assert place_for_runs({"MASK_STUDIO_HOME": home}, default) == (Path(home), True)
    assert place_for_runs(SPACE, default) == (default, False)
    assert place_for_runs(SPACE | {"MASK_STUDIO_HOME": home}, default) == (Path(home), True)
    (tmp_path / "volume").write_text("not a folder", encoding="utf-8")
    assert place_for_runs(SPACE | {"MASK_STUDIO_HOME": home}, default) == (default, False)


@pytest.mark.slow
def test_a_run_of_the_page_ends_when_its_model_is_too_large(
    tiny_model: Any, sample_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.__main__ import main
    from trainer.runs.folder import RunFolder

    folder = RunFolder(tmp_path / "run")
    folder.write_config(TrainConfig(model=str(tiny_model("roberta")), dataset=str(sample_text), block_size=32))
    monkeypatch.setenv("MASK_STUDIO_MAX_MILLION_WEIGHTS", "0.01")
    assert main(["run", str(folder.path)]) == 2
    last = folder.last_record()
    assert last and last["kind"] == "failed" and "here it may have 0.01 million weights" in last["what"]
    assert not folder.has_model()
