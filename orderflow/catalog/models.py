import uuid

from django.db import models
from django.db.models import Q


class Product(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    sku = models.CharField("SKU", max_length=100, unique=True)
    name = models.CharField(max_length=200)

    class Meta:
        ordering = ["sku"]
        constraints = [models.CheckConstraint(condition=~Q(sku=""), name="product_has_a_sku")]

    def __str__(self) -> str:
        return f"{self.sku} {self.name}"
