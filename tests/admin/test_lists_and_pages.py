"""Every model has a list and pages with search, filters and links; lists have constant cost."""

import html
import re
from collections import Counter
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.contrib.messages.storage.cookie import CookieStorage
from django.db import connection
from django.db.models import Model
from django.template.response import TemplateResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orderflow.catalog.models import Product
from orderflow.messaging.models import QueuedMessage, StoredMessage
from purchase.models import PurchaseOrder, Receipt
from sales.models import OrderStatus, SalesOrder
from sales.services import cancel_orders
from stock.models import (
    MovementType,
    Reservation,
    ReservationLine,
    StockAdjustment,
    StockMovement,
)
from tests.admin.conftest import (
    APPS,
    MODELS,
    create_sample_data,
    list_url,
    page_html,
    page_text,
    page_url,
    place,
    receive_all_open,
)
from tests.conftest import drain_all, product


def result_count(client: Client, model: type[Model], **query: str) -> int:
    count: int = client.get(list_url(model), query).context["cl"].result_count
    return count


def awaiting_goods() -> OrderStatus:
    return OrderStatus.objects.get(purchase_order_id__isnull=False)


# -- lists ---------------------------------------------------------------------------------------


def test_every_model_is_registered() -> None:
    models = {model for app in APPS for model in apps.get_app_config(app).get_models()}
    assert models == set(MODELS)


def test_every_list_accepts_every_search(superuser: Client, sample_data: None) -> None:
    for model in MODELS:
        assert admin.site._registry[model].search_fields
        for query in ("", "chair", "12", "9" * 30, str(uuid4()), "%", "'", "\0", "two words"):
            read_list(model, f"{list_url(model)}?{urlencode({'q': query})}")


RESULT_COUNTS = [
    (Product, "kitchen", 1),
    (SalesOrder, "ada", 4),
    (SalesOrder, "purchase order id", 1),
    (SalesOrder, "sales order id", 1),
    (OrderStatus, "purchase order id", 1),
    (PurchaseOrder, "purchase order id", 1),
    (Reservation, "sales order id", 1),
    (StockMovement, "sales order id", 2),
    (StoredMessage, "sales order id", 5),
    (StoredMessage, "goodsrec", 4),
    (StoredMessage, "first message id", 1),
    (QueuedMessage, "sales order id", 1),
    (QueuedMessage, "cannot be shipped", 1),
]


def test_search_finds_text_and_complete_ids(superuser: Client, sample_data: None) -> None:
    Product.objects.filter(sku="chair").update(name="Kitchen chair")
    order_status = awaiting_goods()
    ids = {
        "purchase order id": str(order_status.purchase_order_id),
        "sales order id": str(order_status.pk),
        "first message id": str(StoredMessage.objects.earliest("id").pk),
    }
    counts = [
        (model, query, result_count(superuser, model, q=ids.get(query, query)))
        for model, query, _ in RESULT_COUNTS
    ]
    assert counts == RESULT_COUNTS


def test_every_list_can_be_filtered_and_sorted(superuser: Client, sample_data: None) -> None:
    for model in MODELS:
        url = list_url(model)
        for link in links_in(superuser.get(url).content.decode(), within=url):
            read_list(model, link)


def read_list(model: type[Model], url: str) -> None:
    """Read the rows of a list without rendering its page, which takes most of the time."""
    request = RequestFactory().get(url)
    request.user = User.objects.get(is_superuser=True)
    request._messages = CookieStorage(request)  # type: ignore[attr-defined]
    response = admin.site._registry[model].changelist_view(request)
    assert isinstance(response, TemplateResponse), url  # not the redirect of an invalid lookup
    assert response.context_data
    list(response.context_data["cl"].result_list)


def test_adjustment_list_excludes_other_movements(superuser: Client, sample_data: None) -> None:
    assert result_count(superuser, StockAdjustment) == 1
    assert result_count(superuser, StockMovement) > 1


def test_backordered_filter_excludes_released_lines(superuser: Client) -> None:
    place(chair=1)
    cancelled = place(chair=1)
    drain_all()
    cancel_orders([cancelled.pk], actor="olga")
    drain_all()
    assert result_count(superuser, ReservationLine, backordered="yes") == 1
    assert result_count(superuser, ReservationLine, backordered="no") == 1


# -- pages and links -----------------------------------------------------------------------------


@pytest.mark.local_only
def test_every_object_has_a_history_page(superuser: Client, sample_data: None) -> None:
    for model in MODELS:
        rows = superuser.get(list_url(model)).context["cl"].result_list[:5]
        assert rows
        for row in rows:
            assert superuser.get(page_url(row, "history")).status_code == 200, row


@pytest.mark.local_only
def test_columns_raise_no_errors(superuser: Client, sample_data: None) -> None:
    """Django shows a dash if a column raises an AttributeError or a ValueError."""
    for model in MODELS:
        model_admin = admin.site._registry[model]
        columns = [getattr(model_admin, str(name), None) for name in model_admin.fields or ()]
        row = superuser.get(list_url(model)).context["cl"].result_list[0]
        assert all(column(row) for column in columns if callable(column))


# Links to pages and to lists filtered by an object; not the filters and columns of a list.
FOLLOWED = re.compile(
    r"^/admin/\w+/\w+/(.*/change/$|\?(key|source_document_id|reversed_receipt_id|product|consumer"
    r"|order|purchase_order_id)=)"
)


@pytest.mark.local_only
def test_every_link_leads_to_a_page_that_is_read_only(
    superuser: Client, sample_data: None
) -> None:
    """Follow the links from every list; of links that differ only in the row, the first five."""
    unread = [list_url(model) for model in MODELS]
    known = set(unread)
    similar = Counter[str]()
    for url in unread:
        response = superuser.get(url)
        assert response.status_code == 200, url
        page = response.content.decode()
        assert "_save" not in page, url
        for link in sorted(links_in(page, within="/admin/") - known):
            kind = re.sub(r"[0-9a-f-]{36}|\d+", "…", link)
            if similar[kind] < 5 and FOLLOWED.search(link):
                similar[kind] += 1
                known.add(link)
                unread.append(link)
    assert len(known) > 100
    assert len(similar) > 30
    read = [url for url in known if url.endswith("/change/")]
    for model in MODELS:
        assert any(url.startswith(list_url(model)) for url in read), model


def test_order_page_shows_history_and_links(superuser: Client, sample_data: None) -> None:
    order_status = awaiting_goods()
    page, text = page_html(superuser, order_status.order), page_text(superuser, order_status.order)
    assert "New → Awaiting stock reservation sales.SalesOrderCreated olga" in text
    assert "Awaiting stock reservation → Awaiting goods received stock.ReservationRejected" in text
    for link in (
        f"/admin/stock/reservation/{order_status.pk}/change/",
        f"/admin/purchase/purchaseorder/{order_status.purchase_order_id}/change/",
        f"/admin/messaging/storedmessage/?key={order_status.pk}",
        f"/admin/messaging/queuedmessage/?key={order_status.pk}",
        f"/admin/catalog/product/{product('chair')}/change/",
    ):
        assert link in page


def test_order_page_shows_blockers(superuser: Client, sample_data: None) -> None:
    text = page_text(superuser, awaiting_goods().order)
    assert re.search(r"Blocked by: dead letter \d+ .* must be replayed or discarded", text)
    assert re.search(
        r"1 × table short \(1 of 2 reserved\), queue position 1: 1 on order with PO-\w+ "
        r"\(pegged to this order, expected 20",
        text,
    )


def test_movement_links_to_source_document(superuser: Client, sample_data: None) -> None:
    receipt = Receipt.objects.latest("created_at")
    received = StockMovement.objects.get(source_document_id=receipt.pk)
    assert page_url(receipt) in page_html(superuser, received)
    reserved = StockMovement.objects.filter(movement_type=MovementType.RESERVED).earliest("id")
    reservation = f"/admin/stock/reservation/{reserved.source_document_id}/change/"
    assert reservation in page_html(superuser, reserved)
    adjusted = StockMovement.objects.get(movement_type=MovementType.ADJUSTED)
    adjustment = f"/admin/stock/stockadjustment/{adjusted.pk}/change/"
    assert adjustment in page_html(superuser, adjusted)


def test_payload_ids_are_links(superuser: Client, sample_data: None) -> None:
    received = StoredMessage.objects.filter(type="purchase.GoodsReceived").earliest("id")
    page = page_html(superuser, received)
    [line] = received.payload["lines"]
    for values, field, path in (
        (received.payload, "purchase_order_id", "purchase/purchaseorder"),
        (received.payload, "receipt_id", "purchase/receipt"),
        (line, "product_id", "catalog/product"),
        (line, "pegged_to", "stock/reservation"),
    ):
        assert f"/admin/{path}/{values[field]}/change/" in page


def test_payload_markup_is_escaped(superuser: Client) -> None:
    message = StoredMessage.objects.create(
        type="test.Message",
        key=uuid4(),
        payload={"sales_order_id": "<script>", "note": "<b>&"},
        created_at=timezone.now(),
    )
    page = page_html(superuser, message)
    assert "<b>&" not in page
    assert "&lt;script&gt;" in page


# -- number of queries ---------------------------------------------------------------------------


@pytest.mark.local_only
def test_list_queries_do_not_grow_with_rows(superuser: Client) -> None:
    create_sample_data()
    few_rows = {model: query_count(superuser, list_url(model)) for model in MODELS}
    create_sample_data()
    many_rows = {model: query_count(superuser, list_url(model)) for model in MODELS}
    assert many_rows == few_rows


def test_page_queries_do_not_grow_with_lines(superuser: Client) -> None:
    one_line, five_lines = place(chair=1), place(chair=1, table=1, lamp=1, desk=1, bed=1)
    drain_all()
    receive_all_open()
    drain_all()
    assert page_query_counts(superuser, one_line) == page_query_counts(superuser, five_lines)


def test_long_inline_shows_first_rows_and_count(
    superuser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orderflow.admin_tools.read_only.MAX_INLINE_ROWS", 2)
    order = place(chair=1, table=2, lamp=3)
    text = page_text(superuser, order)
    assert "sales order lines (first 2 of 3)" in text.lower()
    assert "1 × chair" in text
    assert "3 × lamp" not in text


def page_query_counts(client: Client, order: SalesOrder) -> list[int]:
    """Count the queries of the pages of an order and of its related objects."""
    purchase_order = PurchaseOrder.objects.get(
        lines__pegged_to=order.pk, lines__product__sku="chair"
    )
    rows = [
        order,
        order.order_status,
        purchase_order,
        purchase_order.receipts.get(),
        Reservation.objects.get(pk=order.pk),
    ]
    return [query_count(client, page_url(row)) for row in rows]


def query_count(client: Client, url: str) -> int:
    ContentType.objects.clear_cache()
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
    return len(queries)


def links_in(page: str, *, within: str) -> set[str]:
    """Return the links of a page that start with `within`."""
    page = page[page.index('id="main"') :]
    hrefs = {html.unescape(link) for link in re.findall(r'href="(\?[^"]*|/admin/[^"]*)"', page)}
    links = {within + href if href.startswith("?") else href for href in hrefs}
    return {link for link in links if link.startswith(within)}
