"""Repositories on the Hub as the host writes and reads them: one commit on what is there, and faults with advice."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

from modelselect.errors import HubError, InvalidInputError, ModelSelectError

Fill = Callable[[Path, str, str], None]
"""Called with an empty folder, the repository's whole name, and the commit that what it puts there is to follow."""

_ATTEMPTS = 5
"""How often an upload is tried that others keep forestalling."""


def upload(  # noqa: PLR0913 (what a repository needs)
    repository: str,
    fill: Fill,
    message: str,
    *,
    kind: str = "dataset",
    private: bool | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    outdated: Sequence[str] = (),
    raises: type[ModelSelectError] = HubError,
) -> str:
    """Adds files to a repository in one commit, whoever else commits meanwhile; makes the repository if there is none.

    Args:
        repository: `owner/name`, or `name` of the token's owner.
        fill: puts the files into a folder; called anew where somebody else has committed since.
        message: of the commit.
        kind: `dataset` or `model`.
        private: whether a new repository is private; None for the owner's default.
        token: None for the one that `hf auth login` keeps, or of the environment.
        endpoint: the Hub's address; None for the client's own (`HF_ENDPOINT`).
        outdated: files that are taken away where the folder brings no newer ones.
        raises: the error that a fault of the Hub becomes.

    Returns:
        The commit's page.

    Raises:
        InvalidInputError: that is no name of a repository.
        HubError: or `raises`: the Hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(endpoint=endpoint, token=token, library_name="modelselect")
    with explained(repository, kind, raises):
        whole = api.create_repo(repository, repo_type=kind, private=private, exist_ok=True).repo_id
        for left in reversed(range(_ATTEMPTS)):
            latest = str(api.repo_info(whole, repo_type=kind).sha)
            with tempfile.TemporaryDirectory() as scratch:
                fill(Path(scratch), whole, latest)
                try:
                    commit = api.upload_folder(
                        repo_id=whole,
                        repo_type=kind,
                        folder_path=scratch,
                        commit_message=message,
                        parent_commit=latest,
                        delete_patterns=list(outdated) or None,
                    )
                except HfHubHTTPError as error:
                    if left and _status(error) == HTTPStatus.PRECONDITION_FAILED:
                        continue  # somebody else was first: build on theirs, and try again
                    raise
            return str(commit.commit_url)
    raise AssertionError("the last attempt returns or raises")


def fetch(
    repository: str,
    names: Sequence[str],
    *,
    revision: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    raises: type[ModelSelectError] = HubError,
) -> Path:
    """The folder in the client's cache that holds these files of a dataset repository, as far as it has them.

    Raises:
        InvalidInputError: that is no name of a repository.
        HubError: or `raises`: there is no such repository or revision, or it cannot be reached.
    """
    from huggingface_hub import snapshot_download

    with explained(repository, "dataset", raises):
        return Path(
            snapshot_download(
                repository,
                repo_type="dataset",
                revision=revision,
                allow_patterns=list(names),
                token=token,
                endpoint=endpoint,
            )
        )


@contextlib.contextmanager
def explained(repository: str, kind: str = "dataset", raises: type[ModelSelectError] = HubError) -> Iterator[None]:
    """What the Hub and its client say while the block runs, as one error that says what to do."""
    from huggingface_hub import errors

    what = f"the {kind} repository {repository}"
    try:
        yield
    except ModelSelectError:
        raise
    except errors.HFValidationError as error:
        raise InvalidInputError(f"{repository!r} is no {kind} repository; expected 'owner/name'") from error
    except errors.GatedRepoError as error:
        raise raises(f"{what} is gated; ask for access on its page, then run `hf auth login`") from error
    except errors.RevisionNotFoundError as error:
        raise raises(f"{what} has no such revision; look at its commits, or leave the revision out") from error
    except errors.RepositoryNotFoundError as error:
        raise raises(
            f"there is no {kind} repository {repository} on the Hub, or you may not see it; check its name, or run "
            "`hf auth login`"
        ) from error
    except Exception as error:
        if not (isinstance(error, OSError) or _is_transport(error)):
            raise
        raise raises(f"{what}: {_advice(error)} ({' '.join(str(error).split())})") from error


def _advice(error: Exception) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.LocalTokenNotFoundError) or _status(error) == HTTPStatus.UNAUTHORIZED:
        return "the Hub does not know you; run `hf auth login` with a token that may write, or pass token="
    if _status(error) == HTTPStatus.FORBIDDEN:
        return "you may not do that there; give a repository of your own, or `hf auth login` with a token that may"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "the Hub's client is offline; unset HF_HUB_OFFLINE"
    return "it could not be reached; try again later"


def _status(error: Exception) -> int:
    """Of the Hub's answer; 0 where there is none."""
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def _is_transport(error: Exception) -> bool:
    """True for what the client's HTTP library raises of connections; which library that is changes with its version."""
    return any(base.__name__ in ("TransportError", "StreamError") for base in type(error).__mro__)
