"""What Hugging Face Jobs answers, in words: what happened, and what to do."""

from __future__ import annotations

import errno

from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

from trainer.errors import HubError
from trainer.hub.refusals import OFFLINE, PASSING_STATUS, SETTINGS, UNKNOWN_TOKEN

NO_TOKEN = (
    "A machine can't be rented without a token.",
    "Sign in, or start the page with HF_TOKEN set; then resume the run.",
)
NO_CREDIT = ("This account has no credit for Hugging Face Jobs.", "Add some at huggingface.co/settings/billing.")
NO_NETWORK = ("The Hub can't be reached.", "Resume the run when the network is back: a job that has begun goes on.")
DAMAGED = ("The model that came back is not the one that was sent.", "Resume the run: it is fetched again.")
DISK_FULL = ("The disk is full here.", "Make room, and resume the run: a job that has begun goes on.")
LEFT = ("The run was ended from outside before its job began.", "Resume it, or start it again.")
NO_LAST_WORD = "Look at its log; give the run more time, or choose other hardware or settings."


def in_words(error: Exception, secret: str) -> tuple[HubError, bool]:
    """The error as a user should read it, without `secret` even where a server repeats it; and whether it may pass."""
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        said = (error.server_message or "").replace(secret, "***").strip()[:300]
        return _of_status(status, f" It says: {said}" if said else ""), status in PASSING_STATUS or status >= 500
    if isinstance(error, OfflineModeIsEnabled):
        return HubError(*OFFLINE), False
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return HubError(*DISK_FULL), False
    if isinstance(error, (HTTPError, OSError)):
        return HubError(*NO_NETWORK), True
    said = str(error).replace(secret, "***")[:300]
    return HubError(f"The job could not be followed: {said}", "Resume the run."), False


def _of_status(status: int, detail: str) -> HubError:
    if status == 401:
        return HubError(*UNKNOWN_TOKEN)
    if status == 402:
        return HubError(*NO_CREDIT)
    if status == 403:
        return HubError(f"This token may not rent a machine, or not write.{detail}", f"Make one that may ({SETTINGS}).")
    if status == 404:
        return HubError("The job or its repository is gone from the Hub.", "Start the run again.")
    if status >= 500:
        return HubError(f"The Hub has a problem of its own ({status}).", "Resume the run later.")
    return HubError(f"The Hub refused the job ({status}).{detail}", "Choose other hardware, or try again later.")
