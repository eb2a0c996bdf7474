"""A process that places an order and is killed at the commit.

python -m tests.fault_injection.crashing_client before|after SALES_ORDER_ID PRODUCT_ID
"""

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


def crash_at_commit(when: str) -> None:
    patched: Any = connection
    commit = patched._commit

    def crash() -> None:
        if when == "after":
            commit()
        os.kill(os.getpid(), signal.SIGKILL)

    patched._commit = crash


if __name__ == "__main__":
    when, sales_order_id, product_id = sys.argv[1:]
    lines = [ProductQuantity(product_id=UUID(product_id), quantity=1)]
    crash_at_commit(when)
    place_orders([SalesOrderDraft(id=UUID(sales_order_id), lines=lines)])
