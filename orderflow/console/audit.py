"""Checks the invariants over the whole database, as of one moment; what is on the way counts, so it may run at any time."""

from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import purchase.queries
import sales.queries
import stock.queries
from orderflow.database import snapshot
from orderflow.findings import Check, check
from orderflow.messaging import queries as messaging
from purchase.contract import CreatePurchaseOrder, GoodsReceived
from stock.contract import MakeReservation, ReservationAccepted, ShipReservation


def audit() -> list[Check]:
    """Every check, in one snapshot."""
    with snapshot():
        return [*sales.queries.checks(), *stock.queries.checks(), *purchase.queries.checks(), *_between_contexts()]


def _between_contexts() -> Iterator[Check]:
    on_the_way = messaging.keys_on_the_way
    delivered, deliverable = sales.queries.orders_in("delivered"), sales.queries.orders_in("deliverable")
    shipped = stock.queries.reservations_that_are("shipped")
    accepted = stock.queries.reservations_that_are("accepted")
    yield check("every order is reserved as it was ordered, or is about to be", _reserved_otherwise_than_ordered())
    yield check(
        "what is delivered was shipped, or is about to be",
        delivered.exclude(order_id__in=shipped).exclude(order_id__in=on_the_way("stock", ShipReservation)),
    )
    yield check("nothing was shipped that is not delivered", shipped.exclude(id__in=delivered))
    yield check("what is deliverable is promised by Stock", deliverable.exclude(order_id__in=accepted))
    yield check(
        "Sales knows what Stock promised, or is about to",
        accepted.exclude(id__in=sales.queries.orders_in("deliverable", "delivered")).exclude(
            id__in=on_the_way("sales", ReservationAccepted)
        ),
    )
    yield check(
        "who awaits Stock's answer will be answered",
        sales.queries.orders_in("awaiting_stock_reservation").exclude(order_id__in=on_the_way()),
    )
    yield check(
        "who awaits goods has them on order, or on the way",
        (
            purchase_order
            for purchase_order in sales.queries.awaited_purchases()
            .exclude(purchase_order_id__in=purchase.queries.open_orders())
            .exclude(purchase_order_id__in=on_the_way("sales", GoodsReceived))
            .exclude(order_id__in=on_the_way("purchase", CreatePurchaseOrder))
        ),
    )
    yield check(
        "whose purchase order has arrived knows it, or is about to",
        sales.queries.purchases_thought_open()
        .exclude(purchase_order_id__in=purchase.queries.open_orders())
        .exclude(purchase_order_id__in=on_the_way("sales", GoodsReceived))
        .exclude(status__in=on_the_way("purchase", CreatePurchaseOrder)),
    )
    yield check("what Purchase received is what Stock booked, or is about to", _received_otherwise_than_booked())
    yield check("bought was what Stock said was missing, once for each shortage", _bought_otherwise_than_missing())
    yield check("every automatic purchase order was asked for, and is as it was asked for", _not_as_asked_for())
    yield check(
        "no dead letter waits for a person",
        (f"{letter.id}: {letter.type} to {letter.consumer}: {letter.last_error}" for letter in messaging.dead_letters()),
    )


def _reserved_otherwise_than_ordered() -> Iterator[str]:
    ordered = {(order, product): quantity for order, product, quantity in sales.queries.lines_ordered()}
    for order, product, quantity in stock.queries.lines_reserved():
        if ordered.pop((order, product), None) != quantity:
            yield f"sales order {order}, product {product}: {quantity} reserved, which is not what was ordered"
    on_the_way = set(messaging.keys_on_the_way("stock", MakeReservation))
    for (order, product), quantity in ordered.items():
        if order not in on_the_way:
            yield f"sales order {order}, product {product}: {quantity} ordered, and no reservation"


def _received_otherwise_than_booked() -> Iterator[str]:
    received = Counter(purchase.queries.received_by_product())
    booked = Counter(stock.queries.received_by_product())
    for payload in messaging.payloads_on_the_way("stock", GoodsReceived):
        for line in payload["lines"]:
            booked[UUID(line["product_id"])] += line["quantity"]
    for product in received.keys() | booked.keys():
        if received[product] != booked[product]:
            yield f"product {product}: {received[product]} received, {booked[product]} booked or on the way"


def _bought_otherwise_than_missing() -> Iterator[str]:
    for rejection in messaging.caused_more_than_one(CreatePurchaseOrder):
        yield f"message {rejection} was answered with several purchase orders"
    for message_id, order, cause_type, cause in messaging.payloads_with_causes(CreatePurchaseOrder):
        if cause_type != "stock.ReservationRejected" or cause is None or _quantities(order) != _quantities(cause, "missing"):
            yield f"message {message_id}: {order}"


def _not_as_asked_for() -> Iterator[str]:
    """Compares quantities by purchase order and product, leaving aside what is still on its way to Purchase."""
    asked: Counter[tuple[str, str]] = Counter()
    for _, order, _, _ in messaging.payloads_with_causes(CreatePurchaseOrder):
        asked.update({(order["purchase_order_id"], product): quantity for product, quantity in _quantities(order).items()})
    for on_the_way in messaging.payloads_on_the_way("purchase", CreatePurchaseOrder):
        for product in _quantities(on_the_way):
            del asked[on_the_way["purchase_order_id"], product]
    ordered: Counter[tuple[str, str]] = Counter()
    for purchase_order_id, product_id, _, quantity in purchase.queries.pegged_lines():
        ordered[str(purchase_order_id), str(product_id)] += quantity
    for key in asked.keys() | ordered.keys():
        if asked[key] != ordered[key]:
            yield f"purchase order {key[0]}, product {key[1]}: {asked[key]} asked for, {ordered[key]} ordered"


def _quantities(payload: dict[str, Any], field: str = "lines") -> Counter[str]:
    quantities: Counter[str] = Counter()
    for line in payload[field]:
        quantities[line["product_id"]] += line["quantity"]
    return quantities
