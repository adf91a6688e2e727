"""Databases of older versions: the columns and indexes they lack are added, and nothing else."""

from sqlalchemy import Connection, Engine, MetaData, inspect
from sqlalchemy.exc import DBAPIError


def add_what_is_missing(engine: Engine, tables: MetaData) -> None:
    """Add every column and index that a table has here and not yet in the database.

    So a column that is added to `tables` must allow NULL: the rows that are there have no value.
    """
    try:
        with engine.begin() as connection:
            _add(connection, tables)
    except DBAPIError:  # another process may have done the same at this moment
        with engine.begin() as connection:
            _add(connection, tables)


def _add(connection: Connection, tables: MetaData) -> None:
    there = inspect(connection)
    quote = connection.dialect.identifier_preparer.quote
    for table in tables.sorted_tables:
        known = {column["name"] for column in there.get_columns(table.name)}
        for column in table.columns:
            if column.name not in known:
                kind = column.type.compile(connection.dialect)
                connection.exec_driver_sql(
                    f"ALTER TABLE {quote(table.name)} ADD COLUMN {quote(column.name)} {kind}"
                )
        for index in table.indexes:
            index.create(connection, checkfirst=True)
