"""What the Hub and the network answer, in words: what happened, and what to do."""

from __future__ import annotations

from collections.abc import Iterator

from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, OfflineModeIsEnabled

from trainer.errors import HubError

# All that the client raises where the world, and not the program, is at fault.
CLIENT_ERRORS = (HTTPError, HFValidationError, OSError, RuntimeError, ValueError)

SETTINGS = "huggingface.co/settings/tokens"
NOT_SIGNED_IN = ("You are not signed in to Hugging Face.", f"Sign in, or give a token that may write ({SETTINGS}).")
NO_TOKEN = ("This is not a token.", f"Paste it again, without blanks: it begins with hf_ ({SETTINGS}).")
READS_ONLY = ("This token may only read.", f"Make one that may write ({SETTINGS}).")
UNKNOWN_TOKEN = (
    "The Hub does not take this token: it is wrong, or has expired.",
    f"Sign in again, or make a new one ({SETTINGS}).",
)
FULL = ("There is no room left in this account on the Hub.", "Remove something there, or publish it publicly.")
SLOW_DOWN = ("The Hub asks us to slow down.", "Wait some minutes, then press Retry.")
NO_NETWORK = ("The Hub can't be reached.", "The model is safe here; press Retry when the network is back.")
OFFLINE = ("The Hub is switched off here (HF_HUB_OFFLINE is set).", "Unset it, and start again.")
DAMAGED = ("What arrived on the Hub is not what was sent.", "Press Retry: it is sent again.")
PASSING_STATUS = (408, 409, 412, 425, 429)  # and all from 500


def name_taken(repo: str) -> HubError:
    return HubError(f"There is a model {repo!r} already.", "Choose another name.")


def other_visibility(repo: str, *, private: bool) -> HubError:
    now = "private" if private else "public"
    return HubError(f"The model {repo!r} exists and is {now}.", "Choose that, another name, or change it on its page.")


def name_invalid(repo: str) -> HubError:
    rule = "letters, digits, '-', '_' and '.', at most 96, neither first nor last a sign, and no '--' or '..'"
    return HubError(f"{repo!r} can't be the name of a model.", f"Use {rule}.")


def in_words(error: Exception, repo: str, secret: str) -> tuple[HubError, bool]:
    """The error as a user should read it, without `secret` even where a server repeats it; and whether it may pass."""
    answer = next((e for e in _chain(error) if isinstance(e, HfHubHTTPError)), None)
    if answer is not None:
        status = answer.response.status_code
        said = (answer.server_message or "").replace(secret, "***").strip()
        return _of_status(status, said, repo), status in PASSING_STATUS or status >= 500
    if isinstance(error, HFValidationError):
        return name_invalid(repo), False
    if isinstance(error, OfflineModeIsEnabled):
        return HubError(*OFFLINE), False
    if any(isinstance(e, HTTPError) for e in _chain(error)):
        return HubError(*NO_NETWORK), True
    said = str(error).replace(secret, "***")
    return HubError(f"The model could not be uploaded: {said[:300]}", "Press Retry."), False


def _of_status(status: int, said: str, repo: str) -> HubError:
    owner = repo.partition("/")[0]
    detail = f" It says: {said[:300]}" if said else ""
    if status == 401:
        return HubError(*UNKNOWN_TOKEN)
    if status in (402, 413, 507) or any(word in said.lower() for word in ("storage", "quota", "limit reached")):
        return HubError(*FULL)
    if status == 403:
        rights = f"Use one that may write to {owner!r}, or publish under your own name."
        return HubError(f"This token may not write to {repo!r}.{detail}", rights)
    if status == 404:
        return HubError(f"The model {repo!r} is gone from the Hub, or this token can't see it.", "Choose another name.")
    if status == 400 and "name" in said.lower():
        return name_invalid(repo)
    if status == 429:
        return HubError(*SLOW_DOWN)
    if status >= 500:
        return HubError(f"The Hub has a problem of its own ({status}).", "The model is safe here; press Retry later.")
    return HubError(f"The Hub refused the upload ({status}).{detail}", "Press Retry, or choose another name.")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes: the client wraps those of a file's upload."""
    while error is not None:
        yield error
        error = error.__cause__
