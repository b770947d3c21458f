from kvpack.doctor.integrity import records, shared_paths
from tests.unit.doctor.patients import (
    CU13,
    PYTHON,
    commands,
    dist,
    environment,
    ids,
    only,
    patient,
    shared,
)

PATHS = tuple(f"site-packages/x/{name}.py" for name in "abcd")


def test_missing_files_are_an_error() -> None:
    finding = only(records, patient(environment(dist("x==2", missing=PATHS))))
    assert ids([finding]) == [("record-missing", "error")]
    assert finding.message.startswith("4 files of x 2 not there: site-packages/x/a.py, ")
    assert finding.message.endswith("site-packages/x/c.py, …")
    assert commands(finding, "pip") == [f"{PYTHON} -m pip install --no-deps --force-reinstall x==2"]
    assert commands(finding, "uv") == [
        f"uv pip install --python {PYTHON} --no-deps --reinstall-package x x==2"
    ]


def test_changed_files_are_a_warning() -> None:
    finding = only(records, patient(environment(dist("x==2", changed=PATHS[:1]))))
    assert ids([finding]) == [("record-changed", "warning")]
    assert "1 file of x 2 not as installed: site-packages/x/a.py" in finding.message


def test_changed_metadata_is_a_note() -> None:
    paths = ("site-packages/x-2.dist-info/WHEEL",)
    finding = only(records, patient(environment(dist("x==2", changed=paths))))
    assert (ids([finding]), finding.mend) == ([("record-changed", "note")], ())
    more = dist("x==2", changed=(*paths, PATHS[0]))
    assert only(records, patient(environment(more))).severity == "warning"


def test_a_record_that_cannot_be_read() -> None:
    finding = only(records, patient(environment(dist("x==2", record="damaged"))))
    assert ids([finding]) == [("record-damaged", "warning")]


def test_members_of_a_crowded_family_are_told_once() -> None:
    """Their mend is another: a reinstall of either would bring the conflict back."""
    hurt = dist("nixl-cu12==1.2.0", missing=PATHS)
    found = environment(hurt, "nixl-cu13==1.2.0", torch=CU13)
    assert list(records(patient(found))) == []
    assert len(list(records(patient(environment(hurt))))) == 1


def test_a_path_with_several_owners_is_told_once() -> None:
    clash = shared(PATHS[0], "x", "y")
    found = environment(dist("x==2", changed=PATHS[:1]), "y==1", collisions=(clash,))
    assert list(records(patient(found))) == []
    (finding,) = shared_paths(patient(found))
    assert ids([finding]) == [("shared-paths", "warning")]
    assert finding.place == "x, y"
    assert commands(finding, "pip") == [
        f"{PYTHON} -m pip uninstall -y x",
        f"{PYTHON} -m pip install --no-deps --force-reinstall y==1",
    ]


def test_the_same_bytes_are_a_note() -> None:
    clash = shared(PATHS[0], "x", "y", kind="same-bytes")
    finding = only(shared_paths, patient(environment("x==2", "y==1", collisions=(clash,))))
    assert (finding.severity, finding.mend) == ("note", ())
    assert "deletes them for all" in finding.why


def test_paths_of_one_crowded_family_are_left_to_it() -> None:
    clash = shared(PATHS[0], "nixl-cu12", "nixl-cu13")
    found = environment("nixl-cu12==1.2.0", "nixl-cu13==1.2.0", collisions=(clash,))
    assert list(shared_paths(patient(found))) == []
    clash = shared(PATHS[0], "nixl-cu12", "other")
    found = environment("nixl-cu12==1.2.0", "nixl-cu13==1.2.0", "other", collisions=(clash,))
    assert len(list(shared_paths(patient(found)))) == 1


def test_sound_distributions_have_no_finding() -> None:
    found = environment(dist("x==2"), dist("y==1", record="absent"))
    assert [*records(patient(found)), *shared_paths(patient(found))] == []
