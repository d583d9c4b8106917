"""Uploads to and downloads from repositories on the Hub; errors of the Hub become ours, with advice."""

from __future__ import annotations

import contextlib
import fnmatch
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

from modelselect.errors import HubError, InvalidInputError, ModelSelectError

Fill = Callable[[Path, str, str], None]
"""Fills a folder: called with the empty folder, the repository's full name, and the commit that it builds on."""

LARGEST = 1_000_000_000
"""Bytes of a file that is fetched. A board of thousands of candidates or a history of millions of results has less."""

SIGNATURE = "modelselect.json"
"""In a saved or pushed winner: what it takes, what its answers mean, and where it comes from."""

_OF_A_WINNER = ("*.json", "*.safetensors", "*.txt", "*.model", "*.tiktoken")
"""Files of a winner: weights, configurations and vocabularies; no code and no pickles."""

LARGEST_DESCRIPTION = 200_000_000
"""Bytes of a configuration or a vocabulary of a winner. The largest vocabularies take some 40 MB."""

_MOST_FILES = 1000
"""Files of a winner, at most."""

_ATTEMPTS = 5
"""How often an upload is tried when others keep committing first."""


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
    """Adds files to a repository in one commit, also if others commit meanwhile; creates the repository if needed.

    Args:
        repository: `owner/name`, or only `name` for a repository of the token's owner.
        fill: writes the files into a folder; called again if somebody else has committed since.
        message: the commit's message.
        kind: `dataset` or `model`.
        private: whether a new repository is private; None for the owner's default.
        token: None for the token that `hf auth login` keeps, or that of the environment.
        endpoint: the Hub's address; None for the client's own (`HF_ENDPOINT`).
        outdated: files to delete from the repository if the folder holds no newer version.
        raises: the class of the errors that faults of the Hub become.

    Returns:
        Address of the commit's page.

    Raises:
        InvalidInputError: `repository` is not a repository name.
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
                        continue  # somebody else committed first: build on their commit and try again
                    raise
            return str(commit.commit_url)
    raise AssertionError("the last attempt returns or raises")


def check_may_write(repository: str, kind: str = "dataset") -> None:
    """Asks the Hub whether the token may write to a repository: before the work, not after it.

    Raises:
        InvalidInputError: `repository` is not a repository name.
        HubError: there is no token, the token may only read or belongs to somebody else, or the Hub cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="modelselect")
    with explained(repository, kind):
        api.repo_exists(repository, repo_type=kind)  # refuses what is no name
        known = api.whoami()
    token = known.get("auth", {}).get("accessToken", {})
    if token.get("role") == "read":
        raise HubError(
            f"the {kind} repository {repository} cannot be written with your token, which may only read; run `hf auth "
            "login` with a token that may write"
        )
    owner, slash, _ = repository.partition("/")
    own = [str(known.get("name")), *(str(each.get("name")) for each in known.get("orgs", ()))]
    if slash and owner not in own:
        raise HubError(
            f"the {kind} repository {repository} belongs to {owner!r}, and your token to {', '.join(own)}; give a "
            f"repository of yours, such as {own[0]}/{repository.rpartition('/')[2]}"
        )


def fetch(
    repository: str,
    names: Sequence[str],
    *,
    revision: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    raises: type[ModelSelectError] = HubError,
) -> Path:
    """Folder in the client's cache with these files of a dataset repository, or those of them that exist.

    Raises:
        InvalidInputError: `repository` is not a repository name.
        HubError: or `raises`: the repository or the revision does not exist, the Hub cannot be reached, or a file is
            too large.
    """
    from huggingface_hub import HfApi, snapshot_download

    with explained(repository, "dataset", raises):
        sizes = {}
        with contextlib.suppress(Exception):  # the download says what is wrong; without a network it needs none
            known = HfApi(endpoint=endpoint, token=token).get_paths_info(
                repository, list(names), revision=revision, repo_type="dataset"
            )
            sizes = {each.path: getattr(each, "size", 0) for each in known}
        for name, size in sizes.items():
            if size > LARGEST:
                raise raises(
                    f"the dataset repository {repository} holds a {name} of {size:,} bytes; expected at most "
                    f"{LARGEST:,}"
                )
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


def fetch_winner(repository: str, revision: str | None = None) -> Path | None:
    """Folder in the client's cache with the files of a winner that was pushed; None if none is known there.

    Args:
        repository: a model repository.
        revision: a branch, a tag or a commit; None for the main branch.

    Raises:
        HubError: the repository or the revision does not exist, a file is too large, or the files of a winner cannot be
            fetched.
    """
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    with explained(repository, "model"):
        known: dict[str, int] = {}
        try:
            info = HfApi().model_info(repository, revision=revision, files_metadata=True)
        except (RepositoryNotFoundError, RevisionNotFoundError):
            raise
        except Exception:  # the download says what is wrong; what is in the cache needs no network
            info = None
        if info is not None:
            known = {each.rfilename: each.size or 0 for each in info.siblings or ()}
            revision = info.sha or revision  # what was looked at is what is fetched
            if SIGNATURE not in known:
                return None
            _check_winner(repository, {name: size for name, size in known.items() if _is_of_a_winner(name)})
        try:
            hf_hub_download(repository, SIGNATURE, revision=revision)
        except EntryNotFoundError:  # also where the Hub is out of reach and the cache has no such file
            return None
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(_OF_A_WINNER)))


def _is_of_a_winner(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in _OF_A_WINNER)


def _check_winner(repository: str, sizes: Mapping[str, int]) -> None:
    """Raises HubError if a winner has too many files, one is too large, or they do not fit on the disk."""
    from huggingface_hub.constants import HF_HUB_CACHE

    what = f"the model repository {repository}"
    if len(sizes) > _MOST_FILES:
        raise HubError(f"{what} holds {len(sizes):,} files of a winner; expected at most {_MOST_FILES:,}")
    for name, size in sizes.items():
        if size > LARGEST_DESCRIPTION and not name.endswith(".safetensors"):
            raise HubError(f"{what} holds a {name} of {size:,} bytes; expected at most {LARGEST_DESCRIPTION:,}")
    place = next(each for each in (Path(HF_HUB_CACHE), *Path(HF_HUB_CACHE).parents) if each.exists())
    needed, free = sum(sizes.values()), shutil.disk_usage(place).free
    if needed > free:
        raise HubError(f"{what} takes {needed:,} bytes, and {free:,} are free for the cache in {place}; make room")


@contextlib.contextmanager
def explained(repository: str, kind: str = "dataset", raises: type[ModelSelectError] = HubError) -> Iterator[None]:
    """Turns errors of the Hub and its client into one of ours that says what to do."""
    from huggingface_hub import errors

    what = f"the {kind} repository {repository}"
    try:
        yield
    except ModelSelectError:
        raise
    except errors.HFValidationError as error:
        raise InvalidInputError(f"{repository!r} is no {kind} repository's name; expected 'owner/name'") from error
    except errors.GatedRepoError as error:
        raise raises(f"{what} is gated; ask for access on its page, then run `hf auth login`") from error
    except errors.RevisionNotFoundError as error:
        raise raises(f"{what} has no such revision; check the name, or leave the revision out") from error
    except errors.RepositoryNotFoundError as error:
        raise raises(
            f"{what} does not exist on the Hub, or you have no access to it; check the name, or run `hf auth login`"
        ) from error
    except Exception as error:
        if not (isinstance(error, OSError) or _is_transport(error)):
            raise
        raise raises(f"{what}: {_advice(error)} ({' '.join(str(error).split())})") from error


def _advice(error: Exception) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.LocalTokenNotFoundError) or _status(error) == HTTPStatus.UNAUTHORIZED:
        return "the Hub does not accept your token; run `hf auth login` with a token that may write, or pass token="
    if _status(error) == HTTPStatus.FORBIDDEN:
        return "you have no permission to do this; use a repository of your own, or a token that has the permission"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "the Hub's client is offline; unset HF_HUB_OFFLINE"
    return "the Hub could not be reached; try again later"


def _status(error: Exception) -> int:
    """Status of the Hub's answer; 0 if there is no answer."""
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def _is_transport(error: Exception) -> bool:
    """True for connection errors of the client's HTTP library, which differs between versions of the client."""
    return any(base.__name__ in ("TransportError", "StreamError") for base in type(error).__mro__)
