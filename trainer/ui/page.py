"""The page: its tabs, and what connects them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import gradio as gr
from gradio import processing_utils
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Route

from trainer.hub.publish import Publisher
from trainer.inference.worker import FillService
from trainer.jobs.rental import NO_TOKEN, Rental
from trainer.limits import Limits
from trainer.presets import ASSETS
from trainer.runs.backends import Backends
from trainer.runs.manager import RunManager
from trainer.runs.ownership import OwnRuns
from trainer.runs.preview import PreviewService
from trainer.runs.zero_gpu import Slicer
from trainer.ui.api import build_api
from trainer.ui.events import QUIET
from trainer.ui.fill_mask_tab import ASK_IT, build_fill_mask_tab, offer_models, tried
from trainer.ui.fine_tune_tab import build_fine_tune_tab
from trainer.ui.live_view import LiveView
from trainer.ui.news import HEAD
from trainer.ui.other_sites import LOCAL, AsStrangers
from trainer.ui.place_field import PlaceField
from trainer.ui.publish_panel import build_publish_panel
from trainer.ui.runs_tab import RunsTab
from trainer.ui.slices import build_slices
from trainer.ui.visitors import Visitors
from trainer.ui.words import FILL_TAB, RUNS_TAB, TAGLINE, TITLE, TRAIN_TAB

# Between two looks into the queue, and two for progress to tell of: Gradio's own on Windows. Elsewhere it looks a
# thousand and a hundred times a second, for a fifteenth of a core, on which a run may work.
QUEUE_SECONDS, PROGRESS_SECONDS = 0.05, 0.1
SYSTEM_FONTS = (
    "ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans",
    # for what those have no characters of: Korean, Japanese, Chinese
    "Apple SD Gothic Neo", "Malgun Gothic", "Noto Sans CJK KR", "Hiragino Sans", "Yu Gothic", "Noto Sans CJK JP",
    "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif",
)  # fmt: skip


def build_page(
    runs: RunManager,
    fills: FillService,
    publisher: Publisher | None = None,
    limits: Limits | None = None,
    *,
    notice: str = "",
    sign_in: bool = False,
    own_token: str = "",
    apart: bool = False,
    owner: str | None = None,
    previews: PreviewService | None = None,
    slicer: Slicer | None = None,
    backends: Backends | None = None,
    rental: Rental | None = None,
) -> tuple[gr.Blocks, list[Route]]:
    """The whole page over its services, and where it asks past Gradio; both are to be launched together.

    `notice` is what visitors should know, `slicer` lets runs work in slices.
    For `sign_in` and `own_token` see the publish panel, for `apart` and `owner` see `Visitors`.
    """
    limits, publisher = limits or Limits(), publisher or Publisher()
    previews, backends = previews or PreviewService(runs.home, {}), backends or Backends({})
    rental = rental or Rental(why_not=NO_TOKEN)

    def below(live: LiveView) -> None:
        build_publish_panel(visitors, live, publisher, sign_in=sign_in, own_token=own_token)

    def place_field() -> PlaceField:
        return PlaceField(backends, rental, sign_in=sign_in, usual_seconds=limits.max_seconds)

    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        visitors = Visitors(runs, apart=apart, sign_in=sign_in, owner=owner, most_runs=limits.max_runs)
        # What is said below the title by assets/news.js, where the server does not answer
        gr.HTML(f'<h1>{TITLE}</h1><p>{TAGLINE}</p><p id="unanswered" role="status"></p>', elem_id="masthead")
        if notice:
            gr.Markdown(notice, elem_id="notice")
        with gr.Tabs() as tabs:
            with gr.Tab(TRAIN_TAB, id="train") as train_tab:
                tune = build_fine_tune_tab(page, visitors, previews, limits, below, place_field)
            with gr.Tab(FILL_TAB, id="fill") as fill_tab:
                fill_form = build_fill_mask_tab(visitors, fills)
            with gr.Tab(RUNS_TAB, id="runs") as runs_tab:
                RunsTab(visitors).connect(runs_tab, [train_tab, fill_tab], tabs, tune, fill_form)
        build_api(visitors, fills, limits)
        if slicer:
            build_slices(visitors, slicer, tune.live.news)
        tune.live.news.begin()

        def try_model(runs: OwnRuns, watched: str | None) -> list[Any]:
            view = runs.shown(watched)
            return [gr.Tabs(selected="fill"), *tried(runs, view.id if view else "bundled")]

        watched = [visitors.key, tune.live.watched]
        tried_now = tune.live.try_button.click(visitors.own(try_model), watched, [tabs, *fill_form], **QUIET)
        tried_now.success(None, None, None, js=ASK_IT, **QUIET)
        offer_models(visitors, tune.model)
    page.queue(max_size=64)
    page._queue.sleep_when_free, page._queue.progress_update_sleep_when_free = QUEUE_SECONDS, PROGRESS_SECONDS
    processing_utils.async_ssrf_protected_download = _fetch_nothing
    return page, [tune.live.news.route]


async def _fetch_nothing(url: str, cache_dir: str) -> str:
    """For Gradio's own, which takes any address in a file's place and holds all of what is there in memory."""
    raise gr.Error("Upload the file itself: no address is fetched.", print_exception=False)


def launch_settings(
    limits: Limits | None = None,
    hosts: tuple[str, ...] = (),
    routes: Sequence[Route] = (),
    *,
    only_here: bool = False,
) -> dict[str, Any]:
    """What `launch()` is told beside the address: the looks, and no more surface than the page needs.

    `hosts` are names by which the page is called from outside, `routes` are of `build_page`; `only_here`: it answers on
    this machine's own alone.
    """
    middleware = [Middleware(AsStrangers, hosts=hosts)]
    if only_here:
        middleware.insert(0, Middleware(TrustedHostMiddleware, allowed_hosts=LOCAL))
    return {
        "theme": _theme(),
        "css_paths": [ASSETS / f"{part}.css" for part in ("page", "run", "fill", "runs")],
        "head": HEAD,
        "footer_links": ["api", "settings"],
        "run_history": False,
        "enable_monitoring": False,
        "max_file_size": f"{(limits or Limits()).max_upload_megabytes}mb",
        "state_session_capacity": 500,  # of some 250 KB each; a client that names no session begins one with each call
        "allowed_paths": [],
        "share": False,
        "ssr_mode": False,
        "mcp_server": find_spec("mcp") is not None,  # installed by the extra, as on a Space
        "app_kwargs": {"middleware": middleware, "routes": list(routes)},
    }


def _theme() -> gr.themes.Base:
    """Gradio's own theme in our colours; fonts of the system, so that nothing is fetched."""
    theme = gr.themes.Default(
        primary_hue="indigo",
        secondary_hue="teal",
        neutral_hue="slate",
        radius_size="lg",
        font=SYSTEM_FONTS,
        font_mono=("ui-monospace", "Consolas", "monospace"),
    )
    return theme.set(
        body_background_fill="*neutral_50",
        body_text_color_subdued="*neutral_500",  # a step darker than by itself, to be read by everybody
        input_placeholder_color="*neutral_500",
        block_title_text_weight="600",
        block_label_text_weight="600",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_500",
        button_primary_text_color="white",
    )
