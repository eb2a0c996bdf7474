"""By hand nothing can be added but the five things that services make, and nothing changed or deleted, even by a superuser."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client, RequestFactory
from rest_framework.authtoken.models import Token, TokenProxy

from orderflow.admin_tools.reading import ReadOnlyAdmin
from orderflow.catalog.models import Product
from purchase.models import PurchaseOrder
from sales.models import SalesOrder
from stock.models import ReceiptReversal, StockAdjustment
from tests.admin.conftest import OUR_MODELS, add_url, business, list_url, page_url, staff

CAN_BE_ADDED = {Product, PurchaseOrder, ReceiptReversal, SalesOrder, StockAdjustment}


def request_of(user: User) -> Any:
    request = RequestFactory().get("/")
    request.user = user
    return request


def test_a_superuser_may_add_five_things_and_change_or_delete_none() -> None:
    request = request_of(User(is_superuser=True, is_staff=True))
    registered = [admin.site._registry[model] for model in OUR_MODELS]
    assert all(isinstance(each, ReadOnlyAdmin) for each in registered)
    assert {each.model for each in registered if each.has_add_permission(request)} == CAN_BE_ADDED
    assert [each for each in registered if each.has_change_permission(request)] == []
    assert [each for each in registered if each.has_delete_permission(request)] == []
    assert all(each.has_view_permission(request) for each in registered)
    assert all("delete_selected" not in each.get_actions(request) for each in registered)


def test_what_belongs_to_a_thing_cannot_be_changed_on_its_page_either() -> None:
    request = request_of(User(is_superuser=True, is_staff=True))
    for model in OUR_MODELS:
        row = model()
        for inline in admin.site._registry[model].get_inline_instances(request, row):
            assert not inline.has_add_permission(request, row)
            assert not inline.has_change_permission(request, row)
            assert not inline.has_delete_permission(request, row)


def test_the_addresses_for_it_are_closed(owner: Client) -> None:
    business(1)
    before = everything()
    for model in OUR_MODELS:
        row = owner.get(list_url(model)).context["cl"].result_list[0]
        if model not in CAN_BE_ADDED:
            assert owner.get(add_url(model)).status_code == 403
            assert owner.post(add_url(model), {"_save": "1"}).status_code == 403
        assert owner.post(page_url(row), {"_save": "1"}).status_code == 403
        assert owner.get(page_url(row, "delete")).status_code == 403
        assert owner.post(page_url(row, "delete"), {"post": "yes"}).status_code == 403
        owner.post(list_url(model), {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"})
        owner.post(list_url(model), {"_save": "1", "form-TOTAL_FORMS": "1", "form-INITIAL_FORMS": "1", "form-0-id": str(row.pk)})
    assert everything() == before


def everything() -> dict[type[Model], list[dict[str, object]]]:
    return {model: list(model._default_manager.order_by("pk").values()) for model in OUR_MODELS}


def test_who_may_only_look_sees_everything_and_adds_nothing(db: None) -> None:
    business(1)
    vera = staff("vera")
    for model in OUR_MODELS:
        response = vera.get(list_url(model))
        assert response.status_code == 200
        assert vera.get(page_url(response.context["cl"].result_list[0])).status_code == 200
        assert vera.get(add_url(model)).status_code == 403
        assert vera.post(add_url(model), {}).status_code == 403


def test_who_sees_an_order_sees_its_lines(owner: Client) -> None:
    business(1)
    nora = staff("nora")
    User.objects.get(username="nora").user_permissions.filter(codename="view_salesorderline").delete()
    assert "chair Chair" in nora.get(page_url(SalesOrder.objects.latest("placed_at"))).content.decode()


def test_nobody_from_outside_sees_anything(client: Client, db: None) -> None:
    for model in OUR_MODELS:
        assert client.get(list_url(model)).status_code == 302
        assert client.get(add_url(model)).status_code == 302


def test_users_groups_and_tokens_stay_as_they_are_in_every_django_project(owner: Client) -> None:
    request = request_of(User(is_superuser=True, is_staff=True))
    for model in (User, Group, TokenProxy):
        model_admin = admin.site._registry[model]
        assert model_admin.has_add_permission(request)
        assert model_admin.has_change_permission(request)
        assert model_admin.has_delete_permission(request)
        assert owner.get(list_url(model)).status_code == 200
    owner.post(add_url(TokenProxy), {"user": User.objects.get().pk})
    assert Token.objects.get().user.username == "olga"
