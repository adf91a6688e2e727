"""A conversation as the database kept it, to be shown and gone on with again."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from llava_serve.errors import AnswerInterrupted, MediaUnreadable, RemoteError, ServeError
from llava_serve.storage.media import MediaStore, StoredFile
from llava_serve.storage.tables import ConversationRow, TurnMediaRow, TurnRow, VoteRow, counting
from llava_serve.web import votes
from llava_serve.web.answer import Answer, State, Vote
from llava_serve.web.conversation import Conversation, Exchange
from llava_serve.web.parameters import Parameters

logger = logging.getLogger(__name__)


def restored(row: ConversationRow, media: MediaStore) -> Conversation:
    """Return what the tab showed that asked last. It blocks.

    A picture that is no longer in the store is left out, with a notice.
    """
    conversation = Conversation("compare" if row.kind == "compare" else "chat", row.id)
    by_number: dict[int, list[TurnRow]] = defaultdict(list)
    for turn in row.turns:
        by_number[turn.exchange].append(turn)
    for number in sorted(by_number):
        _add_exchange(conversation, number, by_number[number], media)
    _add_votes(conversation.exchanges, counting(row.votes))
    if conversation.last is not None:
        conversation.wanted = tuple(filter(None, (one.model for one in conversation.last.answers)))
        conversation.has_chosen = bool(conversation.wanted)
    shown = [turn for turn in row.turns if turn.role == "assistant"]
    if shown:
        conversation.parameters = _parameters(shown[-1].details.get("parameters", {}))
    return conversation


def _add_exchange(
    conversation: Conversation, number: int, turns: Sequence[TurnRow], media: MediaStore
) -> None:
    shown = [turn for turn in turns if not turn.replaced]
    question = next((turn for turn in reversed(shown) if turn.role == "user"), None)
    if question is None:
        return
    answers = [_answer(turn) for turn in _in_slots(turns) if not turn.replaced]
    if not answers:  # its server died before it could begin
        answers = [Answer(model="", state="failed", error=AnswerInterrupted())]
    files = tuple(_files(conversation, question.media, media))
    exchange = Exchange(question.text, files, answers, number=number, turn_id=question.id)
    conversation.exchanges.append(exchange)


def _in_slots(turns: Iterable[TurnRow]) -> list[TurnRow]:
    """Return the answers of an exchange in the order in which they stood.

    Older versions kept no slots; they wrote the first answers in their order, one for each model.
    """
    answers = [turn for turn in turns if turn.role == "assistant"]
    models = list(dict.fromkeys(turn.model for turn in answers))

    def place(turn: TurnRow) -> int:
        return models.index(turn.model) if turn.slot is None else turn.slot

    return sorted(answers, key=place)


def _files(
    conversation: Conversation, rows: Sequence[TurnMediaRow], media: MediaStore
) -> Iterable[StoredFile]:
    for row in rows:
        try:
            yield media.find(f"{row.sha256}.{row.extension}", row.name)
        except ServeError as exc:
            logger.warning("a picture of %s cannot be shown again: %s", conversation.id, exc)
            conversation.notice = MediaUnreadable(f"{row.name!r} is no longer kept here")


def _answer(row: TurnRow) -> Answer:
    details = row.details
    answer = Answer(row.model or "", text=row.text, turn_id=row.id, is_unsaved=False)
    answer.request_id = details.get("request_id", answer.request_id)
    answer.finish_reason = details.get("finish_reason")
    answer.prompt_tokens = details.get("prompt_tokens")
    answer.completion_tokens = details.get("completion_tokens")
    answer.first_delta = details.get("time_to_first_token_s")  # it began at 0
    answer.tokens_per_s = details.get("tokens_per_s")
    state, error = details.get("state"), details.get("error")
    answer.state = next((known for known in get_args(State) if known == state), "failed")
    if answer.is_open or answer.state == "failed":
        answer.state, answer.error = "failed", _error(error)
    return answer


def _error(kept: Mapping[str, str] | None) -> ServeError:
    if kept is None:
        return AnswerInterrupted()
    return RemoteError.from_body({"error": kept}, ServeError.status)


def _parameters(kept: Mapping[str, Any]) -> Parameters:
    return Parameters(
        temperature=kept.get("temperature"),
        top_p=kept.get("top_p"),
        max_tokens=kept.get("max_tokens"),
        seed=str(kept.get("seed", "")),
        system=kept.get("system", ""),
    )


def _add_votes(exchanges: Sequence[Exchange], counted: Sequence[VoteRow]) -> None:
    for exchange in exchanges:
        of_row = {answer.turn_id: answer for answer in exchange.answers}
        for vote in counted:
            if vote.compared:
                if {one.turn_id for one in vote.compared} == of_row.keys():
                    exchange.vote = votes.said(vote.kind, vote.model)
            elif vote.turn_id in of_row:
                kinds: tuple[Vote, ...] = get_args(Vote)
                given = next((kind for kind in kinds if kind == vote.kind), None)
                of_row[vote.turn_id].vote = given
