"""What the console adds to the contexts' own pages."""

from collections.abc import Iterable
from uuid import UUID

from orderflow.admin_tools.explaining import explained_by
from orderflow.console.waiting import why_it_waits


def reasons(sales_order_id: UUID) -> Iterable[str]:
    why = why_it_waits(str(sales_order_id))
    return why.reasons if why and why.reasons else ["-"]


explained_by("sales.salesorder", reasons)
