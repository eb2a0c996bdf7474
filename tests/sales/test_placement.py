import pytest
from pytest_django import DjangoAssertNumQueries

from orderflow.core.quantities import LinesRequired, ProductQuantity, QuantityOutOfRange
from sales.contract import SalesOrderCreated
from sales.models import SalesOrder, SalesOrderLine
from sales.services import SalesOrderAlreadyExists, SalesOrderDraft, place_orders
from tests.conftest import drain_all, lines, product
from tests.purchase.helpers import published_messages
from tests.sales.helpers import change

pytestmark = pytest.mark.django_db


def draft(reference: str = "") -> SalesOrderDraft:
    return SalesOrderDraft(reference=reference, lines=lines(chair=1))


def test_repeated_product_becomes_one_line() -> None:
    repeated = SalesOrderDraft(lines=[*lines(chair=1, desk=1), *lines(chair=2)])
    [order] = place_orders([repeated])
    assert sorted(order.lines.values_list("product__sku", "quantity")) == [
        ("chair", 3),
        ("desk", 1),
    ]


@pytest.mark.parametrize("quantity", [0, -1, 1_000_000_001])
def test_rejects_quantity_out_of_range(quantity: int) -> None:
    line = ProductQuantity(product_id=product("chair"), quantity=quantity)
    with pytest.raises(QuantityOutOfRange, match=r"from 1 to 1,000,000,000"):
        place_orders([SalesOrderDraft(lines=[line])])


def test_rejects_order_without_lines_and_places_none() -> None:
    with pytest.raises(LinesRequired):
        place_orders([draft(), SalesOrderDraft(lines=[])])
    assert not SalesOrder.objects.exists()


def test_repeated_draft_places_one_order() -> None:
    repeated = draft()
    [first] = place_orders([repeated])
    [second] = place_orders([repeated])
    assert first == second
    assert len(published_messages(SalesOrderCreated)) == 1


def test_rejects_different_drafts_with_same_id_or_reference() -> None:
    first = draft()
    with pytest.raises(SalesOrderAlreadyExists, match=f"the id {first.id}"):
        place_orders([first, SalesOrderDraft(id=first.id, lines=lines(chair=2))])
    with pytest.raises(SalesOrderAlreadyExists, match="the reference S-1"):
        place_orders([draft("S-1"), draft("S-1")])
    assert not SalesOrder.objects.exists()


def test_rejects_other_content_with_existing_id() -> None:
    first = draft()
    place_orders([first])
    for other in (
        SalesOrderDraft(id=first.id, lines=lines(chair=2)),
        SalesOrderDraft(id=first.id, lines=first.lines, customer="Grace"),
    ):
        with pytest.raises(SalesOrderAlreadyExists, match=str(first.id)):
            place_orders([other])


def test_rejects_existing_reference_and_places_none() -> None:
    place_orders([draft("S-1")])
    with pytest.raises(SalesOrderAlreadyExists, match="the reference S-1"):
        place_orders([draft("S-2"), draft("S-1")])
    assert SalesOrder.objects.count() == 1
    assert SalesOrderLine.objects.count() == 1


def test_original_draft_returns_changed_order() -> None:
    original = draft()
    [order] = place_orders([original])
    drain_all()
    change(order, lamp=1)
    assert place_orders([original]) == [order]
    assert list(order.lines.values_list("product__sku", "quantity")) == [("lamp", 1)]


def test_rejects_changed_content_with_existing_id() -> None:
    original = draft()
    [order] = place_orders([original])
    drain_all()
    change(order, lamp=1)
    for other in (
        SalesOrderDraft(id=original.id, lines=lines(lamp=1)),
        SalesOrderDraft(id=original.id, lines=original.lines, customer="Grace"),
    ):
        with pytest.raises(SalesOrderAlreadyExists):
            place_orders([other])


def test_placing_100_orders_needs_at_most_40_queries(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    order_lines = lines(chair=1, desk=2)
    with django_assert_max_num_queries(40):
        place_orders([SalesOrderDraft(lines=order_lines) for _ in range(100)])
