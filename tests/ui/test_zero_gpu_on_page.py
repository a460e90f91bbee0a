"""The page on a Space with ZeroGPU: who has it open lets their run work, slice by slice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

STAND_IN = Path(__file__).parents[1] / "zero_gpu"
SLICE_SECONDS = 20  # of which a slow machine takes most before the first step


@pytest.fixture(scope="module")
def zero(make_app: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    place = tmp_path_factory.mktemp("zero")
    app = make_app(
        place / "home",
        PYTHONPATH=os.pathsep.join([str(STAND_IN), os.environ.get("PYTHONPATH", "")]),
        SPACES_ZERO_GPU="true",
        CUDA_VISIBLE_DEVICES="",
        LENT_LOG=str(place / "lent"),
        LENT_QUOTA_SECONDS="1000",
        MASK_STUDIO_SLICE_SECONDS=str(SLICE_SECONDS),
    )
    app.lent = place / "lent"
    yield app
    app.close()


def test_over_http_every_call_of_next_slice_lets_a_run_work_for_so_long(zero: Any) -> None:
    client = zero.client()
    assert client.predict(api_name="/next_slice") == {}
    config = {"max_steps": 2, "max_documents": 20, "logging_steps": 1}
    run = client.predict(config, api_name="/start_run")["run"]
    for _ in range(20):
        told = client.predict(api_name="/next_slice")
        assert told["run"] == run
        if told["state"] != "queued":
            break
    assert (told["state"], told["step"]) == ("completed", 2)
    assert client.predict(api_name="/next_slice") == {}
    zero.lent.unlink()


def test_a_run_works_while_the_page_is_open_and_the_page_counts_its_slices(
    zero: Any, opened: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    client = zero.client()
    config = {"max_steps": 100_000, "max_seconds": 2.5 * SLICE_SECONDS, "max_documents": 40, "logging_steps": 1}
    run = client.predict(config, api_name="/start_run")["run"]
    assert client.predict(run, api_name="/run_status")["state"] == "queued"
    page = opened(zero)
    page.set_extra_http_headers({"x-ip-token": "alice"})
    assert "on a GPU that is lent to you (ZeroGPU)" in page.inner_text("#notice")
    page.wait_for_function(
        "/Slice \\d+ of about \\d+/.test(document.querySelector('#run-panel').innerText)", timeout=240_000
    )
    eventually(lambda: client.predict(run, api_name="/run_status")["state"] == "completed", seconds=240)
    status = client.predict(run, api_name="/run_status")
    assert status["slice"] >= 3 and status["step"] > 1
    lent = [line.split() for line in zero.lent.read_text().splitlines()]
    assert len(lent) == status["slice"]
    assert lent[-1] == ["alice", str(SLICE_SECONDS)]
    eventually(lambda: "time budget" in page.inner_text("#run-panel"))
