"""What the page shows of an answer is what is known of it."""

import pytest

from llava_serve import errors
from llava_serve.errors import ContextOverflow, MediaUnreadable, ServeError, WorkerLost
from llava_serve.protocol.model_card import ModelCard
from llava_serve.web import render
from llava_serve.web.chat_state import Exchange
from llava_serve.web.render import model_text, plain_text
from llava_serve.web.reply import StreamedReply
from llava_serve.web.translations.catalogue import CHINESE, Catalogue
from llava_serve.web.translations.language import current

CARD = ModelCard(
    id="tiny", context_length=1000, accepts_images=True, accepts_video=True, engine="echo"
)


def ended(text: str = "four", finish_reason: str = "stop") -> StreamedReply:
    reply = StreamedReply("tiny", text=text, finish_reason=finish_reason)
    reply.prompt_tokens, reply.completion_tokens = 1200, 5
    reply.began, reply.first_delta, reply.last_delta = 10.0, 10.25, 12.25
    reply.deltas, reply.deltas_at_first = 5, 1
    reply.end("done", 12.25)
    return reply


def test_an_answer_shows_its_measurements() -> None:
    shown = render.reply(ended())
    assert "first token 0.25 s · 2.0 tokens/s · 1,200 tokens in · 5 out" in shown


def test_an_error_card_has_cause_remedy_code_and_request_id() -> None:
    error = WorkerLost("http://w:1", "it is <gone>")
    card = render.error_card(error, "req-1")
    assert "The model stopped in the middle of its answer." in card
    assert error.user_remedy in card and "http://" not in card
    assert "worker_lost" in card and "req-1" in card


def drawn_in(language: Catalogue, one: StreamedReply) -> str:
    before = current.set(language)
    try:
        return render.reply(one)
    finally:
        current.reset(before)


@pytest.mark.parametrize("is_open", [False, True])
def test_an_answer_is_drawn_in_the_language_of_each_who_looks_at_it(is_open: bool) -> None:
    reply = ended("```\nx\n```\n\nand\n\nmore\n\n")
    reply.state = "running" if is_open else "done"
    english = render.reply(reply)
    chinese = drawn_in(CHINESE, reply)
    assert "Copy the code" in english and "first token" in english
    assert "复制代码" in chinese and "首个 token 0.25 s" in chinese and "Copy" not in chinese
    assert render.reply(reply) == english


def test_in_another_language_an_error_card_has_the_own_words_of_the_error_as_well() -> None:
    told = {"error.media_unreadable": "文件无法读取。", "error.media_unreadable.remedy": "换一个。"}
    reply = StreamedReply("tiny")
    reply.end("failed", 1.0, MediaUnreadable("'<b>.png' is cut"))
    card = drawn_in(Catalogue("zh", "中文", {**CHINESE.messages, **told}), reply)
    assert (
        "<strong>文件无法读取。</strong><p>换一个。 后续对话不会包含这个问题及其文件。</p>" in card
    )
    small = card.partition("<small>")[2]
    assert "代码 <code>media_unreadable</code> · 请求" in small
    assert 'lang="en"' in small and "&lt;b&gt;.png" in small and "lang=" not in render.reply(reply)


def test_a_vote_is_told_in_the_language_of_each_who_looks_at_it() -> None:
    exchange = Exchange("which?", (), [], judged=("better", "tiny"))
    assert exchange.vote == "You found tiny better."
    before = current.set(CHINESE)
    told = exchange.vote
    current.reset(before)
    assert told == "你认为 tiny 更好。"


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
    reply = StreamedReply("tiny")
    reply.end("failed", 1.0, error)
    shown = render.reply(reply)
    assert ("left out" in shown) == (said is not None)
    assert said is None or said in shown


def test_a_failure_in_mid_answer_keeps_the_text() -> None:
    reply = StreamedReply("tiny", text="so far")
    reply.end("failed", 1.0, WorkerLost("http://w:1", "gone"))
    shown = render.reply(reply)
    assert "so far" in shown and "Interrupted" in shown and 'class="card error"' in shown
    assert reply.can_continue


def test_a_cut_answer_says_so() -> None:
    assert "Cut at the token limit" in render.reply(ended(finish_reason="length"))


def test_an_empty_answer_says_so() -> None:
    assert "answered with nothing" in render.reply(ended(text=""))


def test_names_and_texts_of_others_are_escaped() -> None:
    exchange = Exchange("<b>hi</b>", (), [StreamedReply("<i>model</i>", text="<u>x</u>")])
    shown = render.exchange(exchange)
    assert not any(tag in shown for tag in ("<b>hi", "<i>model", "<u>"))


def test_compared_answers_have_letters() -> None:
    exchange = Exchange("q", (), [StreamedReply("a", text="1"), StreamedReply("b", text="2")])
    shown = render.replies(exchange)
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
            [CARD.model_copy(update={"sees": False})],
            None,
            [],
            [],
            "tiny is served for text alone: pictures are not seen at the moment.",
            id="blind",
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
    reply = ended()
    reply.prompt_tokens = 300
    assert "305 of 1,000 tokens used" in render.budget(CARD, reply)
    assert "Context: 1,000 tokens" in render.budget(CARD, None)


ATTACKS = [
    pytest.param("<img src=http://example.invalid/x.png>", id="img"),
    pytest.param("![x](http://example.invalid/x.png)", id="markdown image"),
    pytest.param("![x][y]\n\n[y]: http://example.invalid/x.png", id="image by reference"),
    pytest.param("[![x](http://example.invalid/x.png)](http://e.invalid)", id="image in a link"),
    pytest.param("<script>alert(1)</script>", id="script"),
    pytest.param('<div style="background:url(http://example.invalid/x)">', id="style"),
    pytest.param("a <svg onload=alert(1)> b", id="inline html"),
    pytest.param("[x](javascript:alert(1))", id="script link"),
    pytest.param("[x](data:text/html,<script>alert(1)</script>)", id="data link"),
    pytest.param("```html\n<img src=x>\n```", id="code"),
    pytest.param('| <img src=x> |\n|---|\n| "onerror= |', id="table"),
    pytest.param("<http://example.invalid/<img src=x>>", id="autolink"),
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_model_text_fetches_and_runs_nothing(attack: str) -> None:
    made = model_text(attack)
    for forbidden in ("<img", "<script", "<svg", "<div", 'href="javascript', 'href="data'):
        assert forbidden not in made


@pytest.mark.parametrize("attack", ATTACKS)
def test_user_text_is_shown_letter_by_letter(attack: str) -> None:
    assert "<" not in plain_text(attack)


def test_markdown_is_rendered() -> None:
    made = model_text("**bold** and `code`\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |")
    for tag in ("<strong>bold</strong>", "<code>code</code>", "<li>one</li>", "<td>1</td>"):
        assert tag in made


@pytest.mark.parametrize(
    "address", ["ftp://e.invalid", "ms-word:ofe", "/logout", "?x", "//e.invalid"]
)
def test_an_address_of_another_kind_is_no_link(address: str) -> None:
    for text in (f"[x]({address})", f"[x][y]\n\n[y]: {address}", f"<{address}>"):
        assert "<a" not in model_text(text)
    assert '<a href="mailto:me@e.invalid"' in model_text("[x](mailto:me@e.invalid)")


def test_links_open_elsewhere_and_tell_nothing() -> None:
    made = model_text("[docs](https://example.org)")
    assert 'href="https://example.org"' in made
    assert 'target="_blank"' in made and "noopener noreferrer" in made


def test_single_line_breaks_are_kept() -> None:
    assert "<br" in model_text("one\ntwo")
