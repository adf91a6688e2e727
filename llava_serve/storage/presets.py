"""Presets in the database: those of one user or browser, saved, renamed and deleted by name."""

from typing import Any

from sqlalchemy import ColumnElement, delete, func, select

from llava_serve.errors import (
    NoCookies,
    PresetNameRefused,
    PresetNameTaken,
    PresetUnknown,
    TooManyPresets,
)
from llava_serve.storage.identity import Identity
from llava_serve.storage.preset_tables import LONGEST_NAME, PresetRow
from llava_serve.storage.store import Store

MOST = 100  # of one user or browser


class Presets:
    """Every method blocks: call it off the event loop. Every one may raise StorageFailed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def names(self, whose: Identity) -> list[str]:
        """Return the names in the order of the alphabet."""
        wanted = select(PresetRow.name).where(PresetRow.whose == whose.key)
        with self._store.transaction() as session:
            return sorted(session.scalars(wanted), key=str.casefold)

    def parameters(self, whose: Identity, name: str) -> dict[str, Any] | None:
        """Return what was saved under a name; None where there is nothing."""
        with self._store.transaction() as session:
            return session.scalar(select(PresetRow.parameters).where(_is(whose, name)))

    def save(self, whose: Identity, name: str, parameters: dict[str, Any]) -> None:
        """Save under a name, in place of what has it already.

        Raises:
            PresetNameRefused: the name cannot be one.
            TooManyPresets, NoCookies: no more can be kept, or none.
        """
        key, name = _owned(whose), checked_name(name)
        with self._store.transaction() as session:
            row = session.scalar(select(PresetRow).where(_is(whose, name)))
            if row is None:
                count = select(func.count()).where(PresetRow.whose == key)
                if (session.scalar(count) or 0) >= MOST:
                    raise TooManyPresets(MOST)
                row = PresetRow(whose=key, name=name)
                session.add(row)
            row.parameters, row.saved_at = parameters, self._store.now()

    def rename(self, whose: Identity, name: str, renamed: str) -> None:
        """Give a preset another name.

        Raises:
            PresetUnknown: there is none.
            PresetNameRefused, PresetNameTaken: the name cannot be one, or another preset has it.
        """
        renamed = checked_name(renamed)
        with self._store.transaction() as session:
            row = session.scalar(select(PresetRow).where(_is(whose, name)))
            if row is None:
                raise _unknown(name)
            taken = select(PresetRow.id).where(_is(whose, renamed), PresetRow.id != row.id)
            if session.scalar(taken) is not None:
                raise PresetNameTaken(f"another preset is called {renamed!r}")
            row.name = renamed

    def delete(self, whose: Identity, name: str) -> None:
        """Delete a preset. Raises: PresetUnknown, where there is none."""
        with self._store.transaction() as session:
            gone = session.execute(
                delete(PresetRow).where(_is(whose, name)).returning(PresetRow.id)
            )
            if gone.first() is None:
                raise _unknown(name)


def checked_name(name: str) -> str:
    """Return a name as it is kept. Raises: PresetNameRefused, when it cannot be one."""
    name = " ".join(name.split())
    if not name:
        raise PresetNameRefused("a preset needs a name")
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise PresetNameRefused(
            f"a name has at most {LONGEST_NAME} characters, all of them visible"
        )
    return name


def _unknown(name: str) -> PresetUnknown:
    return PresetUnknown(f"no preset is called {name!r}" if name else "no preset is chosen")


def _is(whose: Identity, name: str) -> ColumnElement[bool]:
    return (PresetRow.whose == whose.key) & (PresetRow.name == name)


def _owned(whose: Identity) -> str:
    if (key := whose.key) is None:
        raise NoCookies("the page cannot know it again")
    return key
