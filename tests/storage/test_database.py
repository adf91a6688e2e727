"""Databases of other machines: one that is away is told at once."""

import sqlite3

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from llava_serve.errors import StorageFailed
from llava_serve.storage.database import make_tables


class Far(SQLiteDialect_pysqlite):
    """A dialect whose database is on another machine."""

    name = "far"
    supports_statement_cache = True


def test_a_database_on_another_machine_that_is_away_is_asked_once() -> None:
    registry.register("far", __name__, "Far")
    engine = create_engine("far://")
    tries = 0

    @event.listens_for(engine, "do_connect")
    def refuse(*_: object) -> None:
        nonlocal tries
        tries += 1
        raise sqlite3.OperationalError("no route to host")

    tables = MetaData()
    Table("some", tables, Column("id", Integer))
    with pytest.raises(StorageFailed, match="no route to host"):
        make_tables(engine, tables)
    assert tries == 1
