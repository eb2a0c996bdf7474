"""The admin pages of products, and the parts that the pages of orders share."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from orderflow.admin_tools.links import inline_list, register_id_link
from orderflow.admin_tools.read_only import Child, Parent
from orderflow.admin_tools.service_forms import ServiceAddAdmin, ServiceAddInline, ServiceForm
from orderflow.catalog.models import Product
from orderflow.catalog.services import create_product
from orderflow.core.quantities import MAX_QUANTITY, ProductQuantity

_product_links: list[Callable[[UUID], SafeString]] = []

register_id_link("product_id", model="catalog.product")


def register_product_link(link: Callable[[UUID], SafeString]) -> None:
    """Register a link for the pages of products; `link` gets the product's id.

    Filled at import time, by the `admin` module of each context.
    """
    _product_links.append(link)


class ProductForm(ServiceForm[Product]):
    pass


@admin.register(Product)
class ProductAdmin(ServiceAddAdmin[Product]):
    list_display = ["sku", "name"]
    search_fields = ["sku", "name"]
    search_ids = ["id"]
    fields = ["sku", "name", "id", "actor", "created_at", "related"]
    add_form = ProductForm
    add_fields = ["sku", "name"]

    @admin.display
    def related(self, product: Product) -> SafeString:
        return inline_list([link(product.id) for link in _product_links])

    def create(self, request: HttpRequest, given: dict[str, Any], lines: Sequence[Any]) -> Product:
        return create_product(given["sku"], given["name"], actor=request.user.get_username())


class QuantityForm(forms.ModelForm[Child]):
    quantity = forms.IntegerField(min_value=1, max_value=MAX_QUANTITY)


class QuantityLines(ServiceAddInline[Child, Parent]):
    """The lines of an order: products and quantities."""

    form: Any = QuantityForm
    autocomplete_fields = ["product"]
    select_related = ["product"]
    add_fields = ["product", "quantity"]


def quantities(lines: Sequence[Any]) -> list[ProductQuantity]:
    """Return the lines of a new order as the values that services take."""
    return [ProductQuantity(product_id=line.product_id, quantity=line.quantity) for line in lines]
