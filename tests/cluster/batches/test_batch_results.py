"""Results say what is done, and are whole whenever the process that wrote them was killed."""

import json
from contextlib import closing
from pathlib import Path

from llava_serve.cluster.batches.batch_results import BatchResults
from llava_serve.cluster.batches.batch_store import BatchFolder

ANSWER = {"status_code": 200, "request_id": "req-1", "body": {"said": "one"}}
BATCH = "batch_" + "0" * 32


def test_what_is_in_a_file_is_done(tmp_path: Path) -> None:
    with closing(BatchResults(BatchFolder(tmp_path), BATCH)) as results:
        results.add(1, "a", ANSWER, None)
        results.add(7, "b", {**ANSWER, "status_code": 404}, None)
        results.add(300, "c", None, {"code": "batch_expired"})
    with closing(BatchResults(BatchFolder(tmp_path), BATCH)) as again:
        assert [number for number in range(400) if again.has(number)] == [1, 7, 300]
        assert again.counts == {"output": 1, "errors": 2}


def test_half_a_line_is_cut_off(tmp_path: Path) -> None:
    output = tmp_path / "output.jsonl"
    long = {**ANSWER, "body": "x" * 200_000}
    with closing(BatchResults(BatchFolder(tmp_path), BATCH)) as results:
        results.add(1, "a", ANSWER, None)
        whole = output.read_bytes()
        results.add(2, "b", long, None)
    for length in (1, 100_000, 200_000):
        output.write_bytes(whole + output.read_bytes()[len(whole) :][:length])
        with closing(BatchResults(BatchFolder(tmp_path), BATCH)) as results:
            assert [results.has(1), results.has(2)] == [True, False]
            results.add(2, "b", long, None)
        told = [json.loads(line) for line in output.read_bytes().splitlines()]
        assert [line["custom_id"] for line in told] == ["a", "b"]


def test_half_a_first_line_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "output.jsonl").write_bytes(b'{"id":"batch_req_0_1"')
    with closing(BatchResults(BatchFolder(tmp_path), BATCH)) as results:
        assert not results.has(1)
    assert (tmp_path / "output.jsonl").read_bytes() == b""


def test_an_answer_that_comes_too_late_is_none(tmp_path: Path) -> None:
    results = BatchResults(BatchFolder(tmp_path), BATCH)
    results.close()
    results.add(1, "a", ANSWER, None)
    assert not results.has(1)
