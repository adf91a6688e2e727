"""Token estimates of requests whose fields nobody has checked."""

import pytest

from llava_serve.cluster.recording.token_estimate import estimate_llava_tokens


@pytest.mark.parametrize("answer_tokens", [None, "7", 1.5, -1, 0, 10**400])
def test_a_length_that_no_answer_can_have_counts_as_none(answer_tokens: object) -> None:
    assert estimate_llava_tokens("four", 1, answer_tokens) == estimate_llava_tokens("four", 1, None)


def test_a_prompt_its_pictures_and_its_longest_answer_count() -> None:
    assert estimate_llava_tokens("four", 2, 7) == 1 + 2 * 1000 + 7
