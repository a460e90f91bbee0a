"""Where a run works: the field that asks for it, where there is a choice, and what it would cost."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from trainer.errors import RunError
from trainer.jobs.rental import Hardware, Rental
from trainer.runs.backends import DEVICES, JOB, PROCESS, ZERO, Backends
from trainer.ui.events import CHOSEN, QUIET
from trainer.ui.words import (
    ALL_GPUS,
    HERE,
    LENT,
    ONE_GPU,
    ONLY_HERE,
    RENTED,
    RENTED_COST,
    RENTED_UNKNOWN,
    about_duration,
    dollars,
)

PATIENCE_SECONDS = 5.0  # of a page that was just opened, for the Hub's list


class PlaceField:
    """A list of places, or one quiet line where there is but one."""

    def __init__(
        self, backends: Backends, rental: Rental, *, sign_in: bool = False, usual_seconds: float | None = None
    ) -> None:
        """`usual_seconds` is the time budget of a run for which a visitor names none."""
        self._backends, self._rental, self._usual_seconds = backends, rental, usual_seconds
        self.key = gr.Dropdown(
            self.choices(()), value=backends.usual_key, label="4 · Machine", elem_id="place", info=" ",
            visible=len(self.choices(())) > 1,
        )  # fmt: skip
        self._asks = sign_in and backends.rents  # a machine is rented by whoever is signed in
        self.sign_in = gr.LoginButton("Sign in to rent it", visible=False, size="md") if self._asks else gr.State()
        self.note = gr.HTML(self.only_here(), visible=len(self.choices(())) == 1, elem_classes="quiet-note")

    def connect(self, page: gr.Blocks, max_seconds: gr.components.Component) -> None:
        """Fills the list when a page is opened, and says what the choice costs whenever that changes."""
        outputs, inputs = [self.key, self.note], [self.key, max_seconds]
        page.load(self.offer, inputs, outputs, **QUIET)
        for changed in (self.key.change, max_seconds.change):
            changed(self.told, inputs, [self.key, self.sign_in], **CHOSEN)

    def checked(self, key: str, token: str) -> str:
        """The key, see `Backends.check`. Raises: ConfigError; RunError where nobody is signed in who would pay."""
        key = self._backends.check(key)
        if key.startswith(JOB) and not (token or self._backends.token):
            raise RunError("A machine is rented by whoever is signed in, and you are not.", "Press the button for it.")
        return key

    def told(self, key: str, max_seconds: Any) -> list[Any]:
        """What belongs to a choice: its cost, and who pays."""
        rented = str(key).startswith(JOB)
        return [gr.update(info=self.about(key, max_seconds)), gr.update(visible=rented) if self._asks else gr.skip()]

    def offer(self, key: str, max_seconds: Any) -> list[Any]:
        """The list as it stands now."""
        choices = self.choices(self._rental.hardware(PATIENCE_SECONDS))
        several = len(choices) > 1
        return [
            gr.update(choices=choices, visible=several, info=self.about(key, max_seconds)),
            gr.update(value=self.only_here(), visible=not several),
        ]

    def choices(self, hardware: tuple[Hardware, ...]) -> list[tuple[str, str]]:
        """(label, key) of every place there is."""
        gpus, usual = self._backends.gpus, self._backends.usual_key
        if usual == ZERO:
            return [(LENT, ZERO)]
        found = [(HERE if gpus < 2 else ONE_GPU, PROCESS)] + [(ALL_GPUS.format(gpus), DEVICES)] * (gpus > 1)
        found += [(RENTED.format(kind.label, dollars(kind.dollars_an_hour)), JOB + kind.name) for kind in hardware]
        known = {key for _, key in found}
        return found + [(RENTED_UNKNOWN.format(usual.removeprefix(JOB)), usual)] * (usual not in known)

    def about(self, key: str | None, max_seconds: Any) -> str:
        """What a run of this time budget costs at most on the machine that is chosen, or what else there might be."""
        kinds = {JOB + kind.name: kind for kind in self._rental.hardware()}
        if kind := kinds.get(key or ""):
            seconds = (
                float(max_seconds) if isinstance(max_seconds, (int, float)) and max_seconds > 0 else self._usual_seconds
            )
            return RENTED_COST.format(dollars(kind.most_dollars(seconds)), about_duration(kind.work_seconds(seconds)))
        why_not = self._rental.why_not()
        return f"Hugging Face Jobs: {why_not}." if why_not else " "

    def only_here(self) -> str:
        """Why there is no choice, in HTML; nothing where the page says it elsewhere."""
        if self._backends.usual_key == ZERO:
            return ""
        return f"<p>{ONLY_HERE.format(escape(self._rental.why_not()))}</p>"
