"""`/api/catalog/products/`"""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import generics, serializers
from rest_framework.request import Request

from orderflow.api.examples import example
from orderflow.api.fields import Id, Sku, Words
from orderflow.api.filters import Word
from orderflow.api.lines import Input
from orderflow.api.posting import accepts
from orderflow.catalog.models import Product
from orderflow.catalog.services import create_product


@extend_schema_serializer(examples=[example("A product", {"sku": "STOOL", "name": "Bar stool"})])
class NewProduct(Input):
    id = Id()
    sku = Sku()
    name = Words(max_length=200)


class ProductSerializer(serializers.ModelSerializer[Product]):
    class Meta:
        model = Product
        fields = ["id", "sku", "name"]


class ProductFilter(filters.FilterSet):
    sku = Word("sku")


class Products(generics.ListAPIView[Product]):
    """What can be sold, bought and stored, by SKU."""

    needs = {"GET": "catalog.view_product", "POST": "catalog.add_product"}
    serializer_class = ProductSerializer
    queryset: QuerySet[Product] = Product.objects.all()
    filterset_class = ProductFilter
    orderings = {"sku": "sku", "name": "name"}
    ordering = "sku"

    @accepts(NewProduct, shows=ProductSerializer, status=201)
    def post(self, request: Request, given: Mapping[str, Any]) -> Product:
        """Create a product. Under an id that you supply, the same again is the same product."""
        return create_product(given["sku"], given["name"], product_id=given["id"])
