"""Writes the reference of estimators, settings and public names from the code; tests compare pages and code.

    python docs/generate.py

An estimator's docstring begins with one line and the idea in at most three sentences. Labelled paragraphs follow:
`In short:` (one plain sentence for lists), `Formula:`, `Args:` (if it has parameters), `Components:` (if it has
several), `Limits:` (when it fails, or says little), `Code and paper:` and, for sources other than the citation,
`Source:`. Examples are last. Each difference from the paper is a point of a list under `Code and paper:`; it names the
setting that restores the paper's form, as `name=value`, or says that nothing restores it, and why.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

import api
from modelselect.candidates.licenses import CLASSES, TERMS, why_not_in_class
from modelselect.cli.options import option_name
from modelselect.estimators.estimator import Estimator
from modelselect.evaluation.keywords import NOT_IN_BENCHMARK, BenchmarkKeywords
from modelselect.evaluation.settings import Settings
from modelselect.host.host import get_host
from modelselect.selection.funnel import select

REFERENCE = Path(__file__).resolve().parent / "reference"
LABELS = ("In short", "Formula", "Args", "Components", "Limits", "Code and paper", "Source")
REQUIRED = ("In short", "Formula", "Limits", "Code and paper")
SENTENCES = 3
SETTING = re.compile(r"`(\w+=[^`]+)`")  # such as `form="paper"`
NOTHING = "Nothing restores"
COSTS = {
    "free": "free: only metadata",
    "closed form": "closed form: one pass and one decomposition",
    "iterative": "iterative: an optimisation",
    "quadratic": "quadratic: every pair of rows",
}
GENERATED = "<!-- Written by docs/generate.py from the estimators' docstrings: change those, and run it again. -->\n"
GENERATED_NAMES = (
    "<!-- Written by docs/generate.py from the docstrings of public names: change those, and run it again. -->\n"
)

GENERATED_LICENSES = (
    "<!-- Written by docs/generate.py from modelselect/candidates/licenses.py: change that, and run it again. -->\n"
)

GENERATED_SETTINGS = (
    "<!-- Written by docs/generate.py from Settings and select(): change those, and run it again. -->\n"
)


class Described(NamedTuple):
    """What a docstring says: the first line, the idea, and the labelled paragraphs by label."""

    summary: str
    idea: str
    parts: Mapping[str, str]


def shipped() -> list[Estimator]:
    """The registered estimators of `modelselect_plugins`, by name."""
    estimators = get_host().estimators.values()
    return sorted(
        (e for e in estimators if type(e).__module__.startswith("modelselect_plugins.")), key=lambda e: e.name
    )


def described(estimator: Estimator) -> Described:
    """The docstring in its parts.

    Raises:
        ValueError: a part is missing, or the idea is longer than three sentences.
    """
    prose = re.split(r"^>>> ", inspect.cleandoc(type(estimator).__doc__ or ""), maxsplit=1, flags=re.MULTILINE)[0]
    opening, *labelled = re.split(rf"^({'|'.join(LABELS)}):", prose, flags=re.MULTILINE)
    summary, _, idea = opening.strip().partition("\n\n")
    parts = {label: _sentence(text.strip()) for label, text in zip(labelled[::2], labelled[1::2], strict=True)}
    missing = [label for label in REQUIRED if not parts.get(label)] + ([] if idea else ["the idea"])
    if missing:
        raise ValueError(f"the docstring of {type(estimator).__name__} lacks {', '.join(missing)}")
    if unclear := [one for one in deviations(parts["Code and paper"]) if not (SETTING.search(one) or NOTHING in one)]:
        raise ValueError(
            f"{type(estimator).__name__} says that it differs: {unclear[0]!r}; say which parameter restores it, as in "
            f'`form="paper"`, or why none does ({NOTHING!r})'
        )
    if (count := len(re.findall(r"[.!?](?=\s|$)", idea))) > SENTENCES:
        raise ValueError(f"the idea of {type(estimator).__name__} takes {count} sentences; at most {SENTENCES}")
    return Described(" ".join(summary.split()), idea.strip(), parts)


def deviations(text: str) -> list[str]:
    """The points of the list under "Code and paper": each is one difference, with what restores the paper's form."""
    return [" ".join(point.split()) for point in re.split(r"^- ", text, flags=re.MULTILINE)[1:]]


def parameters(estimator: Estimator) -> dict[str, str]:
    """What the docstring, or that of the class it inherits from, says of each parameter.

    Raises:
        ValueError: it says nothing of one, or something of one that there is not.
    """
    said: dict[str, str] = {}
    for documented in type(estimator).__mro__:
        args = re.search(r"^Args:\n((?:    .*\n|\n)+)", inspect.cleandoc(documented.__doc__ or "") + "\n", re.MULTILINE)
        if args and issubclass(documented, Estimator) and documented is not Estimator:
            entries = re.split(r"^    (\w+): ", args[1], flags=re.MULTILINE)[1:]
            said = {name: " ".join(text.split()) for name, text in zip(entries[::2], entries[1::2], strict=True)}
            break
    if said.keys() != estimator.parameters.keys():
        raise ValueError(
            f"{type(estimator).__name__} has the parameters {list(estimator.parameters)}, and its docstring speaks of "
            f"{list(said)}"
        )
    return said


def page(estimator: Estimator) -> str:
    """The page of one estimator."""
    summary, idea, parts = described(estimator)
    defaults = inspect.signature(type(estimator).__init__).parameters
    given = [f"- `{name}` (`{defaults[name].default!r}`): {text}" for name, text in parameters(estimator).items()]
    facts = [
        f"- **Requires**: {_listed(estimator.requires) or 'nothing'}",
        *([f"- **Uses if available**: {_listed(estimator.optional)}"] if estimator.optional else []),
        f"- **Cost**: {COSTS[estimator.cost]}",
        f"- **Random**: {'yes, from the seed' if estimator.stochastic else 'no'}",
        f"- **Relative to a pool**: {'yes: `ms.score_pool`, not `ms.score`' if estimator.relative else 'no'}",
        f"- **Class**: `{type(estimator).__module__}.{type(estimator).__name__}`",
    ]
    sections = {
        "Formula": parts["Formula"],
        "Parameters": "\n".join(given) or "None.",
        "Components": parts.get("Components", f"One: `{estimator.name}`."),
        "When it fails, or says little": parts["Limits"],
        "Where code and paper differ": parts["Code and paper"],
        "Citation": estimator.citation + "." + (f"\n\nSource: {parts['Source']}" if "Source" in parts else ""),
    }
    body = "".join(f"\n## {title}\n\n{text}\n" for title, text in sections.items())
    head = f"# {estimator.name}\n\n{GENERATED}\n{summary}\n\n{idea}\n\n" + "\n".join(facts)
    return f"{head}\n{body}\n[All estimators](../estimators.md)\n"


def index() -> str:
    """The table of all estimators."""
    rows = "".join(
        f"| [{e.name}](estimators/{e.name}.md) | {', '.join(sorted(e.requires))} | {e.cost} "
        f"| {described(e).parts['In short'].replace('|', chr(92) + '|')} |\n"
        for e in shipped()
    )
    return f"""# Estimators

{GENERATED}
An estimator computes a score from a candidate's features of your data, without fine-tuning. Higher is always better.
To find out which estimators to trust, read [why these are the default](../explanation/default-estimators.md) and
[what agreement means](../explanation/agreement.md).

| estimator | requires | cost | in short |
| --- | --- | --- | --- |
{rows}
How the cost grows: {"; ".join(COSTS.values())}.

One forward pass of a candidate gives what all estimators require. If an estimator cannot score a candidate, the row
shows why. `modelselect estimators` prints this list, and `modelselect estimators logme` the details of one. To add an
estimator, [write a class](../how-to/write-an-estimator.md).

A test compares each estimator with its authors' code, if they have published it (for `itm`, with an unofficial port).
Exceptions:

- `lead`: no code of its authors was found, and of its full text only the first lines could be read. The equations come
  from a third party's re-implementation, and the value of eta is unknown. Treat it as our reading of the method.
- `fennec` has the settings of its authors' code in the protocols of `modelselect reproduce`. Its arithmetic is compared
  with scikit-learn's.
- `nc_score` is the classic measure of neural collapse. The authors of the paper that ranks models by neural collapse
  have published no code.
- `rankme` is compared with the equation of its paper, not with code.
- `cc_fv` has the form of its paper, as a published summary gives it. `form="code"` is that of the authors' code.
- **Concept variation** (Singh et al., 2025, the second measure beside `int`) is *not* included: the authors' code
  gives a number for each row, and does not say how these become a score.
- **DISCO** (Zhang et al., 2025: distribution of spectral components) is *not* included. No code of its authors was
  found. The number of its groups could not be found, nor how it inverts a class covariance that is singular by
  construction.
- **EMMS** (Meng et al., 2023) is *not* included: the authors' code fits embeddings of the class names by several
  foundation models. **KITE** (Guo, 2024) is the alignment of the features with the labels, divided by that with
  features of networks with random weights. No evidence holds these embeddings and features.
- **FaCe** (Ding et al., 2023: variance collapse and class fairness) is *not* included. Its authors have published no
  code, and its equations could not be found.
- **SWAB** (Yi et al., 2024) is *not* included: it chooses models of images and texts without images of yours, from
  what they reach on other datasets and from captions and class names that each model embeds. No evidence holds these.
- **The rectified scaling law** (Lin et al., 2024) is *not* included: the authors' code follows the loss of each
  candidate over trainings on 200, 400, 800 and more rows. `tune=` gives one point, and one epoch is not a full
  training.
"""


def arguments(function: Callable[..., Any]) -> dict[str, str]:
    """What the docstring of a function says of each argument, by name."""
    args = re.search(r"^Args:\n((?:    .*\n|\n)+)", inspect.cleandoc(function.__doc__ or ""), re.MULTILINE)
    entries = re.split(r"^    (\w+): ", args[1] if args else "", flags=re.MULTILINE)[1:]
    return {name: " ".join(text.split()) for name, text in zip(entries[::2], entries[1::2], strict=True)}


def settings() -> str:
    """The page of the keywords of `select()`, `plan()` and `benchmark()`."""
    said = arguments(select)

    def section(field: Field[Any]) -> str:
        option = field.metadata["option"]
        short = f", `{option.short}`" if option is not None and option.short else ""
        line = f"`{option_name(field)}`{short}" if option is not None else "`--epochs`, `--trials`, `--patience`"
        where = (
            "`select`, `plan`, `benchmark`" if field.name in BenchmarkKeywords.__annotations__ else "`select`, `plan`"
        )
        return (
            f"\n## {field.name}\n\n{_sentence(said[field.name])}\n\n"
            f"- **Default**: `{field.default!r}`\n- **Command line**: {line}\n- **Taken by**: {where}\n"
        )

    refused = "".join(f"| `{name}` | {reason} |\n" for name, reason in NOT_IN_BENCHMARK.items())
    return f"""# Settings

{GENERATED_SETTINGS}
`ms.select(dataset, candidates, ...)` takes these keywords, and `ms.plan()` takes the same. `ms.benchmark()` takes some
of them. Every value is checked before any work begins. A wrong value raises `InvalidInputError`, and the message says
what was expected. An unknown keyword raises `TypeError`.
{"".join(map(section, fields(Settings)))}
## What `benchmark()` does not take

| keyword | why, or what to do instead |
| --- | --- |
{refused}
`verify` is a keyword of its own there: it fine-tunes every candidate, instead of `truth`. So are `probe_sizes`,
`per_class` and `seeds`, which run the estimators on further probes: see
[benchmark estimators](../how-to/benchmark-estimators.md).
"""


def first_face(face: str, name: str, faces: Mapping[str, Sequence[str]]) -> str:
    """The first face that gives the same object by this name; two faces may use one name for different things."""
    value = getattr(importlib.import_module(face), name)
    others = (other for other, listed in faces.items() if name in listed)
    return next(other for other in others if getattr(importlib.import_module(other), name) is value)


def names() -> str:
    """The page of the public names, by the package to import them from."""
    faces = api.faces()

    def row(face: str, name: str) -> str:
        home = first_face(face, name, faces)
        said = f"as in `{home}`" if face != home else api.summary(face, name).replace("|", chr(92) + "|")
        return f"| `{name}` | {said} |\n"

    sections = "".join(
        f"\n## `{face}`\n\n{api.about(face)}\n\n| name | what it is |\n| --- | --- |\n"
        + "".join(row(face, name) for name in listed)
        for face, listed in faces.items()
    )
    return f"""# Public names

{GENERATED_NAMES}
These are the names that stay. Each heading is a package or module to import from. What is not listed here may change
in any version. `help()` of a name, such as `help(ms.select)`, shows its whole docstring. The documentation site shows
all of them under *API*.
{sections}"""


def licenses() -> str:
    """The page of what licences allow."""

    def row(name: str) -> str:
        terms = TERMS[name]
        said = [terms.conditions, "a fine-tuned model that is passed on comes under the same licence"]
        more = "; ".join(filter(None, said if terms.share_alike else said[:1]))
        classes = ["yes" if why_not_in_class(name, each) is None else "no" for each in CLASSES]
        return f"| `{name}` | {' | '.join(classes)} | {more} |\n"

    meanings = "".join(f"- `{name}`: {meaning}.\n" for name, meaning in CLASSES.items())
    return f"""# Licences

{GENERATED_LICENSES}
`license=` (`--license`) takes globs of licences, and two classes of them:

{meanings}
The table holds identifiers of SPDX, licence tags of the Hugging Face Hub, and names that timm uses; `-only`,
`-or-later` and `+` at the end of an identifier change nothing. It is a first sieve and no legal advice: read the
licence of the model that you choose. A licence that is not in the table, such as `other`, is unknown, and is in neither
class.

| licence | {" | ".join(f"`{name}`" for name in CLASSES)} | what else it says |
| --- | --- | --- | --- |
{"".join(map(row, sorted(TERMS)))}"""


def pages() -> dict[Path, str]:
    """Every generated page, by path."""
    written = {REFERENCE / "estimators" / f"{e.name}.md": page(e) for e in shipped()}
    return {
        REFERENCE / "estimators.md": index(),
        REFERENCE / "settings.md": settings(),
        REFERENCE / "names.md": names(),
        REFERENCE / "licenses.md": licenses(),
        **written,
    }


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(names: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


if __name__ == "__main__":
    (REFERENCE / "estimators").mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
