"""`modelselect features`: what candidates say about a dataset, as arrays in a file or as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelselect.cli.options import JsonFlag, VerboseFlag, meant, with_settings
from modelselect.evaluation.keywords import FeatureKeywords

if TYPE_CHECKING:
    from modelselect.candidates.candidate import Candidate
    from modelselect.evidence.evidence import Evidence

SUFFIX = ".npz"
_ARRAYS = ("features", "source_probabilities", "source_features", "source_labels")


@with_settings(FeatureKeywords)
def features(
    dataset: Annotated[str, typer.Argument(help="A folder of class folders, or the id of a dataset on the Hub.")],
    candidates: Annotated[list[str], typer.Argument(help="'timm:resnet18', 'dir:models/*', ...")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the arrays into this file: .npz.", show_default=False),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the features in the plane, coloured by class: figure.png.", show_default=False),
    ] = None,
    plane: Annotated[str, typer.Option(help="The map of --plot: tsne, or umap if it is installed.")] = "tsne",
    as_json: JsonFlag = False,
    verbose: VerboseFlag = False,
    **options: Any,
) -> None:
    """Compute features of a dataset, as select does."""
    from modelselect.cli.terminal import check_plot, check_writable, note, print_listing
    from modelselect.errors import InvalidInputError
    from modelselect.evaluation import features as evaluation
    from modelselect.report.names import short_names
    from modelselect.report.plots import check_plane, features_in_the_plane

    if output is not None and output.suffix != SUFFIX:
        raise InvalidInputError(f"--output {str(output)!r} ends in {output.suffix!r}; expected {SUFFIX}")
    check_writable(output, "--output")
    check_plot(plot)
    check_plane(plane)
    settings = meant(options, FeatureKeywords)
    wanted = (*evaluation.USUAL_FIELDS, *(("source_features", "source_labels") if "source" in settings else ()))
    found = evaluation.features(dataset, list(candidates), fields=wanted, **settings)
    shown = dict(zip(short_names([_candidate(key) for key in found]), found.values(), strict=True))
    if output is not None:
        _write(output, shown)
        note(f"arrays written to {output}", settings)
    if plot is not None:
        features_in_the_plane(shown, plane, settings.get("seed", 0)).savefig(plot, dpi=110)
        note(f"plot written to {plot}", settings)
    listed = [{"candidate": key, **_shapes(evidence)} for key, evidence in found.items()]
    print_listing(listed, ["candidate", "rows", "feature_dim", "source_classes"], as_json)


def _candidate(key: str) -> Candidate:
    """The candidate of an id, `zoo:name[@revision]`."""
    from modelselect.candidates.candidate import Candidate

    zoo, _, rest = key.partition(":")
    name, _, revision = rest.partition("@")
    return Candidate(zoo, name, revision or None)


def _shapes(evidence: Evidence) -> dict[str, int | None]:
    features, probabilities = evidence.features, evidence.source_probabilities
    return {
        "rows": evidence.n_rows,
        "feature_dim": None if features is None else features.shape[1],
        "source_classes": None if probabilities is None else probabilities.shape[1],
    }


def _write(path: Path, found: dict[str, Evidence]) -> None:
    """Writes the arrays: `labels`, and `features` and others; of several candidates as `NAME/features`."""
    import numpy as np

    from modelselect.errors import InvalidInputError
    from modelselect.store.files import replacing

    arrays: dict[str, Any] = {}
    for name, evidence in found.items():
        if evidence.labels is not None:
            arrays["labels"] = evidence.labels
        before = f"{name}/" if len(found) > 1 else ""
        arrays |= {before + field: a for field in _ARRAYS if (a := getattr(evidence, field)) is not None}
    try:
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        raise InvalidInputError(f"cannot write {str(path)!r}: {error.strerror}. Give a writable path.") from error
