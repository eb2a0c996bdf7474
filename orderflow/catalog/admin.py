from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from orderflow.admin_tools.adding import AddedByService, AddedInline, ServiceForm
from orderflow.admin_tools.links import ids_called, side_by_side
from orderflow.admin_tools.reading import Child, Parent
from orderflow.catalog.models import Product
from orderflow.catalog.quantities import LARGEST_QUANTITY, ProductQuantity
from orderflow.catalog.services import create_product

_links_of_products: list[Callable[[UUID], SafeString]] = []

ids_called("product_id", have_page="catalog.product")


def link_products(link: Callable[[UUID], SafeString]) -> None:
    """Whoever points to products says how one gets from a product's page, whose id is given, to there."""
    _links_of_products.append(link)


class ProductForm(ServiceForm[Product]):
    pass


@admin.register(Product)
class ProductAdmin(AddedByService[Product]):
    list_display = ["sku", "name"]
    search_fields = ["sku", "name"]
    search_ids = ["id"]
    fields = ["sku", "name", "id", "see_also"]
    add_form = ProductForm
    add_fields = ["sku", "name"]

    @admin.display
    def see_also(self, product: Product) -> SafeString:
        return side_by_side([link(product.id) for link in _links_of_products])

    def create(self, request: HttpRequest, given: dict[str, Any], lines: Sequence[Any]) -> Product:
        return create_product(given["sku"], given["name"])


class QuantityForm(forms.ModelForm[Child]):
    quantity = forms.IntegerField(min_value=1, max_value=LARGEST_QUANTITY)


class QuantityLines(AddedInline[Child, Parent]):
    """The lines of an order: products and quantities."""

    form: Any = QuantityForm
    autocomplete_fields = ["product"]
    select_related = ["product"]
    add_fields = ["product", "quantity"]


def quantities(lines: Sequence[Any]) -> list[ProductQuantity]:
    """The lines of a new order, as services want them."""
    return [ProductQuantity(product_id=line.product_id, quantity=line.quantity) for line in lines]
