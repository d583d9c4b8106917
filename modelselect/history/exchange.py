"""The history as Parquet files, in a folder or in a dataset repository on the Hub."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelselect.errors import HistoryError, InvalidInputError
from modelselect.history.database import TABLES, Added, History, Result, impossible, row_of

if TYPE_CHECKING:
    import pandas as pd

Row = tuple[Any, ...]

_ATTEMPTS = 5
"""How often an upload is tried that others keep forestalling."""

_CARD = """---
tags:
- modelselect
- transfer-history
configs:
- config_name: results
  data_files: results.parquet
---

# A transfer history

{results:,} results of {candidates:,} pre-trained models on {datasets:,} datasets: accuracies after fine-tuning (metric
`accuracy`, from 0 to 1) and transferability scores (metric: the estimator's name; higher is better). Written by
modelselect, which reads it with `modelselect history import`.
"""


def write_parquet(history: History, folder: Path) -> Path:
    """One Parquet file for each table, and a card. Equal histories give equal rows in equal order."""
    import pandas as pd

    summary = history.summary()
    with _explained(folder, "written"):
        folder.mkdir(parents=True, exist_ok=True)
        for table, columns in TABLES.items():
            frame = pd.DataFrame(history.rows(table), columns=list(columns))
            frame.to_parquet(folder / f"{table}.parquet", index=False)
        (folder / "README.md").write_text(_CARD.format(**summary), encoding="utf-8")
    return folder


def read_parquet(folder: Path) -> tuple[dict[str, list[Row]], dict[str, int]]:
    """The rows of each table, and how many results were rejected, by reason. Ids are computed anew, never believed.

    Raises:
        InvalidInputError: no history is there, or a file is not what `write_parquet` writes.
    """
    if not (folder / "results.parquet").is_file():
        raise InvalidInputError(
            f"{str(folder)!r} holds no results.parquet; expected a folder that `modelselect history export` wrote"
        )
    tables = {table: _table(folder / f"{table}.parquet", columns) for table, columns in TABLES.items()}
    rejected: dict[str, int] = {}
    results = []
    for row in tables["results"]:
        result = _result(row, folder)
        if (reason := impossible(result)) is not None:
            rejected[reason] = rejected.get(reason, 0) + 1
        else:
            results.append(row_of(result))
    return {**tables, "results": results}, rejected


def publish(history: History, repository: str, private: bool | None, token: str | None) -> str:
    """Uploads the union of the history and of what the repository holds, whoever else uploads meanwhile."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as scratch, _hub(repository):
        folder = Path(scratch)
        whole = History(folder / "whole.sqlite")
        whole.merge(history)
        api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        for left in reversed(range(_ATTEMPTS)):
            latest = api.repo_info(repository, repo_type="dataset").sha
            with contextlib.suppress(InvalidInputError):  # a repository without a history yet
                fetch(whole, repository, latest, token)
            try:
                commit = api.upload_folder(
                    repo_id=repository,
                    repo_type="dataset",
                    folder_path=whole.export(folder / "parquet"),
                    commit_message=f"Transfer history: {whole.summary()['results']} results",
                    parent_commit=latest,
                )
            except HfHubHTTPError as error:
                if left and error.response is not None and error.response.status_code == HTTPStatus.PRECONDITION_FAILED:
                    continue  # somebody else was first: add theirs, and try again
                raise
            return str(commit.commit_url)
    raise AssertionError("the last attempt returns or raises")


def fetch(history: History, repository: str, revision: str | None, token: str | None) -> Added:
    """Adds what the repository holds."""
    from huggingface_hub import snapshot_download

    names = [f"{table}.parquet" for table in TABLES]
    with _hub(repository):
        folder = snapshot_download(
            repository, repo_type="dataset", revision=revision, allow_patterns=names, token=token
        )
    return history.load(folder)


def _table(path: Path, columns: Sequence[str]) -> list[Row]:
    import pandas as pd

    if not path.exists():
        return []
    with _explained(path, "read"):
        try:
            frame: pd.DataFrame = pd.read_parquet(path)
        except (ValueError, ArithmeticError) as error:  # pyarrow's own errors among them
            raise InvalidInputError(f"{path.name} is no Parquet file ({error}); export the history again") from error
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise InvalidInputError(
            f"{path.name} has the columns {', '.join(map(str, frame.columns))}; it lacks {', '.join(missing)}"
        )
    return list(frame[list(columns)].itertuples(index=False, name=None))


def _result(row: Row, folder: Path) -> Result:
    import json

    _, candidate, dataset, metric, value, settings, provenance, recorded = row
    try:
        number = float(value) if isinstance(value, (int, float)) else math.nan
        return Result(
            str(candidate), str(dataset), str(metric), number, json.loads(settings), json.loads(provenance), recorded
        )
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"results.parquet in {str(folder)!r} has settings or provenance that are no JSON ({error})"
        ) from error


@contextlib.contextmanager
def _explained(path: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HistoryError(f"{path} cannot be {verb}: {error.strerror or error}. Choose another folder.") from error


@contextlib.contextmanager
def _hub(repository: str) -> Iterator[None]:
    """What the Hub and its client say, as one HistoryError that says what to do."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    try:
        yield
    except HFValidationError as error:
        raise InvalidInputError(f"{repository!r} is no dataset repository; expected 'owner/name'") from error
    except GatedRepoError as error:
        raise HistoryError(f"the dataset repository {repository} is gated; ask for access on its page") from error
    except RepositoryNotFoundError as error:
        raise HistoryError(
            f"there is no dataset repository {repository} on the Hub, or you may not see it; check its name, or run "
            "`hf auth login`"
        ) from error
    except OSError as error:
        reason = " ".join(str(error).split())
        status = error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else 0
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            advice = "you may not do that there; run `hf auth login` with a token that may write"
        else:
            advice = "it could not be reached; try again later"
        raise HistoryError(f"the dataset repository {repository}: {advice} ({reason})") from error
