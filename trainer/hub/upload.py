"""One model on its way to the Hub: one repository, one commit, read back and compared."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from trainer.errors import HubError
from trainer.hub import refusals
from trainer.hub.card import CURVES, model_card
from trainer.hub.curves import draw_curves
from trainer.hub.files import WatchedFile, model_files
from trainer.hub.record import PublishRecord, read_record
from trainer.hub.trained import TrainedRun, read_run

Tell = Callable[[float, str], None]  # share done, 0..1, and what is being done

BROKEN_OFF = "The upload was broken off.", "Press Retry: it goes on where it ended."
INITIAL_FILES = {".gitattributes"}  # of a repository nobody has written to
MESSAGE = "Model trained with Mask Studio"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """What is to be published, and how."""

    folder: Path  # of the run
    repo: str  # owner/name, or a name under the token's own account
    private: bool = True
    licence: str | None = None  # as the Hub spells it


class Upload:
    """The tries to publish one model, which share a record."""

    def __init__(self, api: HfApi, request: PublishRequest, token: str, tell: Tell) -> None:
        self._api, self._request, self._token, self._tell = api, request, token, tell
        earlier = read_record(request.folder)
        if earlier is None or request.repo not in (earlier.repo, earlier.repo.partition("/")[2]):
            earlier = PublishRecord(repo=request.repo, private=request.private, licence=request.licence)
        self.record = dataclasses.replace(earlier, private=request.private, licence=request.licence)

    def note(self, **changes: Any) -> None:
        self.record = dataclasses.replace(self.record, **changes)
        self.record.write(self._request.folder)

    def run(self) -> PublishRecord:
        """One try. Raises: HubError, CLIENT_ERRORS."""
        run = read_run(self._request.folder)
        what, fix = BROKEN_OFF
        self.note(what=what, fix=fix)  # true until the end is reached
        self._tell(0.02, "Asking the Hub who you are")
        self._find_owner()
        self._tell(0.05, f"Making the repository {self.record.repo}")
        self._make_repository()
        with ExitStack() as opened:
            self._tell(0.08, "Preparing the files")
            operations = self._operations(opened, run)
            commit = self._api.create_commit(
                self.record.repo, operations, commit_message=MESSAGE, token=self._token
            ).oid
            self._tell(0.96, "Comparing what arrived")
            self._compare(commit, operations)
        self.note(commit=commit, url=f"{self._api.endpoint}/{self.record.repo}", what="", fix="")
        self._tell(1.0, "Published")
        return self.record

    def _find_owner(self) -> None:
        """Gives a bare name its owner. Raises: HubError when the token is no good for writing."""
        account = self._api.whoami(token=self._token)
        if account.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise HubError(*refusals.READS_ONLY)
        asked = self._request.repo
        repo = asked if "/" in asked else f"{account['name']}/{asked}"
        if repo != self.record.repo:
            self.note(repo=repo, created=False, commit=None, url=None)

    def _make_repository(self) -> None:
        """Makes it, or takes the one that an earlier try has made. Raises: HubError."""
        repo, private = self.record.repo, self.record.private
        try:
            self._api.create_repo(repo, private=private, token=self._token)
        except HfHubHTTPError as error:
            if error.response.status_code != 409:
                raise
        else:
            self.note(created=True)
            return
        info = self._api.model_info(repo, token=self._token)
        names = {file.rfilename for file in info.siblings or ()}
        if not self.record.created and names - INITIAL_FILES:
            raise refusals.name_taken(repo)
        if bool(info.private) != private:
            raise refusals.other_visibility(repo, private=bool(info.private))
        self.note(created=True)

    def _operations(self, opened: ExitStack, run: TrainedRun) -> list[CommitOperationAdd]:
        """Everything that is uploaded; files stay open from their checksum to their upload."""
        files = [opened.enter_context(WatchedFile(path)) for path in model_files(run.model)]
        card = model_card(run, self.record.repo, self.record.licence)
        contents: dict[str, Any] = {file.path.name: file for file in files}
        contents |= {"README.md": card.encode(), CURVES: draw_curves(run)}
        operations = [CommitOperationAdd(name, content) for name, content in contents.items()]
        weights = [file for file in files if file.path.suffix == ".safetensors"]  # the rest is soon there
        total = sum(file.size for file in weights)

        def on_read() -> None:
            sent = sum(file.sent for file in weights)
            words = f"Uploading: {sent / 1e6:.1f} of {total / 1e6:.1f} MB"
            self._tell(0.1 + 0.85 * sent / max(1, total), words)

        for file in weights:
            file.on_read = on_read
        return operations

    def _compare(self, commit: str, operations: list[CommitOperationAdd]) -> None:
        """Holds sizes and checksums that the Hub tells against ours. Raises: HubError."""
        info = self._api.model_info(self.record.repo, revision=commit, files_metadata=True, token=self._token)
        stored = {file.rfilename: file for file in info.siblings or ()}
        for operation in operations:
            file, sent = stored.get(operation.path_in_repo), operation.upload_info
            if file is None or file.size != sent.size:
                raise HubError(*refusals.DAMAGED)
            same = file.lfs.sha256 == sent.sha256.hex() if file.lfs else file.blob_id == _git_name(operation)
            if not same:
                raise HubError(*refusals.DAMAGED)


def _git_name(operation: CommitOperationAdd) -> str:
    """The checksum by which git names a small file."""
    with operation.as_file() as file:
        content = file.read()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
