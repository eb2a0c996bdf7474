"""`/api/catalog/products/`"""

from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework import generics, serializers

from orderflow.api.pages import BySku
from orderflow.catalog.models import Product
from orderflow.catalog.services import create_product


class ProductSerializer(serializers.ModelSerializer[Product]):
    class Meta:
        model = Product
        fields = ["id", "sku", "name"]
        extra_kwargs: ClassVar[dict[str, Any]] = {"sku": {"validators": []}}  # whether it is taken is for the service to say


class Products(generics.ListCreateAPIView[Product]):
    serializer_class = ProductSerializer
    pagination_class = BySku
    queryset: QuerySet[Product] = Product.objects.all()

    def perform_create(self, serializer: Any) -> None:
        serializer.instance = create_product(serializer.validated_data["sku"], serializer.validated_data["name"])
