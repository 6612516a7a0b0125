from octohooks_server.rules.metadata import metadata_problem


def test_metadata_is_kept_up_to_four_kibibytes_of_json() -> None:
    # {"k":"..."} has eight bytes around the value.
    assert metadata_problem({"k": "v" * (4096 - 8)}) is None
    assert metadata_problem({"k": "v" * (4096 - 7)}) is not None


def test_metadata_is_measured_in_bytes_not_in_characters() -> None:
    assert metadata_problem({"k": "\u00e9" * 2044}) is None
    assert metadata_problem({"k": "\u00e9" * 2045}) is not None


def test_no_metadata_is_fine() -> None:
    assert metadata_problem({}) is None
