"""The winner, fine-tuned: kept in the store, loaded ready to use, and written as a folder that its library loads."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelselect.backbone import Backbone, HeadInput
from modelselect.candidates import Candidate
from modelselect.errors import CandidateError, InvalidInputError
from modelselect.store import Store
from modelselect.verification.recipe import METHODS

if TYPE_CHECKING:
    import torch

    from modelselect.backbone import Reader
    from modelselect.leaderboard import Row

KIND = "fine_tuned"
"""Of the store's entries that hold fine-tuned weights."""

CONFIGURATION = "config.json"
WEIGHTS = "model.safetensors"
ORIGIN = "fine_tuned_from"
"""In the configuration of a folder that only the `directory` zoo loads: the id of the candidate it came from."""

_BODY, _HEAD = "body.", "head."


@dataclass(frozen=True)
class FineTuned:
    """Fine-tuned weights, and what they are for.

    Attributes:
        weights: `head.weight` (classes, D), `head.bias` (classes,), and, unless only the head was trained, those of the
            backbone by their names behind `body.`.
        class_names: of the logits, in order.
        method: what was trained; see `METHODS`.
    """

    weights: Mapping[str, Any]
    class_names: tuple[str, ...]
    method: str

    @classmethod
    def of(cls, key: str, places: Sequence[str | os.PathLike[str] | None]) -> FineTuned:
        """From the first of these stores that holds them.

        Raises:
            CandidateError: none does.
        """
        stores = [Store(place) for place in dict.fromkeys(places)]
        for store in stores:
            if (entry := store.get(key)) is not None:
                return cls(entry.arrays, tuple(entry.metadata["class_names"]), entry.metadata["method"])
        raise CandidateError(
            f"its fine-tuned weights ({key}) are not in {' or '.join(str(store.path) for store in stores)}: they were "
            "evicted, or it was fine-tuned on another machine. Run select() again with the same arguments, give the "
            "folder with cache_dir=, or take the pre-trained weights with load(fine_tuned=False)."
        )

    def put_into(self, module: torch.nn.Module) -> None:
        """Gives the backbone's weights to its module.

        Raises:
            CandidateError: they are not this module's.
        """
        body = {name.removeprefix(_BODY): value for name, value in self.weights.items() if name.startswith(_BODY)}
        if not body:
            return
        try:
            module.load_state_dict({name: _tensor(value) for name, value in body.items()})
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise CandidateError(
                f"its fine-tuned weights do not fit the module that its zoo loads ({reason})"
            ) from error

    def head(self) -> torch.nn.Linear:
        """The linear head, from (N, D) features to (N, classes) logits."""
        import torch

        weight, bias = (_tensor(self.weights[f"{_HEAD}{name}"]) for name in ("weight", "bias"))
        head = torch.nn.Linear(weight.shape[1], weight.shape[0])
        head.load_state_dict({"weight": weight, "bias": bias})
        return head.eval()

    def on(self, backbone: Backbone, weights_key: str) -> Backbone:
        """The backbone fine-tuned, under its head: its module gives logits of `class_names`. Takes its module over."""
        self.put_into(backbone.module)
        module = classifier(backbone.module, backbone.read, self.head())
        return Backbone(
            backbone.candidate,
            module,
            backbone.preprocessing,
            HeadInput("head"),
            weights_key,
            class_names=self.class_names,
        )


def classifier(body: torch.nn.Module, read: Reader, head: torch.nn.Linear) -> torch.nn.Module:
    """A module that gives (N, classes) logits for a batch as the body takes it."""
    import torch

    class Classifier(torch.nn.Module):
        """A head on the features that are read from a body."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = body, head

        def forward(self, batch: Any) -> torch.Tensor:
            logits: torch.Tensor = self.head(read(self.body, batch).features)
            return logits

    return Classifier().eval()


def write(tuned: FineTuned, candidate: Candidate, path: Path, *, trust_remote_code: bool = False) -> None:
    """A folder with the fine-tuned model, as its library loads it where it has such a form, else as our own zoo does.

    Raises:
        CandidateError: the candidate cannot be loaded to be put together with its fine-tuned weights.
        InvalidInputError: there is something at `path` already, or it cannot be written.
    """
    from modelselect.host import get_host
    from modelselect.modules import ModuleZoo

    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InvalidInputError(f"there is something at {str(path)!r} already; give a new folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as scratch:
            folder = Path(scratch) / path.name
            folder.mkdir()
            written = False
            if candidate.zoo != ModuleZoo.name:
                zoo = get_host().zoo(candidate.zoo)
                backbone = zoo.load(candidate, trust_remote_code=trust_remote_code)
                tuned.put_into(backbone.module)
                written = zoo.export(backbone, tuned.head(), tuned.class_names, folder)
            if not written:
                _write_ours(tuned, candidate, folder)
            for file in filter(Path.is_file, folder.rglob("*")):  # safetensors lets the owner alone read what it writes
                shutil.copymode(folder / CONFIGURATION, file)
            if path.exists():
                path.rmdir()
            shutil.move(folder, path)
    except OSError as error:
        raise InvalidInputError(f"cannot write {str(path)!r}: {error.strerror}. Give a writable path.") from error


def publish(
    tuned: FineTuned,
    row: Row,
    repository: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    trust_remote_code: bool = False,
) -> str:
    """See `Row.push_to_hub`."""
    from modelselect import hub

    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / "model"
        write(tuned, row.candidate, written, trust_remote_code=trust_remote_code)
        configuration = json.loads((written / CONFIGURATION).read_bytes())

        def fill(folder: Path, name: str, _: str) -> None:
            shutil.copytree(written, folder, dirs_exist_ok=True)
            (folder / "README.md").write_text(card(row, tuned, configuration, name), encoding="utf-8")

        message = f"{row.candidate.unversioned_id}, fine-tuned"[:200]
        return hub.upload(repository, fill, message, kind="model", private=private, token=token)


def card(row: Row, tuned: FineTuned, configuration: Mapping[str, Any], name: str) -> str:
    """The repository's README: what it tells apart, how well, how to load it; text from outside is escaped.

    Args:
        row: of the leaderboard.
        tuned: what is published.
        configuration: of the folder that was written.
        name: of the repository.
    """
    from modelselect.report.text import escaped

    task = "text-classification" if row.candidate.metadata.get("modality") == "text" else "image-classification"
    library = "timm" if "architecture" in configuration else "transformers" if "model_type" in configuration else None
    header = ["---", "tags:", "- modelselect"]
    header += [f"- {library}\nlibrary_name: {library}\npipeline_tag: {task}"] if library else []
    if re.fullmatch(r"[\w.-]+", licence := str(row.candidate.metadata.get("license", ""))):
        header.append(f"license: {licence}")
    if base := _base_model(row.candidate):
        header.append(f"base_model: {json.dumps(base)}")
    told = [
        f"{escaped(row.candidate.id)}, fine-tuned ({METHODS[tuned.method]}) to tell {len(tuned.class_names)} classes "
        "apart."
    ]
    if row.verified_accuracy is not None and row.verified_interval is not None:
        low, high = row.verified_interval
        told.append(
            f"Accuracy on held-out rows, which decided nothing in training: {row.verified_accuracy:.1%} "
            f"(95% interval {low:.1%} to {high:.1%})."
        )
    parts = [
        "\n".join([*header, "---"]),
        f"# {escaped(name)}",
        " ".join(told),
        "## Classes\n\n" + "\n".join(f"{i}. {escaped(label)}" for i, label in enumerate(tuned.class_names)),
        "## Load it\n\n```python\n" + _loading(library, task, name) + "\n```",
        "Chosen and fine-tuned with modelselect.",
    ]
    return "\n\n".join(parts) + "\n"


def _loading(library: str | None, task: str, name: str) -> str:
    if library == "timm":
        return f'import timm\n\nmodel = timm.create_model("hf-hub:{name}", pretrained=True).eval()'
    if library == "transformers":
        return f'from transformers import pipeline\n\nclassify = pipeline("{task}", model="{name}")'
    return (
        "import huggingface_hub\n\nimport modelselect as ms\n\n"
        f'folder = huggingface_hub.snapshot_download("{name}")\n'
        '(candidate,) = ms.search(f"dir:{folder}")'
    )


def _base_model(candidate: Candidate) -> str | None:
    """Its repository on the Hub, where it has one."""
    url = str(candidate.metadata.get("url", ""))
    name = url.removeprefix("https://huggingface.co/")
    if candidate.zoo == "hub":
        return candidate.name.split("?")[0]
    return name if name != url and re.fullmatch(r"[\w.-]+/[\w.-]+", name) else None


def _write_ours(tuned: FineTuned, candidate: Candidate, folder: Path) -> None:
    from safetensors.numpy import save_file

    save_file({name: np.array(value) for name, value in tuned.weights.items()}, folder / WEIGHTS)
    configuration = {
        ORIGIN: candidate.id,
        "num_classes": len(tuned.class_names),
        "num_features": tuned.weights[f"{_HEAD}weight"].shape[1],
        "label_names": list(tuned.class_names),
        "method": tuned.method,
        "license": candidate.metadata.get("license"),
    }
    text = json.dumps({key: value for key, value in configuration.items() if value is not None}, indent=2)
    (folder / CONFIGURATION).write_text(text + "\n", encoding="utf-8")


def _tensor(value: Any) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.array(value))
