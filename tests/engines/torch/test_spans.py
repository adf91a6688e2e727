from random import Random

import numpy as np
import pytest

from llava_serve.engines.torch.spans import Grant, Keys, Span, Spans, common_prefix


def keys(text: str) -> Keys:
    return np.array([ord(letter) for letter in text], dtype=np.int64)


def run(spans: Spans, text: str, room: int = 2) -> Grant:
    """A request that reads its prompt and answers with two tokens."""
    grant = spans.grant(keys(text), len(text) + room)
    assert grant is not None
    grant.span.keys, grant.span.coming = keys(text), keys("")
    return grant


def finish(spans: Spans, grant: Grant, text: str) -> None:
    spans.release(grant.span, keys(text))


def test_the_common_prefix_ends_at_the_first_difference() -> None:
    assert common_prefix(keys("abcd"), keys("abxd")) == 2
    assert common_prefix(keys("abcd"), keys("ab")) == 2
    assert common_prefix(keys(""), keys("ab")) == 0
    assert common_prefix(keys("x"), keys("ab")) == 0


def test_the_next_turn_grows_the_span_of_the_last_one() -> None:
    spans = Spans(100)
    finish(spans, run(spans, "system question"), "system question answer")
    grant = run(spans, "system question answer again")
    assert (grant.reused, grant.copy_from, grant.span.start) == (22, None, 0)


def test_the_last_token_is_always_left_to_compute() -> None:
    spans = Spans(100)
    finish(spans, run(spans, "question"), "question")
    assert run(spans, "question").reused == len("question") - 1


def test_a_running_request_lends_its_prefix_as_a_copy() -> None:
    spans = Spans(100)
    first = run(spans, "the same picture, one question")
    second = run(spans, "the same picture, two questions")
    assert second.reused == len("the same picture, ")
    assert second.copy_from == first.span.start
    assert second.span.start >= first.span.end


def test_a_prefix_that_shares_little_is_copied_not_overwritten() -> None:
    spans = Spans(100)
    finish(spans, run(spans, "system: a long conversation"), "system: a long conversation")
    other = run(spans, "system: b")
    assert (other.reused, other.copy_from) == (len("system: "), 0)
    finish(spans, other, "system: b")
    assert run(spans, "system: a long conversation goes on").reused == 27


def test_the_prefix_used_longest_ago_makes_room_first() -> None:
    spans = Spans(24)
    for text in ("aaaaaaaa", "bbbbbbbb", "cccccccc", "aaaaaaaa"):
        finish(spans, run(spans, text, room=0), text)
    run(spans, "dddddddd", room=0)
    assert {chr(span.keys[0]) for span in spans._spans} == {"a", "c", "d"}


def test_without_room_a_request_waits_until_another_ends() -> None:
    spans = Spans(20)
    first = run(spans, "aaaaaaaaaa")
    assert spans.grant(keys("bbbbbbbbbb"), 12) is None
    finish(spans, first, "aaaaaaaaaa")
    assert spans.grant(keys("bbbbbbbbbb"), 12) is not None


def test_a_request_waits_for_the_one_that_is_reading_the_same() -> None:
    spans = Spans(1000)
    prompt = keys("a prompt that is long enough to wait for")
    first = spans.grant(prompt, 60)
    assert first is not None
    assert spans.comes_soon(prompt)
    assert not spans.comes_soon(keys("another prompt that nobody is reading at all"))
    first.span.keys, first.span.coming = prompt, keys("")
    assert not spans.comes_soon(prompt)
    second = spans.grant(prompt, 60)
    assert second is not None
    assert second.reused == len(prompt) - 1


def test_a_span_grows_in_place_or_moves_with_what_it_holds() -> None:
    spans = Spans(40)
    first = run(spans, "aaaa", room=0).span
    second = run(spans, "bbbb", room=0).span
    grown = spans.extend(second, 8)
    assert grown is not None
    assert (grown.span, grown.copy_from) == (second, None)
    moved = spans.extend(first, 8)
    assert moved is not None
    assert (moved.copy_from, moved.reused, moved.span.capacity) == (0, 4, 8)
    assert moved.span.start >= second.end
    assert spans.extend(moved.span, 40) is None


def test_what_has_no_keys_leaves_nothing() -> None:
    spans = Spans(10)
    finish(spans, run(spans, "abc"), "")
    assert (spans.held, spans.cached) == (0, 0)


@pytest.mark.parametrize("seed", range(20))
def test_spans_never_overlap_and_reuse_is_always_true(seed: int) -> None:
    """A random life: every place is written with its key, and checked when it is reused."""
    rng = Random(seed)
    total = 120
    spans, memory = Spans(total), np.full(total, -1)
    running: list[tuple[Span, list[int]]] = []
    for _ in range(300):
        if running and rng.random() < 0.4:
            span, tokens = running.pop(rng.randrange(len(running)))
            spans.release(span, np.array(tokens[: rng.randint(0, len(tokens))], dtype=np.int64))
        elif running and rng.random() < 0.3:
            i = rng.randrange(len(running))
            span, tokens = running[i]
            grant = spans.extend(span, span.capacity + rng.randint(1, 5))
            if grant is not None:
                move(memory, grant)
                running[i] = (grant.span, tokens)
        else:
            tokens = [rng.randint(0, 1) for _ in range(rng.randint(1, 30))]
            grant = spans.grant(np.array(tokens), len(tokens) + rng.randint(0, 5))
            if grant is not None:
                move(memory, grant)
                assert list(memory[grant.span.start :][: grant.reused]) == tokens[: grant.reused]
                memory[grant.span.start : grant.span.start + len(tokens)] = tokens
                grant.span.keys, grant.span.coming = np.array(tokens), keys("")
                running.append((grant.span, tokens))
        places = [p for span in spans._spans for p in range(span.start, span.end)]
        assert len(places) == len(set(places)) <= total
        assert spans.held == sum(span.capacity for span, _ in running)
        for span, tokens in running:
            assert list(memory[span.start : span.start + len(tokens)]) == tokens


def move(memory: Keys, grant: Grant) -> None:
    if grant.copy_from is not None:
        copied = memory[grant.copy_from : grant.copy_from + grant.reused].copy()
        memory[grant.span.start : grant.span.start + grant.reused] = copied
