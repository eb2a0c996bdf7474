"""`/api/v1/catalog/`"""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import generics, serializers
from rest_framework.request import Request

from orderflow.api.decorators import accepts, actor_of
from orderflow.api.examples import example
from orderflow.api.fields import ClientIdField, NonBlankCharField, SkuField
from orderflow.api.filters import ExactFilter
from orderflow.api.inputs import StrictSerializer
from orderflow.catalog.models import Product
from orderflow.catalog.services import create_product


@extend_schema_serializer(examples=[example("A product", {"sku": "STOOL", "name": "Bar stool"})])
class ProductCreate(StrictSerializer):
    """A product to create."""

    id = ClientIdField()
    sku = SkuField()
    name = NonBlankCharField(max_length=200)


class ProductSerializer(serializers.ModelSerializer[Product]):
    class Meta:
        model = Product
        fields = ["id", "sku", "name", "actor", "created_at"]


class ProductFilter(filters.FilterSet):
    sku = ExactFilter("sku")


class ProductList(generics.ListAPIView[Product]):
    """List the products, by SKU."""

    required_permissions = {"GET": "catalog.view_product", "POST": "catalog.add_product"}
    serializer_class = ProductSerializer
    queryset: QuerySet[Product] = Product.objects.all()
    filterset_class = ProductFilter
    orderings = {"sku": "sku", "name": "name"}
    ordering = "sku"

    @accepts(ProductCreate, shows=ProductSerializer, status=201)
    def post(self, request: Request, given: Mapping[str, Any]) -> Product:
        """Create a product. With a client-supplied id, repeating the request is safe."""
        return create_product(
            given["sku"], given["name"], product_id=given["id"], actor=actor_of(request)
        )
