"""The index of annotations finds what was put in."""

import resource

import pytest

from llava_serve.errors import CommandError
from llava_serve.evaluation.tasks.entry_index import EntryIndex


def test_the_last_value_of_a_key_is_found() -> None:
    index = EntryIndex(
        [("a", {"é": [1, None]}), ("b", 2), ("a", ["x"]), *((str(n), n) for n in range(20_000))]
    )
    assert index.get("a") == ["x"]
    assert index.get("b") == 2
    assert index.get("19999") == 19_999
    assert index.get("missing") is None


def test_a_disk_without_room_for_the_index_is_told() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(CommandError, match="cannot be indexed"):
            EntryIndex((str(number), "x" * 1000) for number in range(20_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
