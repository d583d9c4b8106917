"""The model card of a fine-tuned winner, and its upload."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from modelselect.candidates.candidate import Candidate
from modelselect.hub import SIGNATURE, Repository
from modelselect.probe.rows import ARRAY, AUDIO, IMAGE, TEXT
from modelselect.ranking.row import RankedCandidate
from modelselect.utils.target_kinds import BOX, CLASSES, LABEL_SETS, RELEVANCE, ROW
from modelselect.utils.text import escaped, listed
from modelselect.verification.export import CONFIGURATION, DIRECTORY, write
from modelselect.verification.fine_tuned import FineTuned
from modelselect.verification.recipe import METHODS
from modelselect.verification.signature import Signature

_PIPELINES = {
    ARRAY: "image-classification",
    AUDIO: "audio-classification",
    IMAGE: "image-classification",
    TEXT: "text-classification",
}
"""The Hub's name of the task of a classifier, by what it takes."""

_EXAMPLES = {ARRAY: "array", AUDIO: '"sound.wav"', IMAGE: '"photo.jpg"', TEXT: '"a text"'}


def publish(
    tuned: FineTuned,
    row: RankedCandidate,
    repository: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    trust_remote_code: bool = False,
) -> str:
    """See `Row.push_to_hub`."""
    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / "model"
        write(tuned, row.candidate, written, trust_remote_code=trust_remote_code)
        configuration = json.loads((written / CONFIGURATION).read_bytes())
        described = json.loads((written / SIGNATURE).read_bytes()) | {"candidate": _public_id(row.candidate)}
        (written / SIGNATURE).write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

        def fill(folder: Path, name: str, _: str) -> None:
            shutil.copytree(written, folder, dirs_exist_ok=True)
            (folder / "README.md").write_text(card(row, tuned, configuration, name), encoding="utf-8")

        message = f"{row.candidate.unversioned_id}, fine-tuned"[:200]
        return Repository(repository, "model", token).upload(fill, message, private=private)


def card(row: RankedCandidate, tuned: FineTuned, configuration: Mapping[str, Any], name: str) -> str:
    """The repository's README: classes, accuracy, and how to load the model; text from outside is escaped.

    Args:
        row: the candidate on the leaderboard.
        tuned: the fine-tuned weights.
        configuration: the configuration in the folder that was written.
        name: the repository.
    """
    signature = tuned.signature_for(row.candidate)
    library = "timm" if "architecture" in configuration else "transformers" if "model_type" in configuration else None
    header = ["---", "tags:", "- modelselect"]
    header += [f"- {library}\nlibrary_name: {library}"] if library else []
    if library and (pipeline := _pipeline(signature)):
        header.append(f"pipeline_tag: {pipeline}")
    if re.fullmatch(r"[\w.-]+", licence := str(row.candidate.metadata.get("license", ""))):
        header.append(f"license: {licence}")
    if base := _base_model(row.candidate):
        header.append(f"base_model: {json.dumps(base)}")
    of_classes = signature.target_kind == CLASSES
    outputs = "Classes" if of_classes else "Outputs"
    aim = f"to distinguish {len(tuned.class_names)} classes" if of_classes else f"for {listed(tuned.class_names, 10)}"
    names = [f"{i}. {escaped(label)}" for i, label in enumerate(tuned.class_names)]
    if signature.target_kind == RELEVANCE:
        aim = "to find the documents that are relevant to a query"
        names = [f"An embedding of {len(names):,} numbers. A document is near to a query by the cosine of both."]
    sentences = [f"{escaped(_public_id(row.candidate))}, fine-tuned ({METHODS[tuned.method]}) {aim}."]
    if row.verified_accuracy is not None and row.verified_interval is not None and of_classes and signature.unit == ROW:
        low, high = row.verified_interval
        sentences.append(
            f"Accuracy on held-out rows, which training did not use: {row.verified_accuracy:.1%} "
            f"(95% interval {low:.1%} to {high:.1%}; guessing gives {1 / len(tuned.class_names):.0%})."
        )
    parts = [
        "\n".join([*header, "---"]),
        f"# {escaped(name)}",
        " ".join(sentences),
        f"## {outputs}\n\n" + "\n".join(names),
        "## Load it\n\n```python\n" + _loading(library, signature, name) + "\n```",
        "Chosen and fine-tuned with modelselect.",
    ]
    return "\n\n".join(parts) + "\n"


def _pipeline(signature: Signature) -> str | None:
    """The Hub's name of the task; None for numbers, for which it has none."""
    if signature.target_kind in (CLASSES, LABEL_SETS):
        return _PIPELINES[signature.modality]
    if signature.target_kind == RELEVANCE:
        return "sentence-similarity" if signature.modality == TEXT else "image-feature-extraction"
    return None


def _loading(library: str | None, signature: Signature, name: str) -> str:
    use = f"print(model.predict({_EXAMPLES[signature.modality]}))"
    if signature.unit == BOX:
        use = "backbone = model.module.body  # for a detector"
    ours = f'import modelselect as ms\n\nmodel = ms.load("{name}")\n{use}'
    if library == "timm":
        return f'{ours}\n\n# or\nimport timm\n\nmodel = timm.create_model("hf-hub:{name}", pretrained=True).eval()'
    if library == "transformers" and signature.target_kind in (CLASSES, LABEL_SETS):
        task = _pipeline(signature)
        return f'{ours}\n\n# or\nfrom transformers import pipeline\n\nclassify = pipeline("{task}", model="{name}")'
    return ours


def _public_id(candidate: Candidate) -> str:
    """The candidate's id; of a folder here, without the folders above it, which are nobody else's business."""
    if candidate.zoo != DIRECTORY:
        return candidate.id
    return replace(candidate, name=PurePath(candidate.name).name).id


def _base_model(candidate: Candidate) -> str | None:
    """The candidate's repository on the Hub; None if there is none."""
    url = str(candidate.metadata.get("url", ""))
    name = url.removeprefix("https://huggingface.co/")
    if candidate.zoo == "hub":
        return candidate.name.split("?")[0]
    return name if name != url and re.fullmatch(r"[\w.-]+/[\w.-]+", name) else None
