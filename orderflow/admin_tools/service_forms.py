"""Forms to add objects. A service creates the object, and the form shows the service's error."""

import uuid
from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.options import BaseModelAdmin
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from orderflow.admin_tools.links import page_name
from orderflow.admin_tools.read_only import (
    Child,
    FirstRowsFormSet,
    M,
    Parent,
    ReadOnlyAdmin,
    ReadOnlyInline,
    is_valid_value,
)
from orderflow.core.errors import DomainError


class ServiceForm(forms.ModelForm[M]):
    """The form of an object that a service creates. `service_error`: the error it raised."""

    service_error: DomainError | None = None

    def clean(self) -> dict[str, Any] | None:
        if self.service_error:
            raise ValidationError(str(self.service_error))
        return super().clean()


class IdempotentForm(ServiceForm[M]):
    """A form with the id of the new object: submitted twice, it creates one object.

    The form does not check uniqueness: the service decides whether the object is new.
    """

    new_id = forms.UUIDField(initial=uuid.uuid4, widget=forms.HiddenInput)

    def validate_unique(self) -> None:
        pass


class TolerantSelect(AutocompleteSelect):
    """Ignores invalid ids, so that the form reports them. Django's widget raises an error."""

    def format_value(self, value: Any) -> list[str]:
        return [
            each
            for each in super().format_value(value)
            if is_valid_value(self.field.target_field, each)
        ]


class TolerantSelectMixin(BaseModelAdmin[Any]):
    """Uses `TolerantSelect` for `autocomplete_fields`."""

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs["widget"] = TolerantSelect(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


class ServiceAddFormSet(FirstRowsFormSet[Child, Parent]):
    """Accepts duplicate lines; the service decides about them."""

    def validate_unique(self) -> None:
        pass


class ServiceAddInline(TolerantSelectMixin, ReadOnlyInline[Child, Parent]):
    """The lines of an object: given when it is added, read-only afterwards."""

    formset = ServiceAddFormSet
    extra = 3
    add_fields: Sequence[str]

    def has_add_permission(self, request: HttpRequest, obj: Parent | None = None) -> bool:
        return obj is None  # Django has checked the permission to add the object

    def get_fields(self, request: HttpRequest, obj: Parent | None = None) -> list[Any]:
        return list(super().get_fields(request, obj) if obj else self.add_fields)


class ServiceAddAdmin(TolerantSelectMixin, ReadOnlyAdmin[M]):
    """Read-only pages of objects that users can add. The form collects the values for `create`."""

    add_form: type[ServiceForm[M]]
    add_fields: Sequence[str]
    add_inlines: Sequence[type[ServiceAddInline[Any, Any]]] = ()

    def create(self, request: HttpRequest, given: dict[str, Any], lines: Sequence[Any]) -> M:
        """Call the service with the form's values and return the new object.

        Raises: the service's `DomainError`.
        """
        raise NotImplementedError

    def has_add_permission(self, request: HttpRequest) -> bool:
        return admin.ModelAdmin.has_add_permission(self, request)

    def get_fields(self, request: HttpRequest, obj: M | None = None) -> list[Any]:
        return list(super().get_fields(request, obj) if obj else self.add_fields)

    def get_inlines(self, request: HttpRequest, obj: M | None) -> list[Any]:
        return list(super().get_inlines(request, obj) if obj else self.add_inlines)

    def get_form(
        self, request: HttpRequest, obj: M | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if not change:
            error = getattr(request, "service_error", None)
            kwargs["form"] = type("AddForm", (self.add_form,), {"service_error": error})
        return super().get_form(request, obj, change, **kwargs)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the form again if the service raises an error; everything is rolled back.

        The form cannot check beforehand: only the service knows, while it holds its locks.
        """
        # There is nothing to continue editing after saving.
        extra_context = {"show_save_and_continue": False, **(extra_context or {})}
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except DomainError as error:
            request.service_error = error  # type: ignore[attr-defined]  # for get_form
            return super().changeform_view(request, object_id, form_url, extra_context)

    def response_post_save_add(self, request: HttpRequest, obj: M) -> HttpResponseRedirect:
        if self.has_view_permission(request, obj):
            return HttpResponseRedirect(
                reverse(page_name(self.opts.label_lower, "change"), args=[obj.pk])
            )
        return super().response_post_save_add(request, obj)

    def save_model(self, request: HttpRequest, obj: M, form: Any, change: bool) -> None:
        """Do nothing yet: the lines are not known."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Create the object; `form.instance` becomes it, for the log and the response."""
        lines = [line for formset in formsets for line in formset.save(commit=False)]
        created = self.create(request, form.cleaned_data, lines)
        form.instance.pk = created.pk
        form.instance.refresh_from_db()
