"""Rows are read-only; only five models can be added, and services create their rows."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client, RequestFactory
from rest_framework.authtoken.models import Token, TokenProxy

from orderflow.admin_tools.read_only import ReadOnlyAdmin
from orderflow.catalog.models import Product
from purchase.models import PurchaseOrder
from sales.models import SalesOrder
from stock.models import ReceiptReversal, StockAdjustment
from tests.admin.conftest import MODELS, add_url, list_url, page_html, page_url, staff

pytestmark = pytest.mark.local_only

CAN_BE_ADDED = {Product, PurchaseOrder, ReceiptReversal, SalesOrder, StockAdjustment}


def request_of_superuser() -> Any:
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_staff=True)
    return request


def all_rows() -> dict[type[Model], list[dict[str, object]]]:
    return {model: list(model._default_manager.order_by("pk").values()) for model in MODELS}


def first_row(client: Client, model: type[Model]) -> Model:
    row: Model = client.get(list_url(model)).context["cl"].result_list[0]
    return row


def test_superuser_can_add_five_models_and_change_none() -> None:
    request = request_of_superuser()
    registered = [admin.site._registry[model] for model in MODELS]
    assert all(isinstance(each, ReadOnlyAdmin) for each in registered)
    assert {each.model for each in registered if each.has_add_permission(request)} == CAN_BE_ADDED
    assert [each for each in registered if each.has_change_permission(request)] == []
    assert [each for each in registered if each.has_delete_permission(request)] == []
    assert all(each.has_view_permission(request) for each in registered)
    assert all("delete_selected" not in each.get_actions(request) for each in registered)


def test_inlines_of_existing_rows_are_read_only() -> None:
    request = request_of_superuser()
    for model in MODELS:
        row = model()
        for inline in admin.site._registry[model].get_inline_instances(request, row):
            assert not inline.has_add_permission(request, row)
            assert not inline.has_change_permission(request, row)
            assert not inline.has_delete_permission(request, row)


def test_direct_posts_change_nothing(superuser: Client, sample_data: None) -> None:
    before = all_rows()
    for model in MODELS:
        row = first_row(superuser, model)
        if model not in CAN_BE_ADDED:
            assert superuser.get(add_url(model)).status_code == 403
            assert superuser.post(add_url(model), {"_save": "1"}).status_code == 403
        assert superuser.post(page_url(row), {"_save": "1"}).status_code == 403
        assert superuser.get(page_url(row, "delete")).status_code == 403
        assert superuser.post(page_url(row, "delete"), {"post": "yes"}).status_code == 403
        delete = {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"}
        superuser.post(list_url(model), delete)
        edit = {"form-TOTAL_FORMS": "1", "form-INITIAL_FORMS": "1", "form-0-id": str(row.pk)}
        superuser.post(list_url(model), {"_save": "1", **edit})
    assert all_rows() == before


def test_view_permission_shows_every_page_and_adds_nothing(sample_data: None) -> None:
    vera = staff("vera")
    for model in MODELS:
        assert vera.get(list_url(model)).status_code == 200
        assert vera.get(page_url(first_row(vera, model))).status_code == 200
        assert vera.get(add_url(model)).status_code == 403
        assert vera.post(add_url(model), {}).status_code == 403


def test_permission_to_view_an_order_includes_its_lines(sample_data: None) -> None:
    nora = staff("nora")
    permissions = User.objects.get(username="nora").user_permissions
    permissions.filter(codename="view_salesorderline").delete()
    assert "chair Chair" in page_html(nora, SalesOrder.objects.latest("placed_at"))


def test_anonymous_requests_are_redirected(client: Client, db: None) -> None:
    for model in MODELS:
        assert client.get(list_url(model)).status_code == 302
        assert client.get(add_url(model)).status_code == 302


def test_users_groups_and_tokens_remain_editable(superuser: Client) -> None:
    request = request_of_superuser()
    for model in (User, Group, TokenProxy):
        model_admin = admin.site._registry[model]
        assert model_admin.has_add_permission(request)
        assert model_admin.has_change_permission(request)
        assert model_admin.has_delete_permission(request)
        assert superuser.get(list_url(model)).status_code == 200
    superuser.post(add_url(TokenProxy), {"user": User.objects.get().pk})
    assert Token.objects.get().user.username == "olga"
