"""The table of products."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone


class Product(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    sku = models.CharField("SKU", max_length=100, unique=True)
    name = models.CharField(max_length=200)
    actor = models.CharField(
        max_length=150,
        blank=True,
        editable=False,
        help_text="The user or command that created it.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["sku"]
        constraints = [models.CheckConstraint(condition=~Q(sku=""), name="product_sku_not_empty")]

    def __str__(self) -> str:
        return f"{self.sku} {self.name}"
