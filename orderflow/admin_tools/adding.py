"""What can be added by hand, because a service does it: the form asks, and shows what the service refuses."""

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
from orderflow.admin_tools.reading import Child, FirstRows, M, Parent, ReadOnlyAdmin, ReadOnlyInline, can_be
from orderflow.refusals import Refused


class ServiceForm(forms.ModelForm[M]):
    """The form of something that a service makes. The service has the last word: `refusal` is what it said."""

    refusal: Refused | None = None

    def clean(self) -> dict[str, Any] | None:
        if self.refusal:
            raise ValidationError(str(self.refusal))
        return super().clean()


class OnceForm(ServiceForm[M]):
    """It brings the id of what is to be made: sent twice, it is made once. Whether it is a new one, the service decides."""

    new_id = forms.UUIDField(initial=uuid.uuid4, widget=forms.HiddenInput)

    def validate_unique(self) -> None:
        pass


class TolerantSelect(AutocompleteSelect):
    """Django's own answers an id that cannot be one with a server error, before the form can say that it is wrong."""

    def format_value(self, value: Any) -> list[str]:
        return [each for each in super().format_value(value) if can_be(self.field.target_field, each)]


class TolerantSelects(BaseModelAdmin[Any]):
    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs["widget"] = TolerantSelect(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


class AddedLines(FirstRows[Child, Parent]):
    """What is named twice is the service's business, not the form's."""

    def validate_unique(self) -> None:
        pass


class AddedInline(TolerantSelects, ReadOnlyInline[Child, Parent]):
    """The lines that are given with a new object, and never changed."""

    formset = AddedLines
    extra = 3
    add_fields: Sequence[str]

    def has_add_permission(self, request: HttpRequest, obj: Parent | None = None) -> bool:
        return obj is None  # whoever may add the object, which Django has checked

    def get_fields(self, request: HttpRequest, obj: Parent | None = None) -> list[Any]:
        return list(super().get_fields(request, obj) if obj else self.add_fields)


class AddedByService(TolerantSelects, ReadOnlyAdmin[M]):
    """What can be added by hand, because a service does it. The form only asks; it writes nothing by itself."""

    add_form: type[ServiceForm[M]]
    add_fields: Sequence[str]
    add_inlines: Sequence[type[AddedInline[Any, Any]]] = ()

    def create(self, request: HttpRequest, given: dict[str, Any], lines: Sequence[Any]) -> M:
        """Call the service with what the form was given; return what it made. May raise what is `Refused`."""
        raise NotImplementedError

    def has_add_permission(self, request: HttpRequest) -> bool:
        return admin.ModelAdmin.has_add_permission(self, request)

    def get_fields(self, request: HttpRequest, obj: M | None = None) -> list[Any]:
        return list(super().get_fields(request, obj) if obj else self.add_fields)

    def get_inlines(self, request: HttpRequest, obj: M | None) -> list[Any]:
        return list(super().get_inlines(request, obj) if obj else self.add_inlines)

    def get_form(self, request: HttpRequest, obj: M | None = None, change: bool = False, **kwargs: Any) -> Any:
        if not change:
            kwargs["form"] = type("AddForm", (self.add_form,), {"refusal": getattr(request, "refusal", None)})
        return super().get_form(request, obj, change, **kwargs)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """A refusal rolls everything back, and the form is shown again with it, like with any other mistake.

        Only the service can tell, and only while it holds its locks: so there is no asking beforehand.
        """
        extra_context = {"show_save_and_continue": False, **(extra_context or {})}  # there is no editing to continue with
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except Refused as refusal:
            request.refusal = refusal  # type: ignore[attr-defined]  # for get_form, in the second round
            return super().changeform_view(request, object_id, form_url, extra_context)

    def response_post_save_add(self, request: HttpRequest, obj: M) -> HttpResponseRedirect:
        if self.has_view_permission(request, obj):
            return HttpResponseRedirect(reverse(page_name(self.opts.label_lower, "change"), args=[obj.pk]))
        return super().response_post_save_add(request, obj)

    def save_model(self, request: HttpRequest, obj: M, form: Any, change: bool) -> None:
        """Nothing yet: the lines are not known."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Have the service make it; the form's object becomes what was made, for the log and the answer."""
        lines = [line for formset in formsets for line in formset.save(commit=False)]
        made = self.create(request, form.cleaned_data, lines)
        form.instance.pk = made.pk
        form.instance.refresh_from_db()
