"""Who may what. It knows no group: a view says which of Django's permissions it needs."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request


class Needs(BasePermission):
    """A view names the permission that each of its methods needs: `needs = {"GET": "sales.view_salesorder"}`.

    None: whoever is known may. A method that is there and not named is a mistake of ours, and nobody may.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not (request.user and request.user.is_authenticated):
            return False
        method = "GET" if request.method == "HEAD" else request.method
        if method not in ("GET", "POST") or method not in view.allowed_methods:
            return True  # to be told that there is no such method
        needed = view.needs[method]
        self.message = f"You need the permission {needed}. Whoever administers Orderflow can put you into a group that has it."
        return needed is None or bool(request.user.has_perm(needed))
