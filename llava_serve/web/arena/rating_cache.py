"""Rating cache: leaderboards are computed off the event loop, and kept until other votes come."""

import asyncio

from llava_serve.arena.leaderboard import Leaderboard
from llava_serve.storage import ratings
from llava_serve.storage.battles import Battles, Voters


class RatingCache:
    """One leaderboard for each task and kind of voters, with style control and without."""

    def __init__(self, battles: Battles) -> None:
        self._battles = battles
        self._boards: dict[tuple[Voters, str | None, bool], tuple[object, Leaderboard]] = {}
        self._computing = asyncio.Lock()  # one at a time leaves the processor to the rest

    async def board(
        self, voters: Voters, tag: str | None = None, *, style_control: bool = False
    ) -> Leaderboard:
        """Return the leaderboard of all votes that are there.

        Raises:
            StorageFailed: the database cannot be read.
        """
        asked = (voters, tag, style_control)
        async with self._computing:
            newest = await asyncio.to_thread(self._battles.newest)
            known = self._boards.get(asked)
            if known is not None and known[0] == newest:
                return known[1]
            board = await asyncio.to_thread(
                ratings.rated, self._battles, voters, tag, style_control=style_control
            )
            self._boards[asked] = (newest, board)
            return board
