"""Permissions of endpoints."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request


class HasRequiredPermission(BasePermission):
    """Requires the Django permission that the view names for the method.

    `required_permissions = {"GET": "sales.view_salesorder"}`; None allows any authenticated user.
    A method without an entry raises a `KeyError`, so it cannot be used.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not (request.user and request.user.is_authenticated):
            return False
        method = "GET" if request.method == "HEAD" else request.method
        if method not in ("GET", "POST") or method not in view.allowed_methods:
            return True  # the view responds that the method is not allowed
        required = view.required_permissions[method]
        self.message = (
            f"You need the permission {required}. "
            "Ask an administrator to add you to a group that has it."
        )
        return required is None or bool(request.user.has_perm(required))
