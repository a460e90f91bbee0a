"""A private repository of the Hub that takes a run to a rented machine and its model back."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from trainer.config import TrainConfig
from trainer.errors import DataError, HubError
from trainer.hub.files import ALLOWED, model_files
from trainer.hub.refusals import other_visibility
from trainer.jobs import refusals
from trainer.presets import BUNDLED_DATASET, BUNDLED_MODEL
from trainer.runs.folder import RunFolder
from trainer.runs.launch import PROJECT

RUN = "run"  # the run's folder in the repository; beside it lies the program
TEXT, START = "text", "start"  # in it: what it learns from, and the model to start from, where these are files
STOP = "stop"  # a file by which a running job is told to end


class Parcel:
    """The repository `repo` as both ends see it. Raises: what the Hub's client does."""

    def __init__(self, api: HfApi, repo: str) -> None:
        self._api, self.repo = api, repo

    def send(self, config: TrainConfig) -> str:
        """Program, settings and what they name on this machine, as one commit; its name.

        Raises: HubError, DataError.
        """
        self._api.create_repo(self.repo, private=True, exist_ok=True)
        if not self._api.model_info(self.repo).private:
            raise other_visibility(self.repo, private=False)
        packed, files = pack(config)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(name, path) for name, path in {**program(), **files}.items()
        ]
        operations.append(CommitOperationAdd(f"{RUN}/config.json", packed.to_json().encode()))
        if self.stop_requested():
            operations.append(CommitOperationDelete(STOP))
        return self._commit(operations, "Settings and text")

    def request_stop(self) -> None:
        self._commit([CommitOperationAdd(STOP, b"stop\n")], "Stop")

    def stop_requested(self) -> bool:
        return bool(self._api.file_exists(self.repo, STOP))

    def return_run(self, folder: RunFolder, *, may_go_on: bool) -> None:
        """The model of a run and, where that may be resumed, its newest checkpoint."""
        files = {f"{RUN}/model/{path.name}": path for path in model_files(folder.model)} if folder.has_model() else {}
        if may_go_on and (newest := folder.newest_checkpoint()):
            within = f"{RUN}/checkpoints/{newest.name}"
            files |= {f"{within}/{name}": path for name, path in _files_below(newest)}
        if files:
            self._commit([CommitOperationAdd(name, path) for name, path in files.items()], "Model")

    def fetch_model(self, folder: RunFolder) -> None:
        """Puts the model that came back into a run's folder, whole or not at all. Raises: HubError."""
        draft = folder.path / ".model.tmp"
        shutil.rmtree(draft, ignore_errors=True)
        info = self._api.model_info(self.repo, files_metadata=True)
        place = f"{RUN}/model/"
        try:
            for file in info.siblings or ():
                name = file.rfilename.removeprefix(place)
                if not file.rfilename.startswith(place) or not ALLOWED.fullmatch(name):
                    continue  # this program sent nothing else
                path = Path(self._api.hf_hub_download(self.repo, file.rfilename, revision=info.sha, local_dir=draft))
                told = file.lfs.sha256 if file.lfs else file.blob_id
                if path.stat().st_size != file.size or told != _checksum(path, large=bool(file.lfs)):
                    raise HubError(*refusals.DAMAGED)
            arrived = draft / RUN / "model"
            if not (arrived / "config.json").is_file():
                raise HubError(*refusals.DAMAGED)
            old = draft / "old"
            if folder.model.exists():
                os.replace(folder.model, old)
            os.replace(arrived, folder.model)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def remove(self) -> None:
        """Leave nothing of it on the Hub."""
        self._api.delete_repo(self.repo, missing_ok=True)

    def _commit(self, operations: list[CommitOperationAdd | CommitOperationDelete], message: str) -> str:
        return str(self._api.create_commit(self.repo, operations, commit_message=message).oid)


def program() -> dict[str, Path]:
    """This program's own files by their names: what a rented machine runs is what is installed here."""
    sources = ((path.relative_to(PROJECT), path) for path in (PROJECT / "trainer").rglob("*.py"))
    assets = (BUNDLED_MODEL, BUNDLED_DATASET)
    bundled = ((path.relative_to(PROJECT), path) for asset in assets for path in asset.iterdir() if path.is_file())
    return {name.as_posix(): path for name, path in sorted([*sources, *bundled])}


def pack(config: TrainConfig) -> tuple[TrainConfig, dict[str, Path]]:
    """The settings as they hold in the run's folder elsewhere, and the files of this machine that must go there.

    Raises: DataError for files that are gone.
    """
    files: dict[str, Path] = {}
    text, model = Path(config.dataset), Path(config.model)
    if text.is_absolute() or text.exists():
        found = list(_files_below(text)) if text.is_dir() else [(text.name, text)] if text.is_file() else []
        if not found:
            raise DataError("The text of this run is no longer here.", "Choose another.")
        files |= {f"{RUN}/{TEXT}/{name}": path for name, path in found}
        config = replace(config, dataset=f"./{TEXT}" if text.is_dir() else f"./{TEXT}/{text.name}")
    if model.is_absolute() or model.is_dir():
        found = [(path.name, path) for path in model_files(model)] if model.is_dir() else []
        if not found:
            raise DataError("The model this run starts from is no longer here.", "Choose another.")
        files |= {f"{RUN}/{START}/{name}": path for name, path in found}
        config = replace(config, model=f"./{START}")
    return config, files


def _files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(folder).as_posix(), path


def _checksum(path: Path, *, large: bool) -> str:
    """The one by which the Hub names a file: that of its content, or git's where it is small."""
    digest = hashlib.sha256() if large else hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
