"""The audit: checks the invariants over one snapshot of the database.

Messages that are queued count as handled, so the audit may run at any time.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import purchase.queries
import sales.queries
import stock.queries
from orderflow.core.database import snapshot
from orderflow.core.invariants import InvariantCheck, check_invariant
from orderflow.messaging import queries as messaging
from purchase.contract import (
    CreatePurchaseOrder,
    GoodsReceived,
    PurchaseOrderCancelled,
    PurchaseOrderClosedShort,
    ReverseReceipt,
    WithdrawPurchaseOrder,
)
from stock.contract import (
    MakeReservation,
    ReleaseReservation,
    ReservationAccepted,
    ShipReservation,
)

CLOSING = (GoodsReceived, PurchaseOrderCancelled, PurchaseOrderClosedShort)
RETRY = "sales.RetryReservation"  # internal to Sales, so only its name is known here


def audit() -> list[InvariantCheck]:
    """Check every invariant in one snapshot."""
    with snapshot():
        return [
            *sales.queries.invariant_checks(),
            *stock.queries.invariant_checks(),
            *purchase.queries.invariant_checks(),
            *_sales_and_stock(),
            *_sales_and_purchase(),
            *_purchase_and_stock(),
            *_messages(),
        ]


# -- between contexts ----------------------------------------------------------------------------


def _sales_and_stock() -> Iterator[InvariantCheck]:
    pending = messaging.pending_keys
    delivered = sales.queries.order_ids_with_status("delivered")
    deliverable = sales.queries.order_ids_with_status("deliverable")
    cancelled = sales.queries.order_ids_with_status("cancelled")
    shipped = stock.queries.reservation_ids_with_status("shipped")
    accepted = stock.queries.reservation_ids_with_status("accepted")
    reserving = stock.queries.reservation_ids_with_status("backordered", "accepted")
    released = stock.queries.reservation_ids_with_status("released")
    yield check_invariant(
        "every order is reserved as ordered, or a reservation request is pending",
        _reservation_differences(),
    )
    yield check_invariant(
        "cancelled orders have no reserved stock, or their release is pending",
        reserving & cancelled - pending("stock", ReleaseReservation),
    )
    yield check_invariant(
        "only reservations of cancelled sales orders are released", released - cancelled
    )
    yield check_invariant(
        "delivered orders are shipped, or their shipment is pending",
        delivered - shipped - pending("stock", ShipReservation),
    )
    yield check_invariant(
        "only reservations of delivered sales orders are shipped", shipped - delivered
    )
    yield check_invariant(
        "deliverable orders have an accepted reservation", deliverable - accepted
    )
    yield check_invariant(
        "orders with accepted reservations are deliverable or delivered, or a message is pending",
        accepted
        - (deliverable | delivered)
        - pending("sales", ReservationAccepted, RETRY)
        - pending("stock", MakeReservation, ReleaseReservation),
    )
    yield check_invariant(
        "orders awaiting stock reservation have a pending message or need attention",
        sales.queries.order_ids_with_status("awaiting_stock_reservation")
        - pending()
        - sales.queries.order_ids_needing_attention(),
    )
    yield check_invariant(
        "every shortage of a sales order awaiting goods received is on order",
        _shortages_not_on_order(),
    )
    yield check_invariant(
        "no purchase order exceeds the reported shortage, and none is repeated",
        _excess_purchases(),
    )


def _sales_and_purchase() -> Iterator[InvariantCheck]:
    awaited = sales.queries.awaited_purchase_orders()
    linked = sales.queries.open_linked_purchase_orders()
    open_orders = purchase.queries.open_purchase_order_ids()
    closing = messaging.pending_keys("sales", *CLOSING)
    creating = messaging.pending_keys("purchase", CreatePurchaseOrder)
    creating_or_withdrawing = messaging.pending_keys(
        "purchase", CreatePurchaseOrder, WithdrawPurchaseOrder
    )
    yield check_invariant(
        "awaited purchase orders are open, or a message about them is pending",
        (
            purchase_order_id
            for purchase_order_id, sales_order_id in awaited.items()
            if purchase_order_id not in open_orders | closing and sales_order_id not in creating
        ),
    )
    yield check_invariant(
        "closed purchase orders are recorded as closed in Sales, or a message is pending",
        (
            purchase_order_id
            for purchase_order_id, sales_order_id in linked.items()
            if purchase_order_id not in open_orders | closing
            and sales_order_id not in creating_or_withdrawing
        ),
    )
    yield check_invariant(
        "every linked purchase order has the requested lines", _purchase_order_differences()
    )


def _purchase_and_stock() -> Iterator[InvariantCheck]:
    yield check_invariant(
        "Stock has recorded what Purchase received, or the message is pending",
        _receipt_differences(),
    )


def _messages() -> Iterator[InvariantCheck]:
    yield check_invariant(
        "there are no dead letters",
        (
            f"{each.message_id}: {each.type} to {each.consumer}: {each.last_error}"
            for each in messaging.dead_letters()
        ),
    )


def _reservation_differences() -> Iterator[str]:
    """Compare order lines with reservation lines, except where a change is pending."""
    requesting = messaging.pending_keys("stock", MakeReservation)
    requesting |= messaging.pending_keys("sales", RETRY)
    releasing = messaging.pending_keys("stock", ReleaseReservation)
    ordered = {
        (order_id, product_id): (quantity, revision)
        for order_id, product_id, quantity, revision in sales.queries.ordered_lines()
    }
    for order_id, product_id, quantity, revision in stock.queries.requested_lines():
        expected = ordered.pop((order_id, product_id), None)
        if expected != (quantity, revision) and order_id not in requesting | releasing:
            yield (
                f"sales order {order_id}, product {product_id}: reservation of {quantity} "
                f"(revision {revision}) differs from the order"
            )
    for (order_id, product_id), (quantity, revision) in ordered.items():
        if order_id not in requesting:
            yield (
                f"sales order {order_id}, product {product_id}: {quantity} ordered "
                f"(revision {revision}), no reservation"
            )


def _shortages_not_on_order() -> Iterator[str]:
    on_order: Counter[tuple[UUID, UUID]] = Counter()
    for order_id, product_id, quantity in sales.queries.lines_on_order():
        on_order[order_id, product_id] += quantity
    awaiting = sales.queries.order_ids_with_status("awaiting_goods_received")
    for order_id, product_id, shortage in stock.queries.shortages():
        covered = on_order[order_id, product_id]
        if order_id in awaiting and shortage > covered:
            yield (
                f"sales order {order_id}, product {product_id}: shortage {shortage}, "
                f"on order {covered}"
            )


def _receipt_differences() -> Iterator[str]:
    received = Counter(purchase.queries.received_by_product())
    recorded = Counter(stock.queries.received_by_product())
    for payload in messaging.pending_payloads("stock", GoodsReceived):
        for line in payload["lines"]:
            recorded[UUID(line["product_id"])] += line["quantity"]
    for payload in messaging.pending_payloads("purchase", ReverseReceipt):
        received[UUID(payload["line"]["product_id"])] -= payload["line"]["quantity"]
    for product_id in received.keys() | recorded.keys():
        if received[product_id] != recorded[product_id]:
            yield (
                f"product {product_id}: {received[product_id]} received, "
                f"{recorded[product_id]} recorded or pending"
            )


def _excess_purchases() -> Iterator[str]:
    """Find purchases beyond the shortages that the causing reply reported.

    What was on order at that time counts as covered. An earlier purchase order was still on order
    if the message that closed it is later than the message that requested this purchase order.
    """
    for rejection in messaging.causes_with_duplicates(CreatePurchaseOrder):
        yield f"message {rejection} caused several purchase orders"
    closed_by = {str(key): value for key, value in sales.queries.closing_message_ids().items()}
    earlier: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)  # by sales order
    for message_id, order, cause_type, cause in messaging.payloads_with_causes(
        CreatePurchaseOrder
    ):
        shortages: Counter[str] = Counter()
        if cause and cause_type == "stock.ReservationRejected":
            shortages = _quantities(cause, "shortages")
        for each in earlier[order["requester_id"]]:
            if (closed_by.get(each["purchase_order_id"], 0) or message_id + 1) > message_id:
                shortages -= _quantities(each)  # a difference of counters is never negative
        if excess := _quantities(order) - shortages:
            quantities = ", ".join(f"{excess[each]} of product {each}" for each in sorted(excess))
            yield (
                f"message {message_id} purchases too much for sales order "
                f"{order['requester_id']}: {quantities}"
            )
        earlier[order["requester_id"]].append(order)


def _purchase_order_differences() -> Iterator[str]:
    """Compare the quantities of CreatePurchaseOrder with those of the purchase orders."""
    requested: Counter[tuple[str, str]] = Counter()
    ordered: Counter[tuple[str, str]] = Counter()
    for order_id, product_id, _, quantity in purchase.queries.pegged_lines():
        ordered[str(order_id), str(product_id)] += quantity
    pending = {
        payload["purchase_order_id"]
        for payload in messaging.pending_payloads("purchase", CreatePurchaseOrder)
    }
    # An external purchase order is stored here before its message is handled.
    pending -= {purchase_order_id for purchase_order_id, _ in ordered}
    left_out = pending | {str(each) for each in purchase.queries.withdrawn_before_creation()}
    for _, order, _, _ in messaging.payloads_with_causes(CreatePurchaseOrder):
        purchase_order_id = order["purchase_order_id"]
        if purchase_order_id not in left_out:
            for product, quantity in _quantities(order).items():
                requested[purchase_order_id, product] += quantity
    for key in requested.keys() | ordered.keys():
        if requested[key] != ordered[key]:
            yield (
                f"purchase order {key[0]}, product {key[1]}: {requested[key]} requested, "
                f"{ordered[key]} ordered"
            )


def _quantities(payload: dict[str, Any], field: str = "lines") -> Counter[str]:
    quantities: Counter[str] = Counter()
    for line in payload[field]:
        quantities[line["product_id"]] += line["quantity"]
    return quantities
