"""`/api/catalog/products/`"""

from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework import generics, serializers

from orderflow.api.pages import BySku
from orderflow.catalog.models import Product
from orderflow.catalog.services import create_products, product_ids
from orderflow.refusals import Refused


class SkuTaken(Refused):
    code = "sku_taken"
    conflict = True

    def __init__(self, sku: str) -> None:
        super().__init__(f"There is a product with the SKU {sku}. Nothing was created.")


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
        sku, name = serializer.validated_data["sku"], serializer.validated_data["name"]
        if not create_products({sku: name}):
            raise SkuTaken(sku)
        serializer.instance = Product.objects.get(id=product_ids([sku])[sku])
