"""Tree of turns: from the rows of a conversation to the exchanges that are shown, with versions."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from llava_serve.storage.tables import TurnRow
from llava_serve.web.chat_state import Exchange

Make = Callable[[TurnRow, Sequence[TurnRow]], Exchange]
"""Makes an exchange of a question and all answers that it ever had."""


def shown_exchanges(turns: Sequence[TurnRow], make: Make) -> list[Exchange]:
    """Return the branch that is shown; its exchanges know their versions.

    Of a place in which no version is shown the newest is: a process ended in mid-change.
    """
    answers: dict[int | None, list[TurnRow]] = defaultdict(list)
    following: dict[int | None, list[TurnRow]] = defaultdict(list)
    questions: dict[int, TurnRow] = {}
    for turn in turns:
        parent = turn.parent_id if turn.parent_id in questions else _by_number(turn, questions)
        if turn.role == "user":
            following[parent].append(turn)
            questions[turn.id] = turn
        else:
            answers[parent].append(turn)
    made = {number: make(question, answers[number]) for number, question in questions.items()}
    chains: dict[int | None, list[Exchange]] = {}
    for parent in (*reversed(questions), None):  # a question is later than the one it follows
        there = following[parent]
        versions = [made[one.id] for one in there]
        chains[parent] = []
        if there:
            shown = next((one for one in reversed(there) if not one.replaced), there[-1])
            chains[parent] = [made[shown.id], *chains[shown.id]]
        for one in there if len(there) > 1 else ():
            made[one.id].versions = versions
            made[one.id].tail = [] if one is shown else chains[one.id]
    return chains[None]


def _by_number(turn: TurnRow, questions: dict[int, TurnRow]) -> int | None:
    """Return the question that a turn of an older version follows.

    An answer has the number of its question, and a question one more than the one before it.
    """
    reach = turn.exchange - (1 if turn.role == "user" else 0)
    return next((one.id for one in reversed(questions.values()) if one.exchange <= reach), None)
