"""Integers of requests, small enough for engines, floating point and columns of a database."""

from typing import Annotated

from pydantic import Field

Positive = Annotated[int, Field(ge=1, lt=2**31)]
NotNegative = Annotated[int, Field(ge=0, lt=2**31)]
