"""Mask Studio: `python app.py` serves the page. The environment is read here and nowhere below."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Wires runs, predictions and page together, and serves until told to stop."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # Gradio's statistics of all requests, which nobody sees here, are else made anew with pandas after each of them.
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))

    from trainer.__main__ import home
    from trainer.inference.worker import FillService
    from trainer.runs.manager import RunManager
    from trainer.ui.page import build_page, launch_settings

    runs = RunManager(home(), os.environ, auto_resume=os.environ.get("MASK_STUDIO_AUTO_RESUME") == "1")
    fills = FillService()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    page = build_page(runs, fills)
    page.launch(prevent_thread_lock=True, **launch_settings())
    fills.start()  # only now: the page is served while the model loads
    machine_goes_down = False
    try:
        page.block_thread()
    except SystemExit:
        # A container ends with its first process; at a desk the runs live on.
        machine_goes_down = "SPACE_ID" in os.environ or os.getpid() == 1
        raise
    finally:
        fills.close()
        runs.shut_down() if machine_goes_down else runs.close()


if __name__ == "__main__":  # the spawned worker imports this file, too
    main()
