"""The files of a dataset on the Hub, before `datasets` decodes them: they are what the Hub lists, and they fit here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from modelselect.errors import DatasetError
from modelselect.probe.dataset_folders import CARDS, DESCRIPTIONS, LARGEST_DESCRIPTION, check_cards, check_json
from modelselect.probe.sizes import check_parquet
from modelselect.utils.digests import digest, sha1
from modelselect.utils.downloads import hub_blobs, while_it_grows

_AT_ONCE = 1000
"""Files that `datasets` is asked for at a time; it downloads 16 of them side by side."""

_DIGEST = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def check_description(name: str) -> None:
    """Fetches and checks the files in which a dataset describes itself, which `datasets` reads whole.

    Args:
        name: of the dataset. Where the Hub does not give the files, `datasets` will say why.

    Raises:
        DatasetError: one is too large, or names files elsewhere.
        Exception: of YAML, for a description that is damaged.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="datasets")
    try:
        listed = api.get_paths_info(name, list(DESCRIPTIONS), repo_type="dataset")
        sizes = {each.path: getattr(each, "size", 0) for each in listed}
    except Exception:
        return
    for file, size in sizes.items():
        if size > LARGEST_DESCRIPTION:
            raise DatasetError(
                f"{file} of {name!r} has {size:,} bytes; expected at most {LARGEST_DESCRIPTION:,}. Download the "
                "dataset's tables, and give their folder."
            )
    try:
        cards = [Path(api.hf_hub_download(name, file, repo_type="dataset")) for file in CARDS if file in sizes]
    except Exception:
        return
    for folder in {card.parent for card in cards}:
        check_cards(folder)


def fetch_files(name: str, builder: Any) -> None:
    """Downloads the files that a builder of `datasets` will decode, and checks them, unless they are decoded already.

    Args:
        name: of the dataset.
        builder: that of `datasets`, which downloads without a check, and finds the files in the client's cache then.

    Raises:
        DatasetError: a file arrived damaged, and is removed from the cache; or the rows do not fit into memory or on
            the disk; or a file is JSON that the parser of Arrow does not survive.
        TimeoutError: no more bytes arrive.
    """
    import datasets

    if Path(builder.cache_dir).is_dir():
        return
    named = [url for urls in (builder.config.data_files or {}).values() for url in urls]
    urls = [url for url in dict.fromkeys(map(str, named)) if url.startswith("hf://")]
    if not urls:
        return
    manager = datasets.DownloadManager(download_config=datasets.DownloadConfig(token=builder.token))
    kept = hub_blobs("dataset", name)
    files: list[Path] = []
    for start in range(0, len(urls), _AT_ONCE):
        wanted = urls[start : start + _AT_ONCE]
        files += map(Path, while_it_grows(lambda wanted=wanted: manager.download(wanted), kept))  # type: ignore[misc]
    for url, file in zip(urls, files, strict=True):
        _check_digest(name, url, file)
        if file.name.lower().endswith((".json", ".jsonl", ".json.gz", ".jsonl.gz")):
            check_json(file)
    if packed := [file for file in files if file.suffix.lower() == ".parquet"]:
        check_parquet(packed, builder)


def _check_digest(name: str, url: str, file: Path) -> None:
    """Raises DatasetError for a file that is not as listed. The client's cache calls its content by its digest."""
    content = file.resolve()
    listed = content.name
    if content.parent.name != "blobs" or not _DIGEST.fullmatch(listed):
        return
    if (found := digest(content, listed)) == listed or sha1(content) == listed:  # as some mirrors list them
        return
    content.unlink(missing_ok=True)
    file.unlink(missing_ok=True)
    raise DatasetError(
        f"the file {url.partition('@')[2].partition('/')[2] or url} of {name!r} arrived damaged: its digest is "
        f"{found[:12]}..., but the Hub lists {listed[:12]}.... Run again; if the error stays, something between this "
        "machine and the Hub changes files."
    )
