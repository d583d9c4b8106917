"""What licences allow to do with a model that is fine-tuned from one with this licence.

The table holds identifiers of SPDX (https://spdx.org/licenses), the licence tags of the Hugging Face Hub, and the names
that timm uses. Each entry follows the text of its licence, in the words of Creative Commons and of the Open Source
Initiative. It is a first sieve and no legal advice. A licence that the table does not hold is unknown, and an unknown
licence allows nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Terms(NamedTuple):
    """What a licence allows.

    Attributes:
        commercial: whether a fine-tuned model may be used commercially.
        share_alike: whether a fine-tuned model that is passed on must come under the same licence.
        conditions: what else the licence asks for or forbids, apart from naming the author; empty for nothing.
    """

    commercial: bool
    share_alike: bool = False
    conditions: str = ""


_FREE, _SHARED = Terms(True), Terms(True, share_alike=True)
_USES = Terms(True, conditions="forbids the uses that it lists")
_LLAMA = Terms(True, conditions="forbids the uses that it lists, and asks companies with 700 million users to apply")
_RESEARCH = Terms(False, conditions="research and other non-commercial use only")
_FOLLOWS_NC = Terms(False, conditions="non-commercial use only")
_NO_CHANGES = Terms(False, conditions="changed models, such as fine-tuned ones, may not be passed on")

TERMS: Mapping[str, Terms] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "0bsd", "afl-3.0", "apache-2.0", "apple-ascl", "artistic-2.0", "bsd", "bsd-2-clause", "bsd-3-clause",
                "bsd-3-clause-clear", "bsl-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc0-1.0",
                "cdla-permissive-1.0", "cdla-permissive-2.0", "ecl-2.0", "etalab-2.0", "isc", "mit", "mit-0", "ncsa",
                "odc-by", "pddl", "postgresql", "unlicense", "wtfpl", "zlib",
            ),
            _FREE,
        ),
        **dict.fromkeys(
            (
                "agpl-3.0", "cc-by-sa-2.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cdla-sharing-1.0", "epl-1.0", "epl-2.0",
                "eupl-1.1", "eupl-1.2", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "lgpl-lr",
                "mpl-2.0", "ms-pl", "odbl", "osl-3.0",
            ),
            _SHARED,
        ),
        **dict.fromkeys(
            (
                "bigcode-openrail-m", "bigscience-bloom-rail-1.0", "bigscience-openrail-m", "creativeml-openrail-m",
                "gemma", "openrail", "openrail++",
            ),
            _USES,
        ),
        **dict.fromkeys(("llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4"), _LLAMA),
        **dict.fromkeys(
            ("apple-amlr", "fair-noncommercial-research-license", "h-research", "intel-research"), _RESEARCH
        ),
        **dict.fromkeys(
            (
                "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
            ),
            _FOLLOWS_NC,
        ),
        **dict.fromkeys(("cc-by-nd-3.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"), _NO_CHANGES),
    }
)  # fmt: skip
"""What each licence allows, by its identifier in lower case."""

CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "commercial": "a fine-tuned model may be used commercially",
        "permissive": "the same, under any licence, for any use",
    }
)
"""Classes of licences that can be asked for instead of a licence."""

_OTHER_VERSIONS = re.compile(r"-(only|or-later)$|\+$")
"""How SPDX says whether later versions of a licence may be chosen."""


def terms_of(license: str | None) -> Terms | None:
    """What a licence allows; None if it is not known, or not in the table.

    >>> terms_of("Apache-2.0"), terms_of("GPL-3.0-or-later").share_alike, terms_of("other")
    (Terms(commercial=True, share_alike=False, conditions=''), True, None)
    """
    if license is None:
        return None
    name = license.strip().lower()
    return TERMS.get(name) or TERMS.get(_OTHER_VERSIONS.sub("", name))


def commercial_use(license: str | None) -> bool | None:
    """Whether the licence allows commercial use of a fine-tuned model; None if it is not known.

    >>> commercial_use("mit"), commercial_use("cc-by-nc-4.0"), commercial_use("my own")
    (True, False, None)
    """
    terms = terms_of(license)
    return None if terms is None else terms.commercial


def why_not_in_class(license: str | None, name: str) -> str | None:
    """Why a licence is not in one of the `CLASSES`; None if it is.

    >>> why_not_in_class("cc-by-nc-4.0", "commercial")
    "the licence is 'cc-by-nc-4.0' (non-commercial use only)"
    """
    if license is None:
        return "the licence is unknown"
    terms = terms_of(license)
    if terms is None:
        return f"the licence is {license!r}, and what it allows is not known here"
    if not terms.commercial:
        return f"the licence is {license!r} ({terms.conditions})"
    if name == "permissive" and (terms.share_alike or terms.conditions):
        why = terms.conditions or "a fine-tuned model must come under the same licence"
        return f"the licence is {license!r} ({why})"
    return None
