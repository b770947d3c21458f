"""Terms of a wheel that stand in no list are told, with where their texts are."""

import pytest

from kvpack.audit.checks import audit
from kvpack.audit.layout import licence_files
from kvpack.audit.metadata import parse_metadata
from kvpack.audit.model import Policy, Severity, WheelFacts

HEAD = "Metadata-Version: 2.4\nName: nixl-cu13\nVersion: 1.5.1\n"
SAID = {
    "expression": (
        "License-Expression: Apache-2.0 AND LicenseRef-NvidiaProprietary\nLicense: gone\n",
        ("Apache-2.0 AND LicenseRef-NvidiaProprietary",),
        "LicenseRef-NvidiaProprietary",
    ),
    "text": ("License: NVIDIA Proprietary Software\n  and more\n",
             ("NVIDIA Proprietary Software",), "Proprietary"),
    "classifier": (
        "Classifier: License :: Other/Proprietary License\nClassifier: Topic :: Software\n",
        ("License :: Other/Proprietary License",), "Proprietary",
    ),
    "listed": ("License-Expression: MIT AND Apache-2.0\n", ("MIT AND Apache-2.0",), ""),
    "nothing": ("", (), ""),
}  # fmt: skip


def facts(licence: tuple[str, ...], files: tuple[str, ...]) -> WheelFacts:
    return WheelFacts(
        filename="nixl_cu13-1.5.1-py3-none-any.whl",
        distribution="nixl-cu13",
        name="nixl-cu13",
        version="1.5.1",
        tags=("py3-none-any",),
        sha256="0" * 64,
        size=1,
        licence=licence,
        licence_files=files,
    )


@pytest.mark.parametrize("name", SAID)
def test_terms_of_its_own_are_told(name: str) -> None:
    text, said, told = SAID[name]
    about = parse_metadata(f"{HEAD}{text}\n".encode())
    assert about.licence == said
    files = ("nixl_cu13-1.5.1.dist-info/licenses/LICENSE-NVIDIA",)
    found = [one for one in audit(facts(said, files), Policy()).findings if one.check == "licence"]
    assert bool(found) == bool(told)
    for one in found:
        assert one.severity is Severity.WARNING
        assert told in one.message
        assert "licenses/LICENSE-NVIDIA" in one.message
        assert one.hint == "read them before you publish it"


def test_a_text_that_the_expression_does_not_name_is_told() -> None:
    """As in nixl-cu13 1.5.1."""
    texts = ("licenses/LICENSE", "licenses/licenses/NVIDIA-proprietary-LICENSE.txt")
    held = facts(("MIT AND Apache-2.0",), tuple(f"nixl_cu13-1.5.1.dist-info/{t}" for t in texts))
    (found,) = (one for one in audit(held, Policy()).findings if one.check == "licence")
    assert (
        "of its own: NVIDIA-proprietary-LICENSE.txt; texts: nixl_cu13-1.5.1.dist" in found.message
    )


def test_texts_are_found_where_back_ends_put_them() -> None:
    info = "x-1.dist-info"
    texts = [f"{info}/LICENSE", f"{info}/licenses/a/COPYING.LESSER", f"{info}/NOTICE.txt"]
    others = [f"{info}/METADATA", "x/LICENSE", f"{info}/sboms/licenses.json"]
    assert licence_files([*others, *texts]) == tuple(sorted(texts))
