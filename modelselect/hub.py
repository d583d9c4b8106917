"""Uploads to and downloads from repositories on the Hub; errors of the Hub become ours, with advice."""

from __future__ import annotations

import contextlib
import fnmatch
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from modelselect.errors import HubError, InvalidInputError, ModelSelectError
from modelselect.utils.downloads import answer_within, hub_blobs, while_it_grows
from modelselect.utils.http_errors import is_transport, status_of
from modelselect.utils.text import printable

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")

Fill = Callable[[Path, str, str], None]
"""Fills a folder: called with the empty folder, the repository's full name, and the commit that it builds on."""

LARGEST = 1_000_000_000
"""Bytes of a file that is fetched. A board of thousands of candidates or a history of millions of results has less."""

SIGNATURE = "modelselect.json"
"""In a saved or pushed winner: what it takes, what its answers mean, and where it comes from."""

_OF_A_WINNER = ("*.json", "*.safetensors", "*.txt", "*.model", "*.tiktoken")
"""Files of a winner: weights, configurations and vocabularies; no code and no pickles."""

LARGEST_DESCRIPTION = 200_000_000
"""Bytes of a file that describes a model or a tokenizer. The largest vocabularies take some 40 MB."""

_MOST_FILES = 1000
"""Files of a winner, at most."""

_ATTEMPTS = 5
"""How often an upload is tried when others keep committing first."""

_LONGEST = 400
"""Characters of what the client says, in a message."""

ANSWER_SECONDS = 60.0
"""Seconds within which the Hub answers a question about a repository. The client itself would wait without end."""


@dataclass(frozen=True)
class Repository:
    """A repository on the Hub, and how it is reached.

    Attributes:
        name: `owner/name`, or only `name` for a repository of the token's owner.
        kind: `dataset` or `model`.
        token: None for the token that `hf auth login` keeps, or that of the environment.
        endpoint: the Hub's address; None for the client's own (`HF_ENDPOINT`).
        raises: the class of the errors that faults of the Hub become.
    """

    name: str
    kind: str = "dataset"
    token: str | None = None
    endpoint: str | None = None
    raises: type[ModelSelectError] = HubError

    def upload(self, fill: Fill, message: str, *, private: bool | None = None, outdated: Sequence[str] = ()) -> str:
        """Adds files in one commit, also if others commit meanwhile; creates the repository if needed.

        Args:
            fill: writes the files into a folder; called again if somebody else has committed since.
            message: the commit's message.
            private: whether a new repository is private; None for the owner's default.
            outdated: files to delete from the repository if the folder holds no newer version.

        Returns:
            Address of the commit's page.

        Raises:
            InvalidInputError: the name is not that of a repository.
            HubError: or `raises`: the Hub refuses, or cannot be reached.
        """
        from huggingface_hub.errors import HfHubHTTPError

        api = self._api
        with _explained(self):
            whole = answer_within(
                ANSWER_SECONDS,
                lambda: api.create_repo(self.name, repo_type=self.kind, private=private, exist_ok=True).repo_id,
            )
        for left in reversed(range(_ATTEMPTS)):
            with _explained(self):
                latest = str(answer_within(ANSWER_SECONDS, lambda: api.repo_info(whole, repo_type=self.kind)).sha)
            with self._filled(fill, whole, latest) as folder, _explained(self):
                try:
                    commit = api.upload_folder(
                        repo_id=whole,
                        repo_type=self.kind,
                        folder_path=folder,
                        commit_message=message,
                        parent_commit=latest,
                        delete_patterns=list(outdated) or None,
                    )
                except HfHubHTTPError as error:
                    if left and status_of(error) == HTTPStatus.PRECONDITION_FAILED:
                        continue  # somebody else committed first: build on their commit and try again
                    raise
                return str(commit.commit_url)
        raise AssertionError("the last attempt returns or raises")

    @contextlib.contextmanager
    def _filled(self, fill: Fill, whole: str, latest: str) -> Iterator[Path]:
        """A temporary folder with the files of a commit."""
        with contextlib.ExitStack() as stack:
            try:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                fill(folder, whole, latest)
            except OSError as error:
                raise self.raises(
                    f"the files of {self} cannot be written into a temporary folder ({error.strerror or error}). Free "
                    "some space there, or set TMPDIR to another folder"
                ) from error
            yield folder

    def files(self, revision: str) -> list[str]:
        """Names of the files in the repository.

        Raises:
            HubError: or `raises`: the repository or the revision does not exist, or the Hub cannot be reached.
        """
        with _explained(self):
            found = answer_within(
                ANSWER_SECONDS, lambda: self._api.list_repo_files(self.name, repo_type=self.kind, revision=revision)
            )
            return list(map(str, found))

    def check_may_write(self) -> None:
        """Asks the Hub whether the token may write to the repository: before the work, not after it.

        Raises:
            InvalidInputError: the name is not that of a repository.
            HubError: there is no token, the token may only read or belongs to somebody else, or the Hub cannot be
                reached.
        """
        with _explained(self):
            # Refuses what is no name.
            answer_within(ANSWER_SECONDS, lambda: self._api.repo_exists(self.name, repo_type=self.kind))
            known = answer_within(ANSWER_SECONDS, self._api.whoami)
            may = known.get("auth", {}).get("accessToken", {}).get("role")
            own = [str(known["name"]), *(str(each.get("name")) for each in known.get("orgs", ()))]
        if may == "read":
            raise self.raises(
                f"{self} cannot be written with your token, which may only read; run `hf auth login` with a token that "
                "may write"
            )
        owner, slash, _ = self.name.partition("/")
        if slash and owner not in own:
            raise self.raises(
                f"{self} belongs to {owner!r}, and your token to {', '.join(own)}; give a repository of yours, such as "
                f"{own[0]}/{self.name.rpartition('/')[2]}"
            )

    def fetch(self, names: Sequence[str], revision: str | None = None) -> Path:
        """Folder in the client's cache with these files, or those of them that exist.

        Raises:
            InvalidInputError: the name is not that of a repository.
            HubError: or `raises`: the repository or the revision does not exist, the Hub cannot be reached, or a file
                is too large.
        """
        from huggingface_hub import snapshot_download

        with _explained(self):
            try:
                known = answer_within(
                    ANSWER_SECONDS,
                    lambda: self._api.get_paths_info(self.name, list(names), revision=revision, repo_type=self.kind),
                )
                sizes = {each.path: getattr(each, "size", 0) for each in known}
            except TimeoutError:  # the download would wait without end
                raise
            except Exception:  # the download says what is wrong; without a network it needs none
                sizes = {}
            for name, size in sizes.items():
                if size > LARGEST:
                    raise self.raises(f"{self} holds a {name} of {size:,} bytes; expected at most {LARGEST:,}")
            fetch = partial(
                snapshot_download,
                self.name,
                repo_type=self.kind,
                revision=revision,
                allow_patterns=list(names),
                token=self.token,
                endpoint=self.endpoint,
            )
            return Path(while_it_grows(fetch, self.blobs))

    def __str__(self) -> str:
        return f"the {self.kind} repository {self.name}"

    @property
    def blobs(self) -> Path:
        """The folder in the client's cache that grows while a file is downloaded."""
        return hub_blobs(self.kind, self.name)

    @property
    def _api(self) -> HfApi:
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, token=self.token, library_name="modelselect")


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

    place = Repository(repository, "model")
    with _explained(place):
        try:
            info = answer_within(
                ANSWER_SECONDS, lambda: HfApi().model_info(repository, revision=revision, files_metadata=True)
            )
        except (RepositoryNotFoundError, RevisionNotFoundError, TimeoutError):
            raise
        except Exception:  # the download says what is wrong; what is in the cache needs no network
            info = None
        if info is not None:
            known = {each.rfilename: each.size or 0 for each in info.siblings or ()}
            revision = info.sha or revision  # what was looked at is what is fetched
            if SIGNATURE not in known:
                return None
            _check_winner(place, {name: size for name, size in known.items() if _is_of_a_winner(name)})
        try:
            while_it_grows(partial(hf_hub_download, repository, SIGNATURE, revision=revision), place.blobs)
        except EntryNotFoundError:  # also where the Hub is out of reach and the cache has no such file
            return None
        fetch = partial(snapshot_download, repository, revision=revision, allow_patterns=list(_OF_A_WINNER))
        return Path(while_it_grows(fetch, place.blobs))


def _is_of_a_winner(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in _OF_A_WINNER)


def _check_winner(what: Repository, sizes: Mapping[str, int]) -> None:
    """Raises HubError if a winner has too many files, one is too large, or they do not fit on the disk."""
    from huggingface_hub.constants import HF_HUB_CACHE

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
def _explained(what: Repository) -> Iterator[None]:
    """Turns errors of the Hub and its client into one of ours that says what to do."""
    from huggingface_hub import errors

    raises = what.raises
    try:
        yield
    except ModelSelectError:
        raise
    except errors.HFValidationError as error:
        raise InvalidInputError(f"{what.name!r} is no {what.kind} repository's name; expected 'owner/name'") from error
    except errors.GatedRepoError as error:
        raise raises(f"{what} is gated; ask for access on its page, then run `hf auth login`") from error
    except errors.RevisionNotFoundError as error:
        raise raises(f"{what} has no such revision; check the name, or leave the revision out") from error
    except errors.RepositoryNotFoundError as error:
        raise raises(
            f"{what} does not exist on the Hub, or you have no access to it; check the name, or run `hf auth login`"
        ) from error
    except Exception as error:  # also of the client, where an answer is none
        said = printable(" ".join(str(error).split())[:_LONGEST])
        raise raises(f"{what}: {_advice(error)} ({type(error).__name__}: {said})") from error


def _advice(error: Exception) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.LocalTokenNotFoundError) or status_of(error) == HTTPStatus.UNAUTHORIZED:
        return "the Hub does not accept your token; run `hf auth login` with a token that may write, or pass token="
    if status_of(error) == HTTPStatus.FORBIDDEN:
        return "you have no permission to do this; use a repository of your own, or a token that has the permission"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "the Hub's client is offline; unset HF_HUB_OFFLINE"
    if status_of(error) == HTTPStatus.TOO_MANY_REQUESTS:
        return "the Hub limits the rate of requests; try again later, or log in with `hf auth login`"
    if status_of(error) >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return f"the Hub fails with {status_of(error)}; try again later (https://status.huggingface.co)"
    if not (isinstance(error, OSError) or is_transport(error)):
        return "the Hub's answer cannot be understood; try again later"
    return "the Hub could not be reached; try again later"
