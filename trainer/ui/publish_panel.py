"""A run's way to the Hugging Face Hub: sign in, name it, watch it go, try again."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from trainer.errors import HubError
from trainer.hub.card import LICENCES, licence_of
from trainer.hub.publish import Publisher
from trainer.hub.record import PublishRecord, read_record
from trainer.hub.upload import PublishRequest
from trainer.runs.names import name_of
from trainer.runs.ownership import OwnRuns
from trainer.runs.view import RunView
from trainer.ui.events import QUEUED, spoken
from trainer.ui.live_view import LiveView
from trainer.ui.run_panel import bar
from trainer.ui.visitors import Visitors

PRIVATE, PUBLIC = "Only me", "Everybody"
NOT_STATED = "not stated"


def build_publish_panel(
    visitors: Visitors, live: LiveView, publisher: Publisher, *, sign_in: bool, own_token: str = ""
) -> None:
    """Lays out the panel below the run that is shown, and connects it.

    With `sign_in` there is a button of Hugging Face's; else a field for a token, which may stay empty when there is an
    `own_token`. No token is kept: each lives as long as the upload it was given for.
    """
    with gr.Accordion("Publish this model", open=False, visible=False, elem_id="publish-panel") as panel:
        if sign_in:
            gr.LoginButton(size="md")
        hint = (
            "The one in HF_TOKEN, when left empty."
            if own_token
            else "One that may write: huggingface.co/settings/tokens"
        )
        token = gr.Textbox(
            label="Token", type="password", info=hint, visible=not sign_in, elem_id="hub-token", max_lines=1
        )
        with gr.Row():
            name = gr.Textbox(label="Name", placeholder="owner/name, or a name of yours", elem_id="hub-name", scale=2)
            licence = gr.Dropdown([NOT_STATED, *LICENCES], value=NOT_STATED, label="Licence", elem_id="hub-licence")
        with gr.Row():
            audience = gr.Radio([PRIVATE, PUBLIC], value=PRIVATE, label="Who may see it", scale=2)
            follow = gr.Checkbox(
                label="Push every evaluation", info="Each better model, while it trains", min_width=220, visible=False,
                elem_id="hub-follow",
            )  # fmt: skip
        publish = gr.Button("Publish", variant="primary", elem_id="publish")
        status = gr.HTML("", visible=False, elem_id="hub-status")
    shown = gr.State(None)  # id of the run that the fields were filled for
    inputs = [visitors.key, live.watched, token, name, audience, licence, follow]

    def begin(
        runs: OwnRuns,
        watched: str | None,
        typed: str,
        repo: str,
        who: str,
        chosen: str,
        follows: bool,
        signed_in: gr.OAuthToken | None,
    ) -> None:
        view = runs.shown(watched)
        if view is None:
            raise HubError("There is no run to publish.", "Press Start first.")
        request = PublishRequest(
            folder=runs.model_folder(view.id).parent,
            repo=(repo or "").strip() or default_name(view),
            private=who != PUBLIC,
            licence=chosen if chosen in LICENCES else None,
        )
        given = signed_in.token if signed_in else str(typed or "").strip() or own_token
        publisher.begin(request, given, (lambda: runs.view(view.id).is_over) if follows else None)

    def look(runs: OwnRuns, view: RunView | None) -> tuple[Any, ...]:
        if view is None:
            return ()
        folder = runs.home / view.id
        return view.id, view.has_model, view.is_over, publisher.progress(folder), read_record(folder)

    def refresh(runs: OwnRuns, view: RunView | None, suggested: str | None) -> list[Any]:
        if view is None:
            return [gr.update(visible=False), *[gr.skip()] * 6, None]
        *_, progress, record = look(runs, view)
        label = "Retry" if record and not record.is_published else "Publish"
        fresh = suggested != view.id
        return [
            gr.update(visible=view.has_model),
            gr.update(value=record.repo if record else default_name(view)) if fresh else gr.skip(),
            gr.update(value=suited_licence(view, record)) if fresh else gr.skip(),
            gr.update(value=PUBLIC if record and not record.private else PRIVATE) if fresh else gr.skip(),
            gr.update(visible=not view.is_over),
            gr.update(value=label, interactive=progress is None),
            gr.update(value=status_html(progress, record), visible=bool(progress or record)),
            view.id,
        ]

    publish.click(spoken(visitors.own(begin)), inputs, None, **QUEUED)
    outputs = [panel, name, licence, audience, follow, publish, status, shown]
    live.news.send(look, refresh, outputs, shown)


def default_name(view: RunView) -> str:
    return f"mask-studio-{name_of(view.id)}"  # a label may be anything


def suited_licence(view: RunView, record: PublishRecord | None) -> str:
    """What was chosen before, else what follows from the model trained from."""
    if record:
        return record.licence or NOT_STATED
    return (licence_of(view.config.model) if view.config else None) or NOT_STATED


def status_html(progress: tuple[float, str] | None, record: PublishRecord | None) -> str:
    """How far it is, where it went, or why it did not."""
    if progress is not None:
        share, words = progress
        return f'<div class="run">{bar(share)}<div class="facts"><span>{escape(words)}</span></div></div>'
    if record is None:
        return ""
    if record.is_published:
        link = f'<a href="{escape(record.url or "")}" target="_blank" rel="noopener">{escape(record.repo)}</a>'
        return f'<div class="run"><div>Published: {link} ({"private" if record.private else "public"})</div></div>'
    words = f"<b>Trained, but the upload failed.</b> {escape(record.what)} {escape(record.fix)}"
    return f'<div class="run"><div class="failure">{words}</div></div>'
