"""Mask Studio: `python app.py` serves the page. The environment is read here and nowhere below."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace


def main() -> int:
    """Serves the page; the exit code is 2 when the environment asks for what can't be."""
    from trainer.arguments import USER_ERROR
    from trainer.errors import TrainerError

    try:
        serve()
        return 0
    except TrainerError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR


def serve() -> None:
    """Wires runs, predictions and page together, and serves until told to stop. Raises: ConfigError."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # Gradio's statistics of all requests, which nobody sees here, are else made anew with pandas after each of them.
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))

    from trainer.loading import loading

    with loading():
        from trainer.__main__ import DEFAULT_HOME
        from trainer.environment import without_secrets
        from trainer.hub.publish import Publisher
        from trainer.inference.worker import FillService
        from trainer.jobs.rental import NO_TOKEN, NOT_ASKED, Rental
        from trainer.limits import MANY, VANISHING, limits_of, place_for_runs
        from trainer.runs.backends import Backends
        from trainer.runs.manager import RunManager
        from trainer.runs.preview import PreviewService
        from trainer.runs.zero_gpu import Slicer, ZeroGpu
        from trainer.slice import load_engine, slice_of
        from trainer.ui.page import build_page, launch_settings

    limits = limits_of(os.environ)
    home, lasting = place_for_runs(os.environ, DEFAULT_HOME)
    auto_resume = os.environ.get("MASK_STUDIO_AUTO_RESUME") == "1"
    on_space = "SPACE_ID" in os.environ
    # Whoever reaches the page publishes with a token of their own; that of the environment is for its owner's desk.
    at_desk = not on_space and os.environ.get("GRADIO_SERVER_NAME", "localhost") in ("localhost", "127.0.0.1")
    own_token = os.environ.get("HF_TOKEN", "").strip() if at_desk else ""
    # A name is believed only where it comes in a cookie that nobody else can sign.
    sign_in = on_space and all(os.environ.get(name) for name in ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET"))
    visitors_rent = sign_in and "jobs" in os.environ.get("OAUTH_SCOPES", "").split()
    backends = Backends(os.environ, own_token, rents=visitors_rent)
    backend = backends.usual
    runs = RunManager(
        home, os.environ, max_queued=limits.max_queued, auto_resume=auto_resume,
        command=backends.command, secret=backends.secret, usual=backends.check(backends.usual_key),
        starts=not isinstance(backend, ZeroGpu),
    )  # fmt: skip
    fills = FillService()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    shared = os.environ.get("MASK_STUDIO_SHARED_RUNS", "0" if on_space else "1") == "1"
    slicer = None
    if isinstance(backend, ZeroGpu):
        slicer = Slicer(runs, backend.lent(slice_of), backend.seconds)
        load_engine()
        limits = replace(limits, max_queued=MANY)  # runs wait for their owners there, and keep nobody else out
    page, routes = build_page(
        runs,
        fills,
        Publisher(),
        limits,
        notice=" ".join(filter(None, [backend.in_words(), limits.in_words(), "" if lasting else VANISHING])),
        sign_in=sign_in,
        own_token=own_token,
        apart=not shared,
        owner=os.environ.get("SPACE_ID", "").partition("/")[0] or None,
        previews=PreviewService(home, os.environ),
        slicer=slicer,
        backends=backends,
        rental=Rental(own_token, why_not="" if backends.rents else NO_TOKEN if at_desk else NOT_ASKED),
    )
    hosts = tuple(host.strip() for host in os.environ.get("SPACE_HOST", "").split(",") if host.strip())
    page.launch(prevent_thread_lock=True, **launch_settings(limits, hosts, routes, only_here=bool(own_token)))
    kept = without_secrets(os.environ)  # all has been read: what is started from now on can't even inherit them
    os.environ.clear()
    os.environ.update(kept)
    fills.start()  # only now: the page is served while the model loads
    try:
        page.block_thread()
    finally:
        fills.close()
        # A container ends with its first process, at Ctrl-C too; at a desk the runs live on.
        runs.shut_down() if on_space or os.getpid() == 1 else runs.close()


if __name__ == "__main__":  # the spawned worker imports this file, too
    sys.exit(main())
