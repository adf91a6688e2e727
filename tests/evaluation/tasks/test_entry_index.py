"""The index of annotations finds what was put in."""

from llava_serve.evaluation.tasks.entry_index import EntryIndex


def test_the_last_value_of_a_key_is_found() -> None:
    index = EntryIndex(
        [("a", {"é": [1, None]}), ("b", 2), ("a", ["x"]), *((str(n), n) for n in range(20_000))]
    )
    assert index.get("a") == ["x"]
    assert index.get("b") == 2
    assert index.get("19999") == 19_999
    assert index.get("missing") is None
