"""Lines of a batch are checked before any is asked, and read one by one."""

import tracemalloc
from pathlib import Path

import pytest

from llava_serve.cluster.batches.batch_input import LineCheck, Validated, read_requests
from tests.cluster.batches.conftest import CHAT, jsonl, line
from tests.cluster.files.test_routes import brought


def validated(folder: Path, content: bytes, endpoint: str = CHAT, most: int = 10**6) -> Validated:
    path = folder / "in.jsonl"
    path.write_bytes(content)
    check = LineCheck(endpoint, lambda model: None, most, keeps_responses=True)
    return check.validate(path)


@pytest.mark.parametrize(
    ("content", "code", "number", "words"),
    [
        (jsonl([line(1)]) + b"{\n", "invalid_json_line", 2, "JSON"),
        (b"[]\n", "invalid_json_line", 1, "object"),
        (b"\n" + jsonl([line(1), line(1)]), "duplicate_custom_id", 3, "q-1"),
        (jsonl([{**line(1), "custom_id": ""}]), "invalid_custom_id", 1, "custom_id"),
        (jsonl([{**line(1), "method": "GET"}]), "invalid_method", 1, "POST"),
        (jsonl([line(1, url="/v1/responses")]), "invalid_url", 1, CHAT),
        (jsonl([line(1, stream=True)]), "invalid_body", 1, "stream"),
        (jsonl([{**line(1), "body": 3}]), "invalid_body", 1, "object"),
        (jsonl([line(1), line(2, max_tokens=-1)]), "invalid_field", 2, "max_tokens"),
        (b" " * 1_000_001 + jsonl([line(1)]), "line_too_long", 1, "1 MB"),
        (b"\n \n", "empty_file", None, "no lines"),
        (b"{}\n" * 50_001, "invalid_custom_id", 1, "custom_id"),
    ],
)
def test_what_is_wrong_is_told_by_its_line(
    tmp_path: Path, content: bytes, code: str, number: int | None, words: str
) -> None:
    errors = validated(tmp_path, content).errors
    assert (errors[0]["code"], errors[0]["line"]) == (code, number)
    assert words in errors[0]["message"]
    assert len(errors) <= 100


def test_a_batch_has_so_many_lines(tmp_path: Path) -> None:
    found = validated(tmp_path, jsonl(line(number) for number in range(50_001)))
    assert [(each["code"], each["line"]) for each in found.errors] == [("too_many_lines", 50_001)]


def test_images_that_are_named_are_accepted_without_being_looked_for(tmp_path: Path) -> None:
    named = {"type": "image_file", "image_file": {"file_id": "file-1"}}
    again = {"type": "image_url", "uuid": "shape"}
    parts = [[named, brought("shape"), again]]
    content = jsonl(line(1, messages=[{"role": "user", "content": part}]) for part in parts)
    assert validated(tmp_path, content) == Validated(1, ())


def test_a_response_goes_on_with_what_is_kept(tmp_path: Path) -> None:
    body = {"model": "echo", "previous_response_id": "resp_1", "store": True}
    items = [{"type": "item_reference", "id": "msg_1"}]
    asked = {"custom_id": "a", "method": "POST", "url": "/v1/responses"}
    content = jsonl([{**asked, "body": {**body, "input": items}}])
    assert validated(tmp_path, content, "/v1/responses") == Validated(1, ())


def test_lines_are_not_held(tmp_path: Path) -> None:
    content = jsonl(line(number, "x" * 1000) for number in range(2_000))
    (tmp_path / "in.jsonl").write_bytes(content)
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_requests(tmp_path / "in.jsonl", lambda number: False))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (count, peak < len(content) // 10) == (2_000, True)
