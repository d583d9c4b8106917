"""A leaderboard as a dataset repository on the Hub: data that the viewer reads, the page, a card, and its history."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection
from pathlib import Path

from modelselect.errors import InvalidInputError
from modelselect.history.history import History, united
from modelselect.history.recording import Run, kept_keys, results_of
from modelselect.history.records import TABLES
from modelselect.host.host import get_host
from modelselect.host.lookup import added_sections
from modelselect.hub import Repository
from modelselect.leaderboard.map import architecture_map
from modelselect.ranking.ranking import Ranking, record_of
from modelselect.report.account import citations_of, provenance_tables
from modelselect.report.answer import answer_text
from modelselect.report.model_card import summary
from modelselect.report.names import dataset_name
from modelselect.report.page import html, missing
from modelselect.report.subject import Subject
from modelselect.store.files import write_text
from modelselect.utils.text import counted, escaped

BOARD = "leaderboard.json"
TABLE = "leaderboard.parquet"
PAGE = "report.html"
CARD = "README.md"
HISTORY = tuple(f"{table}.parquet" for table in TABLES)
OURS = (BOARD, TABLE, PAGE, CARD, *HISTORY)

HARMLESS = (".gitattributes", ".gitignore", "LICENSE")
"""Files of a repository that do not count as content."""

_WITH_FILE_NAMES = ("skipped", "remarks")
"""Parts of the dataset's provenance that stay out of the card. The board itself has them."""

CARD_ROWS = 30
"""Number of candidates in the card."""

_VIEWS = {"leaderboard": TABLE, "history": "results.parquet"}
"""What the Hub's viewer and `datasets.load_dataset` offer, by name; the first is their default."""


def publish(
    board: Ranking,
    repository: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """See `Leaderboard.push_to_hub`."""
    with tempfile.TemporaryDirectory() as scratch:
        own = history_of(board, Path(scratch) / "board.sqlite")

        def fill(folder: Path, name: str, latest: str) -> None:
            existing = _files(name, latest, token, endpoint)
            if own is not None:
                with united(own, name, latest, token, endpoint) as whole:
                    whole.export(folder)
            write(board, folder, name, existing)

        what = board.best.candidate.unversioned_id if board.ranked else "no candidate ranked"
        message = f"Leaderboard of {counted(len(board.rows), 'candidate')}: {what}"[:200]
        target = Repository(repository, token=token, endpoint=endpoint)
        return target.upload(fill, message, private=private, outdated=(PAGE,))


def fetch(
    repository: str, *, revision: str | None = None, token: str | None = None, endpoint: str | None = None
) -> Path:
    """The leaderboard's file in a dataset repository. See `Leaderboard.from_hub`."""
    folder = Repository(repository, token=token, endpoint=endpoint).fetch([BOARD], revision)
    if not (folder / BOARD).exists():
        raise InvalidInputError(
            f"the dataset repository {repository} holds no {BOARD}; expected a repository that "
            "Leaderboard.push_to_hub() made"
        )
    return folder / BOARD


def history_of(board: Ranking, path: Path) -> History | None:
    """The scores and accuracies of the rows, as a transfer history in a file.

    None if the board holds nothing that a history keeps, or does not name its dataset.
    """
    provenance = board.provenance
    about, settings, methods = (record_of(board, part) for part in ("dataset", "settings", "estimators"))
    fingerprint = provenance.get("fingerprint")
    if not isinstance(fingerprint, str):
        return None
    registered = get_host().estimators
    ranked_by = [name for name in provenance.get("ranked_by", ()) if name in registered and name in methods]
    keys = {name: methods[name]["key"] for name in kept_keys([registered[name] for name in ranked_by])}
    results, facts = results_of(board, fingerprint, Run(keys, settings.get("seed", 0), settings.get("fine_tuning")))
    if not results:
        return None
    history = History(path)
    known = {"name": about.get("name"), "modality": about.get("modality"), "samples": about.get("training_rows")}
    history.describe_dataset(fingerprint, known | {"classes": len(about.get("classes") or ()) or None})
    history.describe_candidates(facts)
    history.record(results)
    return history


def write(board: Ranking, folder: Path, name: str, existing: Collection[str] = ()) -> None:
    """Puts the board, its table, its page (where the extra `report` is installed) and the card into a folder.

    Args:
        board: the leaderboard.
        folder: where the files go; it may hold a history already.
        name: the repository's name.
        existing: names of the files that the repository holds already.
    """
    write_text(folder / BOARD, board.to_json_pieces())
    board.to_pandas().to_parquet(folder / TABLE, index=False)
    if not missing():
        write_text(folder / PAGE, html(Subject(board, architecture_map(board), added=added_sections())))
    held = {path.name for path in folder.iterdir()} | ({*existing} - {PAGE})  # the upload deletes an older page
    (folder / CARD).write_text(card(board, name, held), encoding="utf-8")


def card(board: Ranking, name: str, files: Collection[str]) -> str:
    """The repository's README: what the board says, how to load it, where it comes from; text from outside is escaped.

    Args:
        board: the leaderboard.
        name: the repository's name.
        files: names of the files in the repository.
    """
    views = [(view, file) for view, file in _VIEWS.items() if file in files]
    title = f"Which model to fine-tune on {dataset_name(board)}"
    header = ["---", f"pretty_name: {json.dumps(title)}", "tags:", "- modelselect", "- leaderboard"]
    header += ["- transfer-history"] if "results.parquet" in files else []
    header.append("configs:")
    for view, file in views:
        header += [f"- config_name: {view}", f"  data_files: {file}"]
        header += ["  default: true"] if view == views[0][0] else []
    parts = ["\n".join([*header, "---"]), f"# {escaped(title)}", escaped(" ".join(answer_text(board)))]
    if board.ranked:
        parts.append(summary(board, CARD_ROWS))
    if PAGE in files:
        parts.append(
            f"The whole answer, with charts, is [`{PAGE}`]({PAGE}): one page to download and open in a browser."
        )
    parts.append("## Load it\n\n" + _LOADING.format(name=name))
    if "results.parquet" in files:
        parts.append(_HISTORY_LOADING.format(name=name))
    sections = provenance_tables(board)
    lines = [line for section in ("run", "dataset", "settings") for line in sections.get(section, [])]
    lines = [line for line in lines if line[0] not in _WITH_FILE_NAMES]
    cited = [(key, text) for key, text in citations_of(board).items() if text]
    for heading, entries in (("Provenance", lines), ("Citations", cited)):
        if entries:
            items = "\n".join(f"- {escaped(key)}: {escaped(text)}" for key, text in entries)
            parts.append(f"## {heading}\n\n{items}")
    return "\n\n".join(part.strip() for part in parts) + "\n"


_LOADING = """```python
import modelselect as ms

board = ms.Leaderboard.from_hub("{name}")
```

or the table alone, without modelselect: `datasets.load_dataset("{name}", "leaderboard")`."""

_HISTORY_LOADING = """The measurements also help to choose models for other datasets. To add them to your history, run

```bash
modelselect history import hub:{name}
```"""


def _files(repository: str, revision: str, token: str | None, endpoint: str | None) -> list[str]:
    """Names of the files in a repository. A leaderboard must not replace the card of other content.

    Raises:
        InvalidInputError: the repository holds other files, and no leaderboard.
    """
    files = Repository(repository, token=token, endpoint=endpoint).files(revision)
    others = [file for file in files if file not in (*OURS, *HARMLESS)]
    if others and BOARD not in files:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise InvalidInputError(
            f"the dataset repository {repository} holds something else ({', '.join(others[:3])}{more}), and its card "
            "would be lost; give the name of another repository, or of a new one"
        )
    return files
