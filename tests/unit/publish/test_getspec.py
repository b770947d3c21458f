"""Which published wheels a word and its selectors mean."""

import hashlib

import pytest

from kvpack.errors import ReleaseUnknown
from kvpack.publish.getlines import Lines, ambiguous, dockerfile, shell
from kvpack.publish.getspec import Offer, Wish, chosen, of_listings, of_release
from kvpack.publish.model import Listing
from tests.unit.publish.made import release


def offer(project: str, version: str, target: str, *, superseded: bool = False) -> Offer:
    name = f"{project}-{version}-{target}.whl"
    return Offer.model_validate(
        {
            "filename": name, "path": f"files/{project}/{name}", "size": 1,
            "sha256": hashlib.sha256(name.encode()).hexdigest(),
            "project": project, "version": version,
            "accelerator": target.rpartition("-")[2], "target": target, "superseded": superseded,
        }
    )  # fmt: skip


OLD = "cp311-manylinux_2_36_x86_64-cpu"
NEW = "cp312-manylinux_2_39_aarch64-cuda13"
OFFERS = [
    offer("kv", "1.0+kvp.a", OLD),
    offer("kv", "1.1+kvp.b", OLD, superseded=True),
    offer("kv", "1.1+kvp.c", OLD),
    offer("kv", "1.1+kvp.d", NEW),
    offer("more", "2.0rc1", OLD),
]


@pytest.mark.parametrize(
    ("specs", "wish", "versions"),
    [
        ([], Wish(), ["1.1+kvp.c", "1.1+kvp.d", "2.0rc1"]),
        (["kv"], Wish(), ["1.1+kvp.c", "1.1+kvp.d"]),
        (["KV==1.0"], Wish(), ["1.0+kvp.a"]),
        (["kv<1.1"], Wish(), ["1.0+kvp.a"]),
        (["kv"], Wish(pythons=["3.12"]), ["1.1+kvp.d"]),
        (["kv"], Wish(floors=["2.36"]), ["1.1+kvp.c"]),
        (["kv"], Wish(arches=["aarch64"], accelerators=["cuda13"]), ["1.1+kvp.d"]),
        ([OFFERS[1].filename], Wish(pythons=["3.14"]), ["1.1+kvp.b"]),
        ([f"sha256:{OFFERS[1].sha256.upper()}", "more"], Wish(), ["1.1+kvp.b", "2.0rc1"]),
    ],
)
def test_what_is_meant(specs: list[str], wish: Wish, versions: list[str]) -> None:
    assert [one.version for one in chosen(specs, OFFERS, wish, "here")] == versions


def test_all_that_is_not_there_is_told_at_once() -> None:
    specs = ["kv==9", "mor", "sha256:12", "x-1-py3-none-any.whl", "kv", "?!"]
    with pytest.raises(ReleaseUnknown) as caught:
        chosen(specs, OFFERS, Wish(pythons=["3.14"]), "here")
    told = {fault.place: fault.message + fault.hint for fault in caught.value.faults}
    assert list(told) == specs
    assert "there are 1.0+kvp.a, 1.1+kvp.b" in told["kv==9"]
    assert "did you mean 'more'?" in told["mor"]
    assert "64 hexadecimal digits" in told["sha256:12"]
    assert "is not listed" in told["x-1-py3-none-any.whl"]
    assert OLD in told["kv"]


def test_releases_and_listings_are_offers() -> None:
    made = release("demo-a==1.0").release
    (one,) = of_release(made)
    assert (one.project, one.releases) == ("demo-a", (made.id,))
    assert of_listings([Listing.model_validate({"accelerator": "cpu", "project": "x"})]) == []


def lines(*offers: Offer) -> Lines:
    return Lines(
        places=["https://a.example/x", "https://b.example"], offers=offers, patience=3, whole=60,
        slowest=10, command="kvpack get",
    )  # fmt: skip


def test_a_plus_is_escaped_and_versions_are_told_by_markers() -> None:
    text = shell(lines(OFFERS[2], OFFERS[3]))
    assert "files/kv/kv-1.1%2Bkvp.c-cp311" in text
    assert 'kv==1.1+kvp.c ; (python_version == "3.11" and platform_machine == "x86_64") ' in text
    assert "kv==1.0+kvp.a --hash" in shell(lines(OFFERS[0]))
    assert ambiguous([OFFERS[0], OFFERS[2]]) == ["kv"]
    assert ambiguous([OFFERS[2], OFFERS[3]]) == []


def test_a_step_of_a_dockerfile_is_one_line_for_the_shell() -> None:
    text = dockerfile(lines(OFFERS[0]))
    _, _, run = text.partition("\nRUN ")
    assert all(line.endswith(" \\") for line in run.rstrip().splitlines()[:-1])
    assert 'ARG KVPACK_MIRRORS="https://a.example/x https://b.example"' in text
