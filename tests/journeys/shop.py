"""What journeys do, wait for and look at."""

from django.db.models import Sum

from orderflow.console.audit import audit
from orderflow.messaging.models import StoredMessage
from orderflow.messaging.queries import is_quiet
from purchase.models import PurchaseOrder
from sales.models import OrderStatus, SalesOrder
from sales.services import NewOrder, place_orders
from stock.models import Balance, ReservationLine
from stock.services import Adjustment, adjust_stock
from tests.conftest import lines, product
from tests.journeys.conftest import assert_eventually


def put_on_the_shelf(sku: str, quantity: int) -> None:
    adjust_stock([Adjustment(product_id=product(sku), quantity=quantity, reason="opening")], by="Ada")


def place(delivery: str = "automatic", **quantities: int) -> SalesOrder:
    [order] = place_orders([NewOrder(lines=lines(**quantities), delivery=delivery)])
    return order


def state(order: SalesOrder) -> str:
    return OrderStatus.objects.get(order=order).state


def eventually(order: SalesOrder, wanted: str) -> None:
    assert_eventually(lambda: state(order) == wanted)


def bought_for(order: SalesOrder, *, after: PurchaseOrder | None = None) -> PurchaseOrder:
    """The purchase order that a sales order waits for, `after` the one that has come, once Purchase has it."""
    waits = OrderStatus.objects.filter(order=order, state="awaiting_goods_received")
    if after:
        waits = waits.exclude(purchase_order_id=after.id)
    mine = PurchaseOrder.objects.filter(id__in=waits.values("purchase_order_id"))
    assert_eventually(mine.exists)
    return mine.get()


def held(order: SalesOrder) -> int:
    total: int = ReservationLine.objects.filter(reservation=order.id).aggregate(total=Sum("held"))["total"]
    return total


def level(sku: str) -> tuple[int, int]:
    balance = Balance.objects.get(product__sku=sku)
    return balance.on_hand, balance.reserved


def assert_all_is_well() -> None:
    assert_eventually(is_quiet)
    assert [check for check in audit() if check.offenders] == []


def countdowns() -> list[float]:
    retries = StoredMessage.objects.filter(type="sales.RetryReservation").order_by("id")
    return [payload["countdown"] for payload in retries.values_list("payload", flat=True)]


def requests() -> list[int]:
    asked = StoredMessage.objects.filter(type="stock.MakeReservation").order_by("id")
    return [payload["request"] for payload in asked.values_list("payload", flat=True)]
