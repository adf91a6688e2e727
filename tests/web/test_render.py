"""What the page shows of an answer is what is known of it."""

import pytest

from llava_serve import errors
from llava_serve.errors import ContextOverflow, MediaUnreadable, ServeError, WorkerLost
from llava_serve.protocol.openai import ModelCard
from llava_serve.web import render
from llava_serve.web.answer import Answer
from llava_serve.web.conversation import Exchange

CARD = ModelCard(
    id="tiny", context_length=1000, accepts_images=True, accepts_video=True, engine="echo"
)


def ended(text: str = "four", finish_reason: str = "stop") -> Answer:
    answer = Answer("tiny", text=text, finish_reason=finish_reason)
    answer.prompt_tokens, answer.completion_tokens = 1200, 5
    answer.began, answer.first_delta, answer.last_delta = 10.0, 10.25, 12.25
    answer.deltas, answer.deltas_at_first = 5, 1
    answer.end("done", 12.25)
    return answer


def test_an_answer_shows_its_measurements() -> None:
    shown = render.answer(ended())
    assert "first token 0.25 s · 2.0 tokens/s · 1,200 tokens in · 5 out" in shown


def test_an_error_card_has_cause_remedy_code_and_request_id() -> None:
    error = WorkerLost("http://w:1", "it is <gone>")
    card = render.error_card(error, "req-1")
    assert "The model stopped in the middle of its answer." in card
    assert error.user_remedy in card and "http://" not in card
    assert "worker_lost" in card and "req-1" in card


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MediaUnreadable("damaged"), "This question and its files are left out of what follows."),
        (ContextOverflow(900, 100, 512), "This question is left out of what follows."),
        (WorkerLost("w", "gone"), None),
    ],
)
def test_the_card_says_whether_its_question_is_left_out(
    error: ServeError, said: str | None
) -> None:
    answer = Answer("tiny")
    answer.end("failed", 1.0, error)
    shown = render.answer(answer)
    assert ("left out" in shown) == (said is not None)
    assert said is None or said in shown


def test_a_failure_in_mid_answer_keeps_the_text() -> None:
    answer = Answer("tiny", text="so far")
    answer.end("failed", 1.0, WorkerLost("http://w:1", "gone"))
    shown = render.answer(answer)
    assert "so far" in shown and "Interrupted" in shown and 'class="card error"' in shown
    assert answer.can_continue


def test_a_cut_answer_says_so() -> None:
    assert "Cut at the token limit" in render.answer(ended(finish_reason="length"))


def test_an_empty_answer_says_so() -> None:
    assert "answered with nothing" in render.answer(ended(text=""))


def test_names_and_texts_of_others_are_escaped() -> None:
    exchange = Exchange("<b>hi</b>", (), [Answer("<i>model</i>", text="<u>x</u>")])
    shown = render.exchange(exchange)
    assert not any(tag in shown for tag in ("<b>hi", "<i>model", "<u>"))


def test_compared_answers_have_letters() -> None:
    exchange = Exchange("q", (), [Answer("a", text="1"), Answer("b", text="2")])
    shown = render.answers(exchange)
    assert '<div class="columns of-2">' in shown
    assert shown.index("<b>A</b>a") < shown.index("<b>B</b>b")
    assert 'title="a"' in shown


@pytest.mark.parametrize(
    ("cards", "error", "missing", "instead", "said"),
    [
        pytest.param(
            [], None, [], [], "No model is served yet. The list fills in by itself.", id="none"
        ),
        pytest.param([CARD], None, [], [], "1 model is served", id="one"),
        pytest.param(
            [CARD],
            None,
            ["gone"],
            ["tiny"],
            "gone is not served at the moment; tiny answers instead.",
            id="missing",
        ),
        pytest.param(
            [CARD],
            None,
            ["gone", "other"],
            [],
            "gone and other are not served at the moment; chosen as soon as it is.",
            id="several missing",
        ),
        pytest.param(
            [],
            errors.ControllerUnreachable("http://c", "refused"),
            [],
            [],
            "The page cannot reach the models at the moment. Try again in a moment.",
            id="no controller",
        ),
    ],
)
def test_the_status_says_what_is_served(
    cards: list[ModelCard],
    error: ServeError | None,
    missing: list[str],
    instead: list[str],
    said: str,
) -> None:
    assert said in render.models_status(cards, error, missing, instead)


def test_the_budget_counts_prompt_and_answer() -> None:
    answer = ended()
    answer.prompt_tokens = 300
    assert "305 of 1,000 tokens used" in render.budget(CARD, answer)
    assert "Context: 1,000 tokens" in render.budget(CARD, None)
