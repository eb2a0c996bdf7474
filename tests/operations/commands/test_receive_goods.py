from functools import partial
from io import StringIO
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command

from orderflow.operations.management.commands import receive_goods as command
from purchase.contract import PeggedQuantity
from purchase.models import PurchaseOrder, PurchaseOrderLine, Receipt
from purchase.services import (
    PurchaseOrderDraft,
    ReceiptDraft,
    create_purchase_orders,
    receive_goods,
)
from purchase.services.work import Work
from tests.concurrency.threads import meet
from tests.conftest import lines, product
from tests.operations.commands import run, run_error

pytestmark = pytest.mark.django_db


def create_order(reference: str, **quantities: int) -> PurchaseOrder:
    pegged = [
        PeggedQuantity(product_id=each.product_id, quantity=each.quantity)
        for each in lines(**quantities)
    ]
    [order] = create_purchase_orders([PurchaseOrderDraft(reference=reference, lines=pegged)])
    return order


def received() -> dict[str, dict[str, int]]:
    """Return the received quantities by purchase order and SKU."""
    found: dict[str, dict[str, int]] = {}
    rows = PurchaseOrderLine.objects.filter(received__gt=0).select_related("order", "product")
    for line in rows:
        found.setdefault(line.order.reference, {})[line.product.sku] = line.received
    return found


# -- given purchase orders -----------------------------------------------------------------------


def test_everything_outstanding_is_received() -> None:
    create_order("PO-1", chair=3, desk=1)

    output = run("receive_goods", "PO-1")

    assert received() == {"PO-1": {"chair": 3, "desk": 1}}
    assert output == "PO-1: 3 × chair, 1 × desk\n4 units received for 1 purchase order.\n"
    assert Receipt.objects.get().actor == "receive_goods"


def test_reference_and_id_of_one_order_count_once() -> None:
    by_id = create_order("PO-1", chair=3)
    create_order("PO-2", desk=1)
    create_order("PO-3", desk=7)

    run("receive_goods", str(by_id.id), "PO-2", "PO-1")

    assert received() == {"PO-1": {"chair": 3}, "PO-2": {"desk": 1}}


def test_reference_takes_precedence_over_id() -> None:
    other = create_order("PO-1", chair=3)
    create_order(str(other.id), desk=1)

    run("receive_goods", str(other.id))

    assert received() == {str(other.id): {"desk": 1}}


def test_lines_with_different_pegs_are_shown_as_one() -> None:
    pegged = [
        PeggedQuantity(product_id=product("chair"), quantity=2, pegged_to=uuid4())
        for _ in range(2)
    ]
    create_purchase_orders([PurchaseOrderDraft(reference="PO-1", lines=pegged)])

    assert run("receive_goods", "PO-1").startswith("PO-1: 4 × chair\n")


def test_rejects_unknown_orders_and_receives_nothing() -> None:
    create_order("PO-1", chair=3)
    unknown = str(uuid4())

    error = run_error("receive_goods", "PO-1", "PO-7", unknown)

    assert error == (
        f'No purchase order has the reference or id "PO-7", "{unknown}". No changes were made.'
    )
    assert received() == {}


def test_rejects_closed_order_and_receives_no_other() -> None:
    create_order("PO-1", chair=3)
    create_order("PO-2", desk=1)
    run("receive_goods", "PO-2")

    error = run_error("receive_goods", "PO-1", "PO-2")

    assert error == (
        "Purchase order PO-2 cannot be received: its status is received. No further goods "
        "are expected. Record these goods as a stock adjustment. No changes were made."
    )
    assert received() == {"PO-2": {"desk": 1}}


# -- given quantities of one purchase order ------------------------------------------------------


def test_partial_receipt_leaves_the_other_units_outstanding() -> None:
    create_order("PO-1", chair=3, desk=1)

    first = run("receive_goods", "PO-1", "--lines", "chair=1", "desk=1")
    second = run("receive_goods", "PO-1")

    assert first.startswith("PO-1: 1 × chair, 1 × desk; more is outstanding\n")
    assert second.startswith("PO-1: 2 × chair\n")


def test_sku_may_contain_an_equals_sign() -> None:
    create_order("PO-1", **{"h=80": 3})

    run("receive_goods", "PO-1", "--lines", "h=80=2")

    assert received() == {"PO-1": {"h=80": 2}}


def test_receipt_id_is_recorded_once() -> None:
    create_order("PO-1", chair=3)
    receipt = str(uuid4())

    first = run("receive_goods", "PO-1", "--lines", "chair=1", "--receipt-id", receipt)
    second = run("receive_goods", "PO-1", "--lines", "chair=1", "--receipt-id", receipt)

    assert received() == {"PO-1": {"chair": 1}}
    assert Receipt.objects.get().id == UUID(receipt)
    assert second == first


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["PO-1", "--lines", "chair=4"],
            "Cannot receive 4 × chair for purchase order PO-1: the outstanding quantity is 3.",
        ),
        (["PO-1", "--lines", "desk=1"], "has no line of product"),
        (["PO-1", "--lines", "sofa=1"], "No product has the SKU sofa."),
        (
            ["PO-1", "--lines", "chair"],
            '--lines: "chair" is not SKU=QUANTITY: the quantity is "chair".',
        ),
        (
            ["PO-1", "--lines", "chair=two"],
            '--lines: "chair=two" is not SKU=QUANTITY: the quantity is "two".',
        ),
        (
            ["PO-1", "--lines", "chair=0"],
            'the quantity is "0". It must be a whole number from 1 to 1,000,000,000. '
            "Write each line as in CHAIR=2. No changes were made.",
        ),
        (["PO-1", "--receipt-id", "17"], "invalid UUID value: '17'"),
        (
            ["PO-1", "PO-2", "--lines", "chair=1"],
            "--lines and --receipt-id need exactly one purchase order. No changes were made.",
        ),
        (
            ["--all-open", "--receipt-id", str(uuid4())],
            "--lines and --receipt-id need exactly one purchase order.",
        ),
        (
            ["PO-1", "--all-open"],
            "Give either purchase orders or --all-open. No changes were made.",
        ),
        ([], "Give either purchase orders or --all-open."),
    ],
)
def test_rejects_invalid_arguments_and_receives_nothing(arguments: list[str], reason: str) -> None:
    create_order("PO-1", chair=3)
    create_order("PO-2", desk=1)

    assert reason in run_error("receive_goods", *arguments)
    assert received() == {}


def test_rejects_receipt_id_of_another_order() -> None:
    create_order("PO-1", chair=3)
    create_order("PO-2", chair=3)
    receipt = str(uuid4())
    run("receive_goods", "PO-1", "--receipt-id", receipt)

    error = run_error("receive_goods", "PO-2", "--receipt-id", receipt)

    assert error.startswith(f"Another receipt has the id {receipt}.")


# -- all open purchase orders --------------------------------------------------------------------


def test_all_open_orders_are_received_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "BATCH_SIZE", 2)
    create_order("PO-1", chair=3)
    create_order("PO-2", chair=2, desk=1)
    create_order("PO-3", desk=1)
    run("receive_goods", "PO-1")
    run("receive_goods", "PO-2", "--lines", "chair=1")

    output = run("receive_goods", "--all-open")

    assert output == (
        "PO-2: 1 × chair, 1 × desk\nPO-3: 1 × desk\n3 units received for 2 purchase orders.\n"
    )
    assert not PurchaseOrder.objects.open().exists()


def test_all_open_without_open_orders_receives_nothing() -> None:
    assert run("receive_goods", "--all-open") == "0 units received for 0 purchase orders.\n"


def test_all_open_ignores_order_received_before_its_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "BATCH_SIZE", 1)
    create_order("PO-1", chair=3)
    received_meanwhile = create_order("PO-2", chair=2)

    class OtherUser(StringIO):
        def write(self, text: str) -> int:
            if text.startswith("PO-1"):
                receive_goods([ReceiptDraft(purchase_order_id=received_meanwhile.id)])
            return super().write(text)

    output = OtherUser()
    call_command("receive_goods", "--all-open", stdout=output)

    assert output.getvalue() == "PO-1: 3 × chair\n3 units received for 1 purchase order.\n"
    assert received() == {"PO-1": {"chair": 3}, "PO-2": {"chair": 2}}


@pytest.mark.postgresql_only
@pytest.mark.django_db(transaction=True)
def test_all_open_waits_for_a_concurrent_receipt() -> None:
    # Fails with PurchaseOrderCannotBeReceived without `locked()` in `receive_outstanding`.
    order = create_order("PO-1", chair=3)
    concurrent_receipt = partial(receive_goods, [ReceiptDraft(purchase_order_id=order.id)])

    meeting = meet(
        concurrent_receipt, partial(run, "receive_goods", "--all-open"), at=(Work, "save")
    )

    assert meeting.second_waited
    assert meeting.second == "0 units received for 0 purchase orders.\n"
    assert received() == {"PO-1": {"chair": 3}}
