"""Every public name, where it is documented, and in what words: for `docs/generate.py` and for the site's API pages.

The names are those of the faces, the packages with an `__init__.pyi`. What is said of a name is its docstring. A page
of the API reference holds a group of names. It is written when the site is built, and never committed.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from modelselect import errors
from modelselect.host import hookspecs

PACKAGE = Path(inspect.getfile(errors)).parent
FRONT = PACKAGE.name
HOOKS = f"{FRONT}.host.hookspecs"
ERRORS = f"{FRONT}.errors"


MODULES: Mapping[str, tuple[str, ...]] = {
    f"{FRONT}.candidates.text_classifier": ("TextClassifier", "prompts_for"),
    f"{FRONT}.estimators.estimator": ("Recaller",),
    f"{FRONT}.estimators.posterior": (
        "normal_scores",
        "Piece",
        "Pool",
        "Posterior",
        "posterior",
        "remeasured",
        "Weigher",
    ),
    f"{FRONT}.extraction.torch_extractor": ("TorchExtractor",),
}
"""Public names of modules that are no face: what few authors of plugins need."""


class Group(NamedTuple):
    """A page of the API reference.

    Attributes:
        title: of the page.
        about: what the names have in common, one sentence.
        names: of `modelselect`; those of another face have its name before them.
        faces: whose names are also here, where no other page has them.
    """

    title: str
    about: str
    names: tuple[str, ...] = ()
    faces: tuple[str, ...] = ()


GROUPS: Mapping[str, Group] = {
    "select": Group(
        "Rank candidates",
        "What ranks candidates for a dataset, or says what that would cost.",
        ("select", "plan", "Plan", "search", "pools", "Budget"),
    ),
    "leaderboard": Group(
        "The leaderboard", "The answer of `select()`.", ("Leaderboard",), faces=("modelselect.leaderboard",)
    ),
    "scores": Group(
        "Scores and agreement",
        "Estimators on arrays, and how well two rankings agree.",
        ("features", "score", "score_pool", "standard_error", "Evidence", "agreement", "Agreement"),
    ),
    "tasks": Group(
        "Tasks",
        "What is to be predicted, how fine-tuning is judged, and which estimators apply.",
        ("Task",),
        faces=("modelselect.tasks",),
    ),
    "benchmark": Group("Benchmarks", "Estimators compared with known fine-tuning results.", ("benchmark", "Benchmark")),
    "reproduce": Group(
        "Published experiments",
        "Experiments of papers, run by name.",
        ("reproduce", "Reproduction"),
        faces=("modelselect.protocols",),
    ),
    "candidates": Group(
        "Candidates",
        "Models that can be chosen, and what one is once it is loaded.",
        ("Candidate", "Backbone"),
        faces=("modelselect.candidates",),
    ),
    "data": Group(
        "Probe and store",
        "The sample of the dataset, and what was computed from it.",
        ("Probe",),
        faces=("modelselect.probe", "modelselect.store"),
    ),
    "verification": Group(
        "Fine-tuning",
        "What measures accuracy, and the model that comes of it.",
        ("FineTuning", "load"),
        faces=("modelselect.verification",),
    ),
    "history": Group("The transfer history", "Results of earlier runs.", ("History",), faces=("modelselect.history",)),
    "archi2vec": Group("Architectures", "Architectures as graphs and as vectors.", faces=("modelselect.archi2vec",)),
    "plugins": Group(
        "Base classes of plugins",
        "What an author of a plugin derives from, and the host that loads plugins.",
        ("Zoo", "Estimator", "Extractor", "Executor", "Outcome", "hookimpl", "CONTRACT"),
        faces=("modelselect.estimators", "modelselect.report", "modelselect.host", "modelselect.cli", *MODULES),
    ),
    "hooks": Group("Hooks in detail", "The functions that a plugin may implement, each with an example."),
    "testing": Group(
        "Checks for plugins",
        "A kit for authors of plugins: a template, named checks, test classes.",
        faces=("modelselect.testing", "modelselect.template"),
    ),
    "errors": Group("Exceptions", "What modelselect raises on purpose."),
}
"""The pages in the order of the navigation, by file name."""


def faces() -> dict[str, list[str]]:
    """The public names of every face, without the faces that another hands on, and of `MODULES`."""
    stubs = sorted(PACKAGE.rglob("__init__.pyi"))
    known = [".".join(stub.parent.relative_to(PACKAGE.parent).parts) for stub in stubs]
    listed = {face: sorted(importlib.import_module(face).__all__, key=str.lower) for face in known}
    return dict(sorted((listed | {module: list(names) for module, names in MODULES.items()}).items()))


def about(face: str) -> str:
    """The first sentence of a face's docstring."""
    return summary(*face.rpartition(".")[::2]) if "." in face else "What `import modelselect as ms` offers."


def grouped() -> dict[str, list[str]]:
    """The full names on each page, each name on one page alone.

    Raises:
        ValueError: a public name is on no page, or a page has a name that is not public.
    """
    listed = faces()
    pages = {slug: [f"{FRONT}.{name}" for name in group.names] for slug, group in GROUPS.items()}
    of_front = {name for group in GROUPS.values() for name in group.names} | {"archi2vec", "errors", "testing"}
    if set(listed[FRONT]) != of_front:
        different = sorted(set(listed[FRONT]) ^ of_front)
        raise ValueError(f"{different} is public and on no page, or the reverse; correct GROUPS in docs/api.py")
    for slug, group in GROUPS.items():
        for face in group.faces:
            pages[slug] += [f"{face}.{name}" for name in listed.pop(face) if name not in of_front]
    if listed.keys() != {FRONT}:
        raise ValueError(
            f"the face {' and '.join(listed.keys() - {FRONT})} is on no page; add it to GROUPS in docs/api.py"
        )
    pages["hooks"] = [
        f"{HOOKS}.{name}" for name, value in vars(hookspecs).items() if hasattr(value, "modelselect_spec")
    ]
    pages["errors"] = [f"{ERRORS}.{name}" for name, value in vars(errors).items() if _is_exception(value)]
    return pages


def summary(face: str, name: str) -> str:
    """The first paragraph of a docstring, on one line.

    Raises:
        ValueError: there is none.
    """
    value = getattr(importlib.import_module(face), name)
    documented = value if inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value) else None
    text = inspect.getdoc(documented) if documented is not None else _docstring_of_constant(face, name)
    if not text:
        raise ValueError(f"{face}.{name} has no docstring")
    return " ".join(text.split("\n\n")[0].split())


def page(slug: str) -> str:
    """One page of the API reference, in reStructuredText: the docstrings are in this form."""
    group, names = GROUPS[slug], grouped()[slug]
    body = "\n".join(f"{_directive(name)}\n" for name in names)
    return f"{group.title}\n{'=' * len(group.title)}\n\n{group.about}\n\n.. py:currentmodule:: {FRONT}\n\n{body}"


def index() -> str:
    """The contents of the API reference."""
    listed = "\n".join(f"   {slug}" for slug in GROUPS)
    return (
        "API\n===\n\nEvery public name, as its docstring describes it. :doc:`../names` lists them by package.\n\n"
        f".. toctree::\n   :maxdepth: 2\n\n{listed}\n"
    )


def _directive(name: str) -> str:
    face, _, last = name.rpartition(".")
    value = getattr(importlib.import_module(face), last)
    if _is_exception(value):
        return f".. autoexception:: {name}\n   :show-inheritance:"
    if inspect.isclass(value):
        return f".. autoclass:: {name}\n   :members:\n   :inherited-members: object, tuple"
    if inspect.isroutine(value):
        return f".. autofunction:: {name}"
    items = [f"- ``{key}``: {said}" for key, said in value.items()] if isinstance(value, Mapping) else []
    said = "\n".join([_docstring_of_constant(face, last), "", *items])
    return f".. py:data:: {name}\n\n{textwrap.indent(said, '   ')}"


def _docstring_of_constant(face: str, name: str) -> str:
    """The string below an assignment, which Python keeps nowhere else."""
    stub = (PACKAGE.parent.joinpath(*face.split(".")) / "__init__.pyi").read_text(encoding="utf-8")
    imports = [node for node in ast.parse(stub).body if isinstance(node, ast.ImportFrom)]
    module = next(node.module for node in imports for alias in node.names if (alias.asname or alias.name) == name)
    tree = ast.parse(inspect.getsource(importlib.import_module(f"{face}.{module}"))).body
    handed_on = [
        node.module for node in tree if isinstance(node, ast.ImportFrom) and name in [a.name for a in node.names]
    ]
    if handed_on:
        tree = ast.parse(inspect.getsource(importlib.import_module(str(handed_on[0])))).body
    for node, below in itertools.pairwise(tree):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if name in [target.id for target in targets if isinstance(target, ast.Name)]:
            said = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else None
            return inspect.cleandoc(said) if isinstance(said, str) else ""
    return ""


def _is_exception(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)
