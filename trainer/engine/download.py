"""A model of the Hub: looked at before its weights are fetched, and only files that hold data are."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from huggingface_hub import HfApi, ResolvedRevision, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    SafetensorsParsingError,
)

from trainer.engine.failures import blamed_on_model, is_full_disk
from trainer.engine.preflight import CONFIG, check_shape, files_of, weight_files
from trainer.engine.weights import Shapes
from trainer.errors import NOT_FOUND, ModelError

TIMEOUT_SECONDS = 10


def download(name: str) -> Path:
    """The folder of a model of the Hub in the cache, fetched if need be; offline, what is there. Raises: ModelError."""
    try:
        revision, files = inspect(name)
        for file in files:
            path = Path(hf_hub_download(name, file, revision=revision))
        return path.parent
    except ModelError:
        raise
    except Exception as error:  # the client, its transport and its storage each have errors of their own
        # The cache may hold somebody's private model: not for those whom the Hub has just refused it.
        folder = None if isinstance(error, RepositoryNotFoundError) else _cached(name)
        if folder is None:
            raise _in_words(error, name) from error
        return folder


@lru_cache(maxsize=1000)  # what was judged is what is opened, whatever is uploaded while this process lives
def inspect(name: str) -> tuple[ResolvedRevision, tuple[str, ...]]:
    """The revision and the files of a model that may be fetched, judged by sizes and heads alone. Raises: ModelError.

    Two requests, the configuration, and the first bytes of each weight file.
    """
    api = HfApi()
    info = api.model_info(name, files_metadata=True, timeout=TIMEOUT_SECONDS)
    files = files_of({file.rfilename: file.size or 0 for file in info.siblings or ()}, name)
    revision = api.resolve_revision(name)  # notes it in the cache, too, so that the model is found offline
    if revision.resolved != info.sha:
        raise ModelError(f"The model {name!r} was changed on the Hub at this moment.", "Try again.")
    folder = Path(hf_hub_download(name, CONFIG, revision=revision)).parent
    stored: Shapes = {}
    for file in weight_files(files):
        try:
            header = api.parse_safetensors_file_metadata(name, file, revision=info.sha, timeout=TIMEOUT_SECONDS)
        except (SafetensorsParsingError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ModelError(f"{file} of {name!r} is damaged.", "Choose another model.") from error
        stored |= {tensor: tuple(facts.shape) for tensor, facts in header.tensors.items()}
    with blamed_on_model(f"The model {name!r} can't be opened"):
        check_shape(folder, stored, name)
    return revision, tuple(files)


def _cached(name: str) -> Path | None:
    """The folder of a model that was fetched before, whole: the weights come last."""
    config = try_to_load_from_cache(name, CONFIG)
    folder = Path(config).parent if isinstance(config, str) else None
    return folder if folder and any(folder.glob("model*.safetensors")) else None


def _in_words(error: Exception, name: str) -> ModelError:
    if isinstance(error, GatedRepoError):
        what = f"The model {name!r} is gated: its authors want to know who uses it."
        fix = "Ask for access on its page there and use it in the shell, with HF_TOKEN, or choose another."
        return ModelError(what, fix)
    if isinstance(error, RepositoryNotFoundError):
        return ModelError(f"The Hub has no model {name!r}.", NOT_FOUND)
    if is_full_disk(error):
        return ModelError(f"The disk is too full for the model {name!r}.", "Make room, or choose a smaller one.")
    fix = "Check the name and the connection, or use 'bundled'."
    if isinstance(error, OfflineModeIsEnabled):
        fix = "HF_HUB_OFFLINE keeps this machine from the Hub: unset it, or use 'bundled'."
    elif isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        fix = "The Hub does not accept HF_TOKEN." if status == 401 else f"The Hub answered {status}: try again later."
    what = f"The model {name!r} is neither a folder here nor could it be fetched from the Hub."
    return ModelError(what, fix)
