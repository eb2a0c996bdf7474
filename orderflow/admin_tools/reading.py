"""Pages to read: nobody changes anything by hand, and actions call services."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import get_fields_from_path, lookup_spawns_duplicates, model_ngettext
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Field, Model, Q, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse

from orderflow.refusals import Refused

admin.site.site_header = admin.site.site_title = "Orderflow"

M = TypeVar("M", bound=Model)
Child = TypeVar("Child", bound=Model)
Parent = TypeVar("Parent", bound=Model)

ROWS_SHOWN = 100  # of what belongs to an object, on the object's own page


class ReadOnlyAdmin(admin.ModelAdmin[M]):
    """Nobody adds, changes or deletes anything by hand. Actions call services, and need `permissions=["act"]`."""

    show_full_result_count = False  # it would count the whole table for each search
    search_ids: Sequence[str] = ()  # fields that are searched by a whole id, through their index
    search_help_text = "Words, or a whole id."

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_act_permission(self, request: HttpRequest) -> bool:
        """May this person have services change these things? Whoever was given Django's change permission may."""
        return super().has_change_permission(request)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[M], bool]:
        wanted = _with_id(self.model, self.search_ids, search_term.strip())
        if not wanted:
            return super().get_search_results(request, queryset, search_term)
        duplicates = any(lookup_spawns_duplicates(self.opts, path) for path in self.search_ids)
        return queryset.filter(wanted), duplicates

    def carry_out(self, request: HttpRequest, chosen: Sequence[M], service: Callable[[], object], *, done: str, log: str) -> None:
        """Do it, or show why not."""
        try:
            self.do(request, chosen, service, done=done, log=log)
        except Refused as refusal:
            self.message_user(request, str(refusal), messages.ERROR)

    def do(self, request: HttpRequest, chosen: Sequence[M], service: Callable[[], object], *, done: str, log: str) -> None:
        """Call a service for the chosen rows and log for each who did it, both or neither; say so. May raise what is `Refused`.

        `done` is the verb: "Delivered". A service that returns 0 or False has changed nothing.
        """
        with transaction.atomic():
            if service() in (0, False):
                self.message_user(request, "Nothing was to be done: it was so before.", messages.INFO)
                return
            LogEntry.objects.log_actions(str(request.user.pk), chosen, CHANGE, log)
        self.message_user(request, f"{done} {len(chosen)} {model_ngettext(self.opts, len(chosen))}.", messages.SUCCESS)

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *args: Any) -> HttpResponse | None:
        """Django's own answers an id that cannot be one with a server error."""
        if all(_can_be_stored(self.opts.pk, each) for each in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            return super().response_action(request, queryset, *args)
        self.message_user(request, "What was chosen does not exist. Nothing was done.", messages.ERROR)
        return None


def _with_id(model: type[Model], paths: Sequence[str], term: str) -> Q:
    """Rows with the searched term in one of these fields; empty where it can be the value of none of them."""
    wanted = Q()
    for path in paths:
        if can_be(get_fields_from_path(model, path)[-1], term):
            wanted |= Q((path, term))
    return wanted


class FirstRows(BaseInlineFormSet[Child, Parent, forms.ModelForm[Child]]):
    """Reads no more rows than a page can show."""

    def get_queryset(self) -> QuerySet[Child]:
        if not hasattr(self, "_first_rows"):
            self._first_rows = super().get_queryset()[:ROWS_SHOWN]
        return self._first_rows


class ReadOnlyInline(admin.TabularInline[Child, Parent]):
    """The rows that belong to an object, on its page. Whoever may see the whole may see its parts."""

    formset: Any = FirstRows
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
            if count > ROWS_SHOWN:
                self.verbose_name_plural = f"{self.verbose_name_plural}: the first {ROWS_SHOWN} of {count:,}"
        return formset


def can_be(field: Field[Any, Any], text: str) -> bool:
    """Could this be a value of the field? What a person typed often could not."""
    try:
        field.to_python(text)
    except ValidationError:
        return False
    return True


def _can_be_stored(field: Field[Any, Any], text: str) -> bool:
    """Could this be a value of the field that the database takes? Huge numbers could not."""
    try:
        field.clean(text, None)
    except ValidationError:
        return False
    return True
