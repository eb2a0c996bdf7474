"""Whatever people do, in whichever order messages are handed over: the audit stays clean, and in the end every order has ended.

Each story is drawn from its seed, so a failure can be told again. ORDERFLOW_STORIES=500 tells more of them.
"""

import os
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db.models import F, QuerySet, Sum
from django.utils import timezone

import purchase.services
import sales.services
from orderflow.catalog.quantities import ProductQuantity
from orderflow.console.audit import audit
from orderflow.messaging import consuming
from orderflow.messaging.models import Delivery, StoredMessage
from orderflow.messaging.subscriptions import subscription_of
from orderflow.refusals import Refused
from purchase.models import PurchaseOrder, PurchaseOrderLine, ReceiptLine
from purchase.services import Arrival, cancel_purchase_orders, close_short, expect_goods, receive_goods
from sales.models import OrderPurchase, OrderStatus, SalesOrder, SalesOrderLine
from sales.services import NewOrder, cancel_orders, change_order, deliver_orders, place_orders, try_again
from stock.models import Balance, ReservationLine, StockMovement
from stock.services import Adjustment, Reversal, adjust_stock, reverse_receipt
from tests.conftest import product, settle

pytestmark = pytest.mark.django_db(transaction=True)

STORIES = int(os.environ.get("ORDERFLOW_STORIES", "12"))
STEPS = 80
STUMBLED = "it stumbled, for the story's sake"
SKUS = ("chair", "desk", "lamp")


class Story:
    """What may happen next, drawn at random; what is refused did not happen."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.told: list[str] = []
        self._acts: list[tuple[int, Callable[[], object]]] = [
            (8, self.place),
            (3, self.cancel),
            (4, self.change),
            (2, self.deliver),
            (2, self.try_again),
            (8, self.receive),
            (2, self.close_short),
            (2, self.cancel_purchase_order),
            (2, self.adjust),
            (2, self.reverse),
            (2, self.expect),
            (2, self.look_at_the_clock),
            (6, self.ring_the_timers),
            (4, self.stumble),
            (3, self.get_up),
            (40, self.hand_over),
        ]

    def step(self) -> None:
        weights, acts = zip(*self._acts, strict=True)
        [act] = self._random.choices(acts, weights)
        self.told.append(act.__name__)
        with suppress(Refused):
            act()

    def place(self) -> None:
        delivery = self._random.choice(["automatic", "manual"])
        place_orders([NewOrder(lines=self._lines(), delivery=delivery, priority=self._random.choice([0, 0, 1]))])

    def cancel(self) -> None:
        cancel_orders([self._sales_order()], by="Ada")

    def change(self) -> None:
        change_order(self._sales_order(), self._lines(), by="Ada")

    def deliver(self) -> None:
        deliver_orders([self._sales_order()], by="Ada")

    def try_again(self) -> None:
        try_again([self._sales_order()], by="Ada")

    def receive(self) -> None:
        order = self._purchase_order()
        rows = PurchaseOrderLine.objects.filter(order=order, received__lt=F("quantity"))
        parts = [
            (row.product_id, self._random.randint(0, row.quantity - row.received + 1)) for row in rows.order_by("product__sku")
        ]
        arrived = [ProductQuantity(product_id=each, quantity=quantity) for each, quantity in parts if quantity]
        receive_goods([Arrival(purchase_order_id=order, lines=arrived if self._random.random() < 0.6 else None)])

    def close_short(self) -> None:
        close_short([self._purchase_order()], by="Ada")

    def cancel_purchase_order(self) -> None:
        cancel_purchase_orders([self._purchase_order()], by="Ada")

    def adjust(self) -> None:
        adjust_stock([Adjustment(product_id=self._product(), quantity=self._random.choice([-2, 1, 4]), reason="")], by="Ada")

    def reverse(self) -> None:
        rows = list(ReceiptLine.objects.select_related("line").order_by("id"))
        if rows:
            row = self._random.choice(rows)
            reverse_receipt(Reversal(receipt_id=row.receipt_id, product_id=row.line.product_id, quantity=1, reason=""), by="Ada")

    def expect(self) -> None:
        expect_goods(self._purchase_order(), timezone.now() + timedelta(days=self._random.choice([-1, 1])), by="Ada")

    def look_at_the_clock(self) -> None:
        purchase.services.mark_overdue()
        sales.services.mark_overdue()

    def ring_the_timers(self) -> None:
        Delivery.objects.filter(attempts=0).update(due_at=timezone.now())

    def stumble(self) -> None:
        """Whoever was to get a message next fails at it: what follows it within its key waits, and all else overtakes."""
        delivery = Delivery.objects.filter(consumer=self._consumer(), attempts=0, state="waiting").order_by("id").first()
        if delivery:
            an_hour_later = timezone.now() + timedelta(hours=1)
            Delivery.objects.filter(pk=delivery.pk).update(attempts=1, due_at=an_hour_later, last_error=STUMBLED)

    def get_up(self) -> None:
        _get_up()

    def hand_over(self) -> None:
        """One batch, to one consumer."""
        subscription = subscription_of(self._consumer())
        consuming._handle_batch(subscription, self._random.randint(1, 6))

    def _consumer(self) -> str:
        return self._random.choice(["sales", "stock", "purchase"])

    def _sales_order(self) -> UUID:
        return self._any(SalesOrder.objects.order_by("placed_at"))

    def _purchase_order(self) -> UUID:
        return self._any(PurchaseOrder.objects.order_by("ordered_at"))

    def _any(self, rows: QuerySet[SalesOrder] | QuerySet[PurchaseOrder]) -> UUID:
        ids = list(rows.values_list("pk", flat=True))
        return self._random.choice(ids) if ids else UUID(int=0)

    def _product(self) -> UUID:
        return product(self._random.choice(SKUS))

    def _lines(self) -> list[ProductQuantity]:
        skus = self._random.sample(SKUS, self._random.randint(1, len(SKUS)))
        return [ProductQuantity(product_id=product(sku), quantity=self._random.randint(1, 5)) for sku in skus]


@pytest.mark.parametrize("seed", range(STORIES))
def test_whatever_happens(seed: int, settings: Any) -> None:
    settings.ORDERFLOW_BUY = ("ordered", "shortage")[seed % 2]
    settings.ORDERFLOW_OVER_RECEIPT = (0, 50)[seed // 2 % 2]
    settings.ORDERFLOW_CANCEL_PURCHASES = ("cancelled", "unneeded", "never")[seed % 3]
    story = Story(seed)
    for step in range(STEPS):
        story.step()
        if step % 4 == 0:
            _assert_all_is_well(story)
    _heal()
    _assert_all_is_well(story)
    _assert_every_order_has_ended()


def _heal() -> None:
    """Hand over what is on its way, ring every timer, receive what is open, deliver what may be, try again what needs it."""
    _get_up()
    for _ in range(30):
        Delivery.objects.filter(attempts=0).update(due_at=timezone.now())
        settle()
        for act, rows in (
            (deliver_orders, OrderStatus.objects.filter(state="deliverable")),
            (try_again, OrderStatus.objects.filter(needs_attention=True)),
        ):
            act(list(rows.values_list("pk", flat=True)), by="Ada")
        receive_goods([Arrival(purchase_order_id=each.pk) for each in PurchaseOrder.objects.open()])
        if not Delivery.objects.exists():
            return


def _get_up() -> None:
    """What failed on purpose is tried again."""
    Delivery.objects.filter(last_error=STUMBLED).update(attempts=0, due_at=timezone.now(), last_error="")


def _assert_all_is_well(story: Story) -> None:
    assert [check for check in audit() if check.offenders] == [], story.told
    assert _given_up_and_still_open() == set(), story.told
    assert _asked_before_stock_had_caught_up() == [], story.told
    assert _late_and_not_overdue() == [], story.told


def _given_up_and_still_open() -> set[str]:
    """Purchase orders of which nothing ever came, although Purchase has handled that nobody needs them any more."""
    commands = StoredMessage.objects.filter(type="purchase.CancelPurchaseOrder").exclude(deliveries__isnull=False)
    untouched = PurchaseOrder.objects.filter(status="open").values_list("pk", flat=True)
    return {payload["purchase_order_id"] for payload in commands.values_list("payload", flat=True)} & {
        str(pk) for pk in untouched
    }


def _late_and_not_overdue() -> list[UUID]:
    """Sales orders that await goods which are late, as Sales has heard, and are not marked overdue."""
    awaiting = OrderStatus.objects.filter(state__startswith="awaiting", overdue=False)
    late = awaiting.filter(purchases__in=OrderPurchase.objects.filter(late=True, closed_by__isnull=True))
    return list(late.values_list("pk", flat=True))


def _asked_before_stock_had_caught_up() -> list[UUID]:
    """Sales orders whose latest question was asked although Stock had not handled what closed a purchase order of theirs."""
    on_the_way = Delivery.objects.filter(consumer="stock").values("message_id")
    waiting = OrderStatus.objects.filter(state__startswith="awaiting", purchases__closed_by__in=on_the_way)
    questions = StoredMessage.objects.filter(type="stock.MakeReservation")
    return [each.pk for each in waiting if questions.filter(key=each.pk, payload__request=each.request).exists()]


def _assert_every_order_has_ended() -> None:
    assert set(OrderStatus.objects.values_list("state", flat=True)) <= {"delivered", "cancelled"}
    assert not ReservationLine.objects.filter(reservation__status="released", held__gt=0).exists()
    for balance in Balance.objects.all():
        of_it = StockMovement.objects.filter(product=balance.product_id)
        came = of_it.filter(kind__in=["received", "reversed", "adjusted"]).aggregate(total=Sum("on_hand"))["total"] or 0
        lines = SalesOrderLine.objects.filter(product=balance.product_id, order__status__state="delivered")
        delivered = lines.aggregate(total=Sum("quantity"))["total"] or 0
        assert (balance.on_hand, balance.reserved) == (came - delivered, 0)
