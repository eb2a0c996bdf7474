"""Read-only admin pages. Only actions change anything, and they call services."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import (
    get_fields_from_path,
    lookup_spawns_duplicates,
    model_ngettext,
)
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Field, Model, Q, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse

from orderflow.core.errors import DomainError

admin.site.site_header = admin.site.site_title = "Orderflow"

M = TypeVar("M", bound=Model)
Child = TypeVar("Child", bound=Model)
Parent = TypeVar("Parent", bound=Model)

MAX_INLINE_ROWS = 100  # on the page of the object that they belong to
NO_CHANGES_NEEDED = "No changes were needed."
ROWS_NOT_FOUND = (
    "Some selected rows are not in this list. Reload the list and select the rows again. "
    "No changes were made."
)


class ReadOnlyAdmin(admin.ModelAdmin[M]):
    """Lists and pages without forms. Actions call services and declare `permissions=["act"]`.

    `search_ids`: fields that the search compares with a complete id, through their index.
    """

    show_full_result_count = False  # it would count the whole table for each search
    search_ids: Sequence[str] = ()
    search_help_text = "Search by text or by complete id."

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may run actions: Django's change permission allows it."""
        return super().has_change_permission(request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[M], bool]:
        matches = _matches_id(self.model, self.search_ids, search_term.strip())
        if not matches:
            return super().get_search_results(request, queryset, search_term)
        duplicates = any(lookup_spawns_duplicates(self.opts, path) for path in self.search_ids)
        return queryset.filter(matches), duplicates

    def run_service(
        self,
        request: HttpRequest,
        rows: Sequence[M],
        service: Callable[[], object],
        *,
        success_verb: str,
        log_entry: str,
    ) -> None:
        """Call a service like `call_service`, and show its error as a message."""
        try:
            self.call_service(
                request, rows, service, success_verb=success_verb, log_entry=log_entry
            )
        except DomainError as error:
            self.message_user(request, str(error), messages.ERROR)

    def call_service(
        self,
        request: HttpRequest,
        rows: Sequence[M],
        service: Callable[[], object],
        *,
        success_verb: str,
        log_entry: str,
    ) -> None:
        """Call a service for these rows and log it for each row, in one transaction.

        `success_verb` starts the message: "Delivered" becomes "Delivered 2 sales orders.". A
        service that returns 0 or False changed nothing. Raises: the service's `DomainError`.
        """
        with transaction.atomic():
            if service() in (0, False):
                self.message_user(request, NO_CHANGES_NEEDED, messages.INFO)
                return
            LogEntry.objects.log_actions(str(request.user.pk), rows, CHANGE, log_entry)
        text = f"{success_verb} {len(rows)} {model_ngettext(self.opts, len(rows))}."
        self.message_user(request, text, messages.SUCCESS)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any
    ) -> HttpResponse | None:
        """Report invalid ids, for which Django responds with a server error."""
        selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if all(is_storable_value(self.opts.pk, pk) for pk in selected):
            return super().response_action(request, queryset, *args)
        self.message_user(request, ROWS_NOT_FOUND, messages.ERROR)
        return None


def _matches_id(model: type[Model], paths: Sequence[str], term: str) -> Q:
    """Return a filter for rows with this id in one of the fields; empty if it is no valid id."""
    matches = Q()
    for path in paths:
        if is_valid_value(get_fields_from_path(model, path)[-1], term):
            matches |= Q((path, term))
    return matches


class FirstRowsFormSet(BaseInlineFormSet[Child, Parent, forms.ModelForm[Child]]):
    """Reads only as many rows as a page shows."""

    def get_queryset(self) -> QuerySet[Child]:
        if not hasattr(self, "_first_rows"):
            self._first_rows = super().get_queryset()[:MAX_INLINE_ROWS]
        return self._first_rows


class ReadOnlyInline(admin.TabularInline[Child, Parent]):
    """The rows of an object, on its page. The permission to view the object is enough."""

    formset: Any = FirstRowsFormSet
    extra = 0
    show_change_link = True
    select_related: Sequence[str] = ()

    def has_add_permission(self, request: HttpRequest, obj: Parent | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Parent | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Parent | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Parent | None = None) -> bool:
        return True

    def get_readonly_fields(self, request: HttpRequest, obj: Parent | None = None) -> list[Any]:
        return list(self.fields or ()) if obj else []

    def get_queryset(self, request: HttpRequest) -> QuerySet[Child]:
        return super().get_queryset(request).select_related(*self.select_related)

    def get_formset(self, request: HttpRequest, obj: Parent | None = None, **kwargs: Any) -> Any:
        formset: Any = super().get_formset(request, obj, **kwargs)
        if obj:
            count = self.model._default_manager.filter(**{formset.fk.name: obj}).count()
            if count > MAX_INLINE_ROWS:
                self.verbose_name_plural = (
                    f"{self.verbose_name_plural} (first {MAX_INLINE_ROWS} of {count:,})"
                )
        return formset


def is_valid_value(field: Field[Any, Any], text: str) -> bool:
    """Return whether the text has the type of the field; input from users often does not."""
    try:
        field.to_python(text)
    except ValidationError:
        return False
    return True


def is_storable_value(field: Field[Any, Any], text: str) -> bool:
    """Return whether the database accepts the text as a value of the field.

    Unlike `is_valid_value`, this rejects numbers that exceed the range of the column.
    """
    try:
        field.clean(text, None)
    except ValidationError:
        return False
    return True
