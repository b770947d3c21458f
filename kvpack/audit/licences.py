"""What a wheel says of its terms, for whoever is about to publish it again; pure."""

import re
from collections.abc import Iterator

from kvpack.audit.model import Finding, Policy, Severity, WheelFacts

_OWN_TERMS = re.compile(
    r"LicenseRef-[\w.-]+|(?<!non-)(?<![a-z])proprietary(?![a-z])", re.IGNORECASE
)
"""Terms of no licence that SPDX lists: read in License-Expression (PEP 639), in the older License
and in classifiers."""


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def licence(facts: WheelFacts, _: Policy) -> Iterator[Finding]:
    """Say which terms stand in no list, and in which members their texts are.

    nixl 1.4 and newer say MIT AND Apache-2.0 and hold NVIDIA-proprietary-LICENSE.txt beside:
    whoever rebuilds or mirrors such a wheel has to have read it.
    """
    said = [found for text in facts.licence for found in _OWN_TERMS.findall(text)]
    files = [name for path in facts.licence_files if _OWN_TERMS.search(name := _base(path))]
    if named := sorted({*said, *files}):
        texts = ", ".join(facts.licence_files) or "none in the wheel"
        yield Finding(
            check="licence",
            severity=Severity.WARNING,
            place=facts.filename,
            message=f"it is under terms of its own: {', '.join(named)}; texts: {texts}",
            hint="read them before you publish it",
        )
