"""The atlas: many architectures in one vector space, kept in a file, reused, and extended in place."""

from __future__ import annotations

import collections
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelselect.archi2vec.embedding import by_encoder, vectors_by
from modelselect.archi2vec.tracing import TracingTask
from modelselect.architectures.encoder import Encoder, Space
from modelselect.architectures.graph_json import from_json
from modelselect.architectures.similarity import directions, nearest
from modelselect.candidates.candidate import Candidate
from modelselect.errors import Failure, InvalidInputError, ModelSelectError, UnknownNameError, did_you_mean
from modelselect.executor import Executor, Outcome
from modelselect.host.defaults import DEFAULT_ENCODER
from modelselect.host.host import get_host
from modelselect.host.lookup import architectures
from modelselect.store.files import explained, replacing, user_path
from modelselect.store.store import Store

PATH_VARIABLE = "MODELSELECT_ATLAS"
FORMAT = "modelselect atlas 1"
FEWEST = 3
"""Minimum number of architectures for a map."""

COLOURS = (*(f"C{number}" for number in range(10)), "black", "gold")
"""Colours of the largest families on the map; the others are grey."""


class Atlas:
    """Architectures, their families, and their vectors in one space.

    The first architectures that are added define the space. Later ones are placed in it without moving the earlier
    ones, so that vectors stay comparable over time.

    Args:
        encoder: turns graphs into vectors.

    Attributes:
        names: ids of the architectures, in the order in which they were added.
        families: of the architectures, by their zoos; empty if the zoo gives none.
        vectors: (n, dim) float32.

    >>> import modelselect as ms
    >>> atlas = Atlas()
    >>> atlas.add("embedded:*")
    {}
    >>> atlas.vectors.shape, atlas.nearest("embedded:resnet.letters", 1)[0][0]
    ((12, 128), 'embedded:resnet.textures')
    """

    def __init__(self, encoder: str | Encoder = DEFAULT_ENCODER) -> None:
        self.encoder = get_host().encoder(encoder) if isinstance(encoder, str) else encoder
        self.names: tuple[str, ...] = ()
        self.families: tuple[str, ...] = ()
        self.vectors: NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)
        self._space: Space | None = None
        self._plane: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Atlas:
        """Reads an atlas from a file written by `save`.

        Raises:
            InvalidInputError: the file does not exist, is damaged, or is not an atlas.
            UnknownNameError: the atlas's encoder is not registered.
        """
        from safetensors import SafetensorError, safe_open

        try:
            if Path(path).exists() and not Path(path).is_file():  # a pipe would never end
                raise ValueError("it is no file")
            with safe_open(path, framework="numpy") as file:
                about = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            if about.get("format") != FORMAT:
                raise ValueError(f"the format is {about.get('format')!r}, expected {FORMAT!r}")
            if about.pop("sha256", None) not in (None, _digest(about, arrays)):  # version 0.1.0 wrote no checksum
                raise ValueError("the checksum does not match: the file is damaged")
            atlas = cls(about["encoder"])
            atlas.names, atlas.families = tuple(json.loads(about["names"])), tuple(json.loads(about["families"]))
            if not all(isinstance(name, str) for name in (*atlas.names, *atlas.families)):
                raise ValueError("its names are no texts")
            atlas.vectors = arrays.pop("vectors")
            atlas._plane = arrays.pop("plane", None)
            if not len(atlas.names) == len(atlas.families) == len(atlas.vectors):
                raise ValueError(f"the atlas has {len(atlas.names)} names and {len(atlas.vectors)} vectors")
            if atlas.vectors.ndim != 2 or atlas.vectors.dtype.kind != "f" or not np.isfinite(atlas.vectors).all():
                raise ValueError(f"its vectors are {atlas.vectors.dtype} of the shape {atlas.vectors.shape}")
            if (plane := atlas._plane) is not None and plane.shape != (len(atlas.names), 2):
                raise ValueError(f"its map has the shape {plane.shape}")
            with by_encoder(atlas.encoder):
                atlas._space = atlas.encoder.restore(arrays)
        except UnknownNameError:
            raise
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError, ModelSelectError) as error:
            raise InvalidInputError(
                f"{str(path)!r} is not a readable atlas ({type(error).__name__}: {error}); give a file that "
                "`modelselect embed --atlas` has written, or a new path to write one"
            ) from error
        return atlas

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the atlas into one file, atomically. The file includes the map, which takes seconds to compute.

        Raises:
            InvalidInputError: the atlas is empty.
            StoreError: the file cannot be written.
        """
        from safetensors.numpy import save_file

        if self._space is None:
            raise InvalidInputError("the atlas is empty; add architectures first")
        about = {
            "format": FORMAT,
            "encoder": self.encoder.name,
            "names": json.dumps(self.names),
            "families": json.dumps(self.families),
        }
        arrays = {name: np.ascontiguousarray(array) for name, array in self._space.state().items()}
        if len(self) >= FEWEST:
            arrays["plane"] = self.plane()
        with explained(f"the atlas {path}", "written"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            with replacing(Path(path)) as partial:
                arrays["vectors"] = self.vectors
                save_file(arrays, partial, about | {"sha256": _digest(about, arrays)})

    def add(
        self,
        architectures: str | Candidate | Sequence[str | Candidate],
        *,
        executor: Executor | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        trust_remote_code: bool = False,
        progress: Callable[[str], None] | None = None,
    ) -> dict[str, Failure]:
        """Adds architectures that are missing. The first ones define the space, later ones are placed in it.

        Args:
            architectures: candidate expressions, or candidates. An expression gives each architecture once, also those
                without pre-trained weights.
            executor: where they are traced; None: in this process.
            cache_dir: the store that keeps the graphs, so that a killed run can continue; None for the user's store.
            trust_remote_code: whether candidates may run code from their repositories.
            progress: called with the id of each traced architecture.

        Returns:
            Why an architecture is missing, by id. One failure does not stop the others.

        Raises:
            ExpressionError: an expression is not valid or matches nothing.
            UnknownNameError: no zoo has this name.
        """
        found = {candidate.unversioned_id: candidate for candidate in _candidates(architectures)}
        known = set(self.names)
        new = [candidate for name, candidate in found.items() if name not in known]
        work = TracingTask(Store(cache_dir).path, trust_remote_code)
        graphs, failures = {}, {}
        outcomes = (Outcome.of(work, c) for c in new) if executor is None else executor.map(work, new)
        for outcome in outcomes:
            name = outcome.item.unversioned_id
            if outcome.failure is None:
                graphs[name] = outcome.value
            else:
                failures[name] = outcome.failure
            if progress is not None:
                progress(name)
        added = [candidate for candidate in new if candidate.unversioned_id in graphs]
        if added:
            parsed = [from_json(graphs[candidate.unversioned_id]) for candidate in added]
            known_space = self._space
            if known_space is None:
                with by_encoder(self.encoder):
                    fitted = self.encoder.fit(parsed)
                self.vectors = vectors_by(self.encoder, lambda: fitted.vectors, len(parsed))
                self._space = fitted
            else:
                placed = vectors_by(self.encoder, lambda: known_space.place(parsed), len(parsed))
                self.vectors = np.concatenate([self.vectors, placed])
            self._plane = None
            self.names += tuple(candidate.unversioned_id for candidate in added)
            self.families += tuple(str(candidate.metadata.get("family", "")) for candidate in added)
        return failures

    def nearest(self, name: str, k: int = 5) -> list[tuple[str, float]]:
        """The k architectures nearest to one of the atlas, with their cosine similarities.

        Raises:
            InvalidInputError: the atlas does not have this architecture.
        """
        if name not in self.names:
            raise InvalidInputError(f"the atlas has no {name!r}.{did_you_mean(name, self.names)}")
        return [(self.names[row], cosine) for row, cosine in nearest(self.vectors, self.names.index(name), k)]

    def family_purity(self) -> dict[str, tuple[int, float]]:
        """For each family with two or more members: its size, and the share of members whose nearest is of the family.

        The last entry, "all", is for all these architectures together.
        """
        from sklearn.neighbors import NearestNeighbors

        sizes = collections.Counter(family for family in self.families if family)
        members = [row for row, family in enumerate(self.families) if sizes[family] > 1]
        if not members:
            return {}
        units = directions(self.vectors)
        _, rows = NearestNeighbors(n_neighbors=2).fit(units).kneighbors(units[members])
        pure: dict[str, list[bool]] = collections.defaultdict(list)
        for row, near in zip(members, rows.tolist(), strict=True):
            other = near[1] if near[0] == row else near[0]
            pure[self.families[row]].append(self.families[other] == self.families[row])
        answer = {family: (sizes[family], float(np.mean(hits))) for family, hits in sorted(pure.items())}
        return answer | {"all": (len(members), float(np.mean([hit for hits in pure.values() for hit in hits])))}

    def plane(self) -> NDArray[np.float64]:
        """(n, 2) the map of the atlas, which keeps neighbours together: t-SNE of the directions, initialised by PCA.

        Computed once, and kept in the file.

        Raises:
            InvalidInputError: fewer than three architectures.
        """
        from sklearn.manifold import TSNE

        if len(self) < FEWEST:
            raise InvalidInputError(
                f"a map needs at least {FEWEST} architectures, but the atlas has {len(self)}; add more"
            )
        if self._plane is None:
            perplexity = min(30.0, (len(self) - 1) / 3)
            flatten = TSNE(
                perplexity=perplexity, init="pca", learning_rate="auto", random_state=0, method="barnes_hut"
            ).fit_transform
            self._plane = np.asarray(flatten(directions(self.vectors)), dtype=np.float64)
        return self._plane

    def draw(self, path: str | os.PathLike[str]) -> None:
        """Writes a picture of the map, coloured by family, as `.svg`, `.png` or `.pdf` by the file's suffix.

        Raises:
            InvalidInputError: matplotlib is missing, the atlas is too small, or the suffix is none of these.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise InvalidInputError(
                f"a map needs matplotlib ({error}); install it with: pip install 'modelselect-automl[plots]'"
            ) from error
        flat = self.plane()
        sizes = collections.Counter(family for family in self.families if family)
        named = [family for family, _ in sizes.most_common(len(COLOURS))]
        figure = Figure(figsize=(10, 8), layout="constrained")
        axes = figure.subplots()
        families = np.array(self.families)
        others = ~np.isin(families, named)
        for chosen, colour, label in [
            (others, "0.75", f"{len(sizes) - len(named)} other families"),
            *((families == f, colour, f"{f} ({sizes[f]})") for f, colour in zip(named, COLOURS, strict=False)),
        ]:
            axes.scatter(flat[chosen, 0], flat[chosen, 1], s=10, color=colour, label=label)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"{len(self)} architectures; similar ones are near each other")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        try:
            with explained(f"the map {path}", "written"):
                figure.savefig(path, dpi=120, metadata={"Date": None} if str(path).endswith(".svg") else None)
        except ValueError as error:
            raise InvalidInputError(
                f"the map cannot be written as {Path(path).suffix!r}; give .png, .svg or .pdf"
            ) from error


def _digest(about: Mapping[str, str], arrays: Mapping[str, NDArray[Any]]) -> str:
    """The SHA-256 of everything in the file."""
    digest = hashlib.sha256(json.dumps(dict(about), sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def default_path() -> Path:
    """MODELSELECT_ATLAS, else `modelselect/atlas.safetensors` in XDG_DATA_HOME, else in `~/.local/share`."""
    return user_path(PATH_VARIABLE, "data", "atlas.safetensors")


def _candidates(given: str | Candidate | Sequence[str | Candidate]) -> Iterator[Candidate]:
    for item in [given] if isinstance(given, str | Candidate) else given:
        if isinstance(item, Candidate):
            yield item
        else:
            yield from architectures([item])
