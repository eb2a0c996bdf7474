"""Checks the invariants over the whole database, as of one moment; what is on the way counts, so it may run at any time."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import purchase.queries
import sales.queries
import stock.queries
from orderflow.database import snapshot
from orderflow.findings import Check, check
from orderflow.messaging import queries as messaging
from purchase.contract import (
    CancelPurchaseOrder,
    CreatePurchaseOrder,
    GoodsReceived,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    ReverseReceipt,
)
from stock.contract import MakeReservation, ReleaseReservation, ReservationAccepted, ShipReservation

CLOSING = (GoodsReceived, PurchaseOrderCancelled, PurchaseOrderClosedShort)
RETRY = "sales.RetryReservation"  # Sales' own timer: its name is all that others may know of it


def audit() -> list[Check]:
    """Every check, in one snapshot."""
    with snapshot():
        within = [*sales.queries.checks(), *stock.queries.checks(), *purchase.queries.checks()]
        between = [*_sales_and_stock(), *_sales_and_purchase(), *_purchase_and_stock()]
        return [*within, *between, *_messages()]


# -- between contexts -----------------------------------------------------------------------------------------------------


def _sales_and_stock() -> Iterator[Check]:
    on_the_way = messaging.keys_on_the_way
    delivered, deliverable = sales.queries.orders_in("delivered"), sales.queries.orders_in("deliverable")
    cancelled = sales.queries.orders_in("cancelled")
    shipped = stock.queries.reservations_that_are("shipped")
    accepted = stock.queries.reservations_that_are("accepted")
    yield check("every order is reserved as it was ordered, or is about to be", _reserved_otherwise_than_ordered())
    yield check(
        "nothing is held for what was cancelled, or it is about to be released",
        stock.queries.reservations_that_are("waiting", "accepted")
        .filter(id__in=cancelled)
        .exclude(id__in=on_the_way("stock", ReleaseReservation)),
    )
    yield check(
        "nothing was released that is not cancelled",
        stock.queries.reservations_that_are("released").exclude(id__in=cancelled),
    )
    yield check(
        "what is delivered was shipped, or is about to be",
        delivered.exclude(order_id__in=shipped).exclude(order_id__in=on_the_way("stock", ShipReservation)),
    )
    yield check("nothing was shipped that is not delivered", shipped.exclude(id__in=delivered))
    yield check("what is deliverable is promised by Stock", deliverable.exclude(order_id__in=accepted))
    yield check(
        "Sales knows what Stock promised, or is about to, or asks anew",
        accepted.exclude(id__in=sales.queries.orders_in("deliverable", "delivered"))
        .exclude(id__in=on_the_way("sales", ReservationAccepted, RETRY))
        .exclude(id__in=on_the_way("stock", MakeReservation, ReleaseReservation)),
    )
    yield check(
        "who awaits Stock's answer will be answered, or needs a person's attention",
        sales.queries.orders_in("awaiting_stock_reservation")
        .exclude(order_id__in=on_the_way())
        .exclude(order_id__in=sales.queries.orders_that_need_attention()),
    )
    yield check("whatever is missing for who awaits goods is on order for it", _missing_and_not_on_order())
    yield check("never more was bought than Stock said was missing, nor twice for the same shortage", _bought_too_much())


def _sales_and_purchase() -> Iterator[Check]:
    on_the_way = messaging.keys_on_the_way
    yield check(
        "who awaits goods has them on order, or on the way",
        sales.queries.awaited_purchases()
        .exclude(purchase_order_id__in=purchase.queries.open_orders())
        .exclude(purchase_order_id__in=on_the_way("sales", *CLOSING))
        .exclude(order_id__in=on_the_way("purchase", CreatePurchaseOrder)),
    )
    yield check(
        "whose purchase order is closed knows it, or is about to",
        sales.queries.purchases_thought_open()
        .exclude(purchase_order_id__in=purchase.queries.open_orders())
        .exclude(purchase_order_id__in=on_the_way("sales", *CLOSING))
        .exclude(status__in=on_the_way("purchase", CreatePurchaseOrder, CancelPurchaseOrder)),
    )
    yield check("every automatic purchase order was asked for, and is as it was asked for", _not_as_asked_for())


def _purchase_and_stock() -> Iterator[Check]:
    yield check("what Purchase received is what Stock booked, or is about to", _received_otherwise_than_booked())


def _messages() -> Iterator[Check]:
    yield check(
        "no dead letter waits for a person",
        (f"{letter.id}: {letter.type} to {letter.consumer}: {letter.last_error}" for letter in messaging.dead_letters()),
    )


def _reserved_otherwise_than_ordered() -> Iterator[str]:
    """Compares the lines of orders with those of their reservations, leaving aside who is about to ask, or to be released."""
    asking = set(messaging.keys_on_the_way("stock", MakeReservation)) | set(messaging.keys_on_the_way("sales", RETRY))
    leaving = set(messaging.keys_on_the_way("stock", ReleaseReservation))
    ordered = {(order, product): (quantity, revision) for order, product, quantity, revision in sales.queries.lines_ordered()}
    for order, product, quantity, revision in stock.queries.lines_reserved():
        if ordered.pop((order, product), None) != (quantity, revision) and order not in asking | leaving:
            yield f"sales order {order}, product {product}: {quantity} reserved (revision {revision}), which was not ordered"
    for (order, product), (quantity, revision) in ordered.items():
        if order not in asking:
            yield f"sales order {order}, product {product}: {quantity} ordered (revision {revision}), and no reservation"


def _missing_and_not_on_order() -> Iterator[str]:
    on_order: Counter[tuple[UUID, UUID]] = Counter()
    for order, product, quantity in sales.queries.lines_on_order():
        on_order[order, product] += quantity
    awaiting = set(sales.queries.orders_in("awaiting_goods_received"))
    for order, product, missing in stock.queries.lines_missing():
        if order in awaiting and missing > on_order[order, product]:
            yield f"sales order {order}, product {product}: {missing} missing, {on_order[order, product]} on order"


def _received_otherwise_than_booked() -> Iterator[str]:
    received = Counter(purchase.queries.received_by_product())
    booked = Counter(stock.queries.received_by_product())
    for payload in messaging.payloads_on_the_way("stock", GoodsReceived):
        for line in payload["lines"]:
            booked[UUID(line["product_id"])] += line["quantity"]
    for payload in messaging.payloads_on_the_way("purchase", ReverseReceipt):
        received[UUID(payload["product"]["product_id"])] -= payload["product"]["quantity"]
    for product in received.keys() | booked.keys():
        if received[product] != booked[product]:
            yield f"product {product}: {received[product]} received, {booked[product]} booked or on the way"


def _bought_too_much() -> Iterator[str]:
    """What was bought, with what was on order then, is no more than the answer that caused it called missing.

    What was closed by a later message than the purchase itself was on order then.
    """
    for rejection in messaging.caused_more_than_one(CreatePurchaseOrder):
        yield f"message {rejection} was answered with several purchase orders"
    closed_by = {str(purchase_order): message for purchase_order, message in sales.queries.closed_by().items()}
    before: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)  # by sales order: what was bought for it
    for message_id, order, cause_type, cause in messaging.payloads_with_causes(CreatePurchaseOrder):
        missing = _quantities(cause, "missing") if cause and cause_type == "stock.ReservationRejected" else Counter()
        for earlier in before[order["requester_id"]]:
            if (closed_by.get(earlier["purchase_order_id"], 0) or message_id + 1) > message_id:
                missing -= _quantities(earlier)  # counters go down to zero, and no further
        if _quantities(order) - missing:
            yield f"message {message_id}: {order}"
        before[order["requester_id"]].append(order)


def _not_as_asked_for() -> Iterator[str]:
    """Compares quantities by purchase order and product, leaving aside what is still on its way to Purchase."""
    asked: Counter[tuple[str, str]] = Counter()
    ordered: Counter[tuple[str, str]] = Counter()
    for order_id, product_id, _, quantity in purchase.queries.pegged_lines():
        ordered[str(order_id), str(product_id)] += quantity
    on_the_way = {each["purchase_order_id"] for each in messaging.payloads_on_the_way("purchase", CreatePurchaseOrder)}
    on_the_way -= {purchase_order_id for purchase_order_id, _ in ordered}  # one that is ordered elsewhere is known here before
    left_out = on_the_way | {str(each) for each in purchase.queries.given_up_before_they_came()}
    for _, order, _, _ in messaging.payloads_with_causes(CreatePurchaseOrder):
        purchase_order_id = order["purchase_order_id"]
        if purchase_order_id not in left_out:
            asked.update({(purchase_order_id, product): quantity for product, quantity in _quantities(order).items()})
    for key in asked.keys() | ordered.keys():
        if asked[key] != ordered[key]:
            yield f"purchase order {key[0]}, product {key[1]}: {asked[key]} asked for, {ordered[key]} ordered"


def _quantities(payload: dict[str, Any], field: str = "lines") -> Counter[str]:
    quantities: Counter[str] = Counter()
    for line in payload[field]:
        quantities[line["product_id"]] += line["quantity"]
    return quantities
