"""Judge: battles from the database to a model, and its votes back, one battle after the other."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from llava_serve.arena.agreement import Agreement, agreement
from llava_serve.arena.orders import together
from llava_serve.arena.tally import Winner
from llava_serve.asked_server import headers_of, open_session
from llava_serve.client import ChatClient
from llava_serve.errors import CommandError, ControllerUnreachable, ServeError
from llava_serve.judging.config import JudgeConfig
from llava_serve.judging.debate import Debate, debate_of
from llava_serve.judging.verdict import messages, verdict
from llava_serve.storage.battle_tables import BattleRow
from llava_serve.storage.battles import Battles, BattleVote
from llava_serve.storage.media import MediaStore
from llava_serve.storage.store import Store

logger = logging.getLogger(__name__)

_NO_VERDICT = "the judge came to no verdict"
_REMEDY = "Ask another judge, or give this one more --max-tokens."


@dataclass
class Report:
    """What a run has done; `agreement` is with people, on all battles that both judged."""

    judged: int = 0
    consistent: int = 0  # of them, those on which both orders agree
    skipped: int = 0  # an answer is not whole
    failures: dict[str, int] = field(default_factory=dict)  # by their reasons
    agreement: Agreement = field(default_factory=lambda: agreement({}))

    @property
    def failed(self) -> int:
        return sum(self.failures.values())


class Judge:
    """Asks one model; each battle's outcome is kept at once, so that a run can be broken off."""

    def __init__(
        self, config: JudgeConfig, client: ChatClient, store: Store, media: MediaStore
    ) -> None:
        self._config, self._client = config, client
        self._store, self._media = store, media
        self._battles = Battles(store)

    async def run(self) -> Report:
        """Judge every battle that this judge has no vote on.

        Raises:
            ControllerUnreachable: nobody answers at the judge's address.
            StorageFailed: the database cannot be read or written.
        """
        report = Report()
        name = self._config.model
        for battle in await asyncio.to_thread(self._battles.unjudged, name):
            if report.judged + report.failed == self._config.limit:
                break
            await self._judge(battle, report)
        both = await asyncio.to_thread(self._battles.judged_by_both, name)
        report.agreement = agreement(both)
        return report

    async def _judge(self, battle: BattleRow, report: Report) -> None:
        lengths = (0, 0)
        try:
            debate = await asyncio.to_thread(self._debate, battle)
            if debate is None:
                report.skipped += 1
                return
            lengths = debate.lengths
            orders = await self._orders(debate)
        except ControllerUnreachable:
            raise
        except ServeError as exc:
            logger.warning("battle %s: %s", battle.id, exc)
            report.failures[str(exc)] = report.failures.get(str(exc), 0) + 1
            vote = BattleVote(
                winner=None, lengths=lengths, judge=self._config.model, details={"error": str(exc)}
            )
        else:
            report.judged += 1
            report.consistent += orders[0] == orders[1]
            vote = BattleVote(
                winner=together(*orders),
                lengths=lengths,
                judge=self._config.model,
                details={"orders": orders},
            )
        await asyncio.to_thread(self._battles.vote, battle.id, vote)

    def _debate(self, battle: BattleRow) -> Debate | None:
        row = self._store.conversation(str(battle.conversation_id))
        return None if row is None else debate_of(row, self._media)

    async def _orders(self, debate: Debate) -> tuple[Winner, Winner]:
        one = await self._verdict(debate, is_swapped=False)
        return one, await self._verdict(debate, is_swapped=True)

    async def _verdict(self, debate: Debate, *, is_swapped: bool) -> Winner:
        body: dict[str, Any] = {
            "model": self._config.model,
            "messages": messages(debate, is_swapped=is_swapped),
            "temperature": 0,
            "max_tokens": self._config.max_tokens,
        }
        text = ""
        async for chunk in self._client.stream(body):
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
        found = verdict(text, is_swapped=is_swapped)
        if found is None:
            raise CommandError(_NO_VERDICT, _REMEDY)
        return found


@asynccontextmanager
async def open_client(config: JudgeConfig) -> AsyncIterator[ChatClient]:
    """Yield the client of the judge's server.

    Raises:
        CommandError: the file of its key, or of the authorities to trust, cannot be used.
    """
    async with open_session(config, headers_of(config.api_key_file)) as session:
        yield ChatClient(config.server.rstrip("/").removesuffix("/v1"), session)
