"""What clients send and get. Money is in cents."""

from enum import Enum
from typing import Annotated

from msgspec import Meta, Struct
from pydantic import BaseModel, Field


class Role(Enum):
    CUSTOMER = "customer"
    CLERK = "clerk"


class State(Enum):
    PLACED = "placed"
    PAID = "paid"
    SHIPPED = "shipped"


class Sku(Enum):
    TEA = "tea"
    CUP = "cup"
    POT = "pot"


class Bank(Enum):
    NORTH = "north"
    SOUTH = "south"


Cents = Annotated[int, Meta(ge=0, le=10**12, description="Cents.")]


class Line(Struct, forbid_unknown_fields=True):
    """So many of one thing."""

    sku: Sku
    count: Annotated[int, Meta(ge=1, le=100)] = 1


class NewOrder(Struct, forbid_unknown_fields=True):
    """What a customer wants."""

    lines: Annotated[list[Line], Meta(min_length=1, max_length=20)]
    note: Annotated[str, Meta(max_length=200)] = ""


class Address(BaseModel):
    """Where an order goes."""

    name: str = Field(min_length=1, max_length=80)
    street: str = Field(min_length=1, max_length=80)
    postcode: str = Field(pattern=r"^[0-9]{4,5}$")
    country: str = Field(default="CH", pattern=r"^[A-Z]{2}$")


class Order(Struct, frozen=True):
    """An order that was placed."""

    number: int
    customer: str
    lines: list[Line]
    total: Cents
    note: str = ""
    state: State = State.PLACED
    address: str = ""


class Payment(Struct):
    """What a bank tells us."""

    order: Annotated[int, Meta(ge=1)]
    amount: Cents
