"""Every model is listed, searchable, linked to its neighbours; a list costs the same however long it is."""

import html
import re
from collections import Counter
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orderflow.catalog.models import Product
from orderflow.messaging.models import Delivery, StoredMessage
from purchase.models import PurchaseOrder, Receipt
from sales.models import OrderStatus, SalesOrder
from stock.models import Movement, Reservation, StockAdjustment, StockMovement
from tests.admin.conftest import (
    OUR_APPS,
    OUR_MODELS,
    business,
    list_url,
    page_url,
    place,
    receive_everything_open,
    text_of,
)
from tests.conftest import product, settle


@pytest.fixture
def company(db: None) -> None:
    business(1)


def test_every_model_is_in_the_admin() -> None:
    ours = {model for app in OUR_APPS for model in apps.get_app_config(app).get_models()}
    assert ours == set(OUR_MODELS)


def test_every_model_is_listed_and_searchable(owner: Client, company: None) -> None:
    for model in OUR_MODELS:
        assert admin.site._registry[model].search_fields
        for query in ("", "chair", "12", "9" * 30, str(uuid4()), "%", "'", "\0", "two words"):
            assert owner.get(list_url(model), {"q": query}).status_code == 200, (model, query)


FOUND = [
    (Product, "kitchen", 1),
    (SalesOrder, "ada", 4),
    (SalesOrder, "the purchase order", 1),
    (SalesOrder, "the sales order", 1),
    (OrderStatus, "the purchase order", 1),
    (PurchaseOrder, "the purchase order", 1),
    (Reservation, "the sales order", 1),
    (StockMovement, "the sales order", 2),
    (StoredMessage, "the sales order", 5),
    (StoredMessage, "goodsrec", 4),
    (StoredMessage, "the first message", 1),
    (Delivery, "the sales order", 1),
    (Delivery, "cannot be shipped", 1),
]


def test_it_is_found_by_words_or_by_a_whole_id(owner: Client, company: None) -> None:
    Product.objects.filter(sku="chair").update(name="Kitchen chair")
    waiting = OrderStatus.objects.get(purchase_order_id__isnull=False)
    ids: dict[str, object] = {
        "the purchase order": waiting.purchase_order_id,
        "the sales order": waiting.pk,
        "the first message": StoredMessage.objects.earliest("id").pk,
    }
    found = [
        (model, query, owner.get(list_url(model), {"q": str(ids.get(query, query))}).context["cl"].result_count)
        for model, query, _ in FOUND
    ]
    assert found == FOUND


@pytest.mark.postgresql  # it objects to more than SQLite does
def test_every_list_can_be_filtered_and_sorted(owner: Client, company: None) -> None:
    for model in OUR_MODELS:
        for link in links_in(owner.get(list_url(model)).content.decode(), within=list_url(model)):
            assert owner.get(link).status_code == 200, link


@pytest.mark.embedded
def test_the_page_of_everything_opens_and_has_nothing_to_save(owner: Client, company: None) -> None:
    for model in OUR_MODELS:
        rows = owner.get(list_url(model)).context["cl"].result_list[:5]
        assert rows
        for row in rows:
            response = owner.get(page_url(row))
            assert response.status_code == 200, row
            assert "_save" not in response.content.decode()
            assert owner.get(page_url(row, "history")).status_code == 200


def test_no_page_hides_an_error(owner: Client, company: None) -> None:
    """Django shows a dash where what a page shows of a row raises an AttributeError or a ValueError."""
    for model in OUR_MODELS:
        model_admin = admin.site._registry[model]
        shown = [getattr(model_admin, str(name), None) for name in model_admin.fields or ()]
        row = owner.get(list_url(model)).context["cl"].result_list[0]
        assert all(show(row) for show in shown if callable(show))


# To a page, or to the rows of a list that belong to it; a list's own filters and columns are not meant.
LEADS_ELSEWHERE = re.compile(r"^/admin/\w+/\w+/(.*/change/$|\?(key|document|product|consumer|order|purchase_order_id)=)")


@pytest.mark.embedded
def test_no_link_leads_nowhere(owner: Client, company: None) -> None:
    """From each list on, wherever it leads; of links that differ only in the row that they name, the first few."""
    unread = [list_url(model) for model in OUR_MODELS]
    known = set(unread)
    alike = Counter[str]()
    for url in unread:
        response = owner.get(url)
        assert response.status_code == 200, url
        for link in sorted(links_in(response.content.decode(), within="/admin/") - known):
            kind = re.sub(r"[0-9a-f-]{36}|\d+", "…", link)
            if alike[kind] < 5 and LEADS_ELSEWHERE.search(link):
                alike[kind] += 1
                known.add(link)
                unread.append(link)
    assert len(known) > 100
    assert len(alike) > 30


def test_the_page_of_an_order_tells_its_story_and_leads_to_its_neighbours(owner: Client, company: None) -> None:
    waiting = OrderStatus.objects.get(purchase_order_id__isnull=False)
    page = owner.get(page_url(waiting.order)).content.decode()
    assert "new → awaiting stock reservation sales.SalesOrderCreated olga" in text_of(page)
    assert "awaiting stock reservation → awaiting goods received stock.ReservationRejected" in text_of(page)
    for neighbour in (
        f"/admin/stock/reservation/{waiting.pk}/change/",
        f"/admin/purchase/purchaseorder/{waiting.purchase_order_id}/change/",
        f"/admin/messaging/storedmessage/?key={waiting.pk}",
        f"/admin/messaging/delivery/?key={waiting.pk}",
        f"/admin/catalog/product/{product('chair')}/change/",
    ):
        assert neighbour in page


def test_the_page_of_an_order_says_why_it_waits(owner: Client, company: None) -> None:
    waiting = OrderStatus.objects.get(purchase_order_id__isnull=False)
    page = text_of(owner.get(page_url(waiting.order)).content.decode())
    assert "It waits for: a person to replay or discard dead letter" in page
    assert re.search(r"1 × table \(1 of 2 are held\), next in line: 1 on purchase order PO-\w+, bought for it, expected 20", page)


def test_a_movement_leads_to_what_it_was_for(owner: Client, company: None) -> None:
    receipt = Receipt.objects.latest("at")
    movement = StockMovement.objects.get(document=receipt.pk)
    assert page_url(receipt) in owner.get(page_url(movement)).content.decode()
    promise = StockMovement.objects.filter(kind=Movement.PROMISED).earliest("id")
    assert f"/admin/stock/reservation/{promise.document}/change/" in owner.get(page_url(promise)).content.decode()
    adjustment = StockMovement.objects.get(kind=Movement.ADJUSTED)
    assert f"/admin/stock/stockadjustment/{adjustment.pk}/change/" in owner.get(page_url(adjustment)).content.decode()


def test_what_a_message_says_is_linked_to_what_it_speaks_of(owner: Client, company: None) -> None:
    received = StoredMessage.objects.filter(type="purchase.GoodsReceived").earliest("id")
    page = owner.get(page_url(received)).content.decode()
    for field, path in (("purchase_order_id", "purchase/purchaseorder"), ("receipt_id", "purchase/receipt")):
        assert f"/admin/{path}/{received.payload[field]}/change/" in page
    line = received.payload["lines"][0]
    assert f"/admin/catalog/product/{line['product_id']}/change/" in page
    assert f"/admin/stock/reservation/{line['bought_for']}/change/" in page


def test_a_payload_cannot_bring_markup_along(owner: Client) -> None:
    message = StoredMessage.objects.create(
        type="shop.Wish", key=uuid4(), payload={"sales_order_id": "<script>", "note": "<b>&"}, created_at=timezone.now()
    )
    page = owner.get(page_url(message)).content.decode()
    assert "<b>&" not in page
    assert "&lt;script&gt;" in page


def test_adjustments_are_the_movements_that_a_person_made(owner: Client, company: None) -> None:
    assert owner.get(list_url(StockAdjustment)).context["cl"].result_count == 1
    assert owner.get(list_url(StockMovement)).context["cl"].result_count > 1


@pytest.mark.embedded
def test_a_long_list_asks_the_database_as_often_as_a_short_one(owner: Client) -> None:
    business(1)
    short = {model: queries_for(owner, list_url(model)) for model in OUR_MODELS}
    business(3)
    long = {model: queries_for(owner, list_url(model)) for model in OUR_MODELS}
    assert long == short


def test_a_long_order_asks_the_database_as_often_as_a_short_one(owner: Client) -> None:
    short, long = place(chair=1), place(chair=1, table=1, lamp=1, desk=1, bed=1)
    settle()
    receive_everything_open()
    settle()
    assert queries_for_the_pages_of(owner, short) == queries_for_the_pages_of(owner, long)


def test_a_page_shows_the_first_of_very_many_rows_and_says_so(owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orderflow.admin_tools.reading.ROWS_SHOWN", 2)
    order = place(chair=1, table=2, lamp=3)
    page = text_of(owner.get(page_url(order)).content.decode())
    assert "sales order lines: the first 2 of 3" in page.lower()
    assert "1 × chair" in page
    assert "3 × lamp" not in page


def queries_for_the_pages_of(owner: Client, order: SalesOrder) -> list[int]:
    bought = PurchaseOrder.objects.get(lines__bought_for=order.pk, lines__product__sku="chair")
    pages = [order, order.status, bought, bought.receipts.get(), Reservation.objects.get(pk=order.pk)]
    return [queries_for(owner, page_url(row)) for row in pages]


def queries_for(owner: Client, url: str) -> int:
    ContentType.objects.clear_cache()
    with CaptureQueriesContext(connection) as queries:
        assert owner.get(url).status_code == 200
    return len(queries)


def links_in(page: str, *, within: str) -> set[str]:
    page = page[page.index('id="main"') :]
    found = {html.unescape(link) for link in re.findall(r'href="(\?[^"]*|/admin/[^"]*)"', page)}
    here = {within + link if link.startswith("?") else link for link in found}
    return {link for link in here if link.startswith(within)}
