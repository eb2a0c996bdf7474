"""A process that places an order and is killed at the commit: `python -m tests.fault_injection.crashing_client before|after ORDER PRODUCT`."""

import os
import signal
import sys
from typing import Any
from uuid import UUID

import django

django.setup()

from django.db import connection  # noqa: E402  # models can be imported only now

from orderflow.core.quantities import ProductQuantity  # noqa: E402
from sales.services import SalesOrderDraft, place_orders  # noqa: E402


def die_at_the_commit(when: str) -> None:
    mortal: Any = connection
    commit = mortal._commit

    def fatal_commit() -> None:
        if when == "after":
            commit()
        os.kill(os.getpid(), signal.SIGKILL)

    mortal._commit = fatal_commit


if __name__ == "__main__":
    when, order, product = sys.argv[1:]
    lines = [ProductQuantity(product_id=UUID(product), quantity=1)]
    die_at_the_commit(when)
    place_orders([SalesOrderDraft(id=UUID(order), lines=lines)])
