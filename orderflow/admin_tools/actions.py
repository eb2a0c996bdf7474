"""Pages that confirm an action: a form with a reason and more, and then a call of a service."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Generic

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms.formsets import BaseFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from orderflow.admin_tools.links import page_link, page_name
from orderflow.admin_tools.read_only import ROWS_NOT_FOUND, M, ReadOnlyAdmin
from orderflow.core.errors import DomainError
from orderflow.core.reasons import MAX_REASON_LENGTH

# Rows of one confirmation page: the page sends their ids, and Django accepts 1000 form values.
MAX_ROWS = 500


class ReasonField(forms.CharField):
    """The reason of a decision. Spaces alone count as empty."""

    def __init__(self, *, required: bool = True) -> None:
        super().__init__(
            required=required,
            max_length=MAX_REASON_LENGTH,
            widget=AdminTextInputWidget,
            help_text="Stored in the history.",
            error_messages={"required": "A reason is required. It is stored in the history."},
        )


class ActionForm(forms.Form, Generic[M]):
    """The form of an action on `rows`.

    `label`: the text of the button: "Cancel". `success_verb` starts the success message, before
    the number of rows: "Cancelled". `log_entry` starts the log of each row, before the reason:
    "Cancelled". `permission`: the action needs the admin's `has_<permission>_permission`.
    `headings`: of the table, if there is one. `parts`: the forms or formsets in that table.
    """

    label: ClassVar[str]
    success_verb: ClassVar[str]
    log_entry: ClassVar[str]
    permission: ClassVar[str] = "act"
    headings: ClassVar[Sequence[str]] = ()
    required_css_class = "required"

    def __init__(self, rows: Sequence[M], data: Any = None) -> None:
        super().__init__(data)
        self.rows = rows
        self.parts: Sequence[forms.BaseForm | BaseFormSet[Any]] = ()

    @classmethod
    def is_available_for(cls, row: M) -> bool:
        """Return whether the page of this row has a button.

        The service checks again whether the action is allowed.
        """
        return True

    def execute(self, *, actor: str) -> object:
        """Call the service and return its result. Raises: the service's `DomainError`."""
        raise NotImplementedError

    def table(self) -> Iterable[Sequence[object]]:
        """Return the rows of the table: texts and form fields."""
        return ()

    def is_valid(self) -> bool:
        return all([super().is_valid(), *(part.is_valid() for part in self.parts)])

    def has_errors(self) -> bool:
        return self.is_bound and not self.is_valid()

    @property
    def media(self) -> forms.Media:
        return sum((part.media for part in self.parts), super().media)

    def log_text(self) -> str:
        reason = self.cleaned_data.get("reason")
        return f"{self.log_entry}: {reason}" if reason else f"{self.log_entry}."


class ReasonActionForm(ActionForm[M]):
    reason = ReasonField()


class ActionAdmin(ReadOnlyAdmin[M]):
    """Read-only pages with action forms.

    Each form has a page for each row, `…/<id>/<name>/`. Bulk actions show it for several rows
    with `confirm`.
    """

    change_form_template = "admin/orderflow/change_form.html"
    action_forms: Mapping[str, type[ActionForm[M]]] = {}

    def get_urls(self) -> list[URLPattern]:
        return [*map(self._action_url, self.action_forms), *super().get_urls()]

    def _action_url(self, name: str) -> URLPattern:
        view = self.admin_site.admin_view(partial(self.action_view, name=name))
        url_name = page_name(self.opts.label_lower, name).removeprefix("admin:")
        return path(f"<path:object_id>/{name}/", view, name=url_name)

    def action_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """Show the form for one row, or execute it and return to the row's page."""
        if not self._is_allowed(request, self.action_forms[name]):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined,no-any-return]
        page = reverse(page_name(self.opts.label_lower, "change"), args=[row.pk])
        return self._show_form(request, name, [row], back=page) or HttpResponseRedirect(page)

    def confirm(
        self, request: HttpRequest, name: str, selected: QuerySet[M]
    ) -> HttpResponse | None:
        """Show the form for the selected rows, or execute it; a bulk action returns the result.

        If a selected row has left the list, nothing is executed.
        """
        rows = list(selected[: MAX_ROWS + 1])
        if len(rows) > MAX_ROWS:
            text = f"Select at most {MAX_ROWS} rows. No changes were made."
            self.message_user(request, text, messages.ERROR)
            return None
        if len(rows) < len(set(request.POST.getlist(ACTION_CHECKBOX_NAME))):
            self.message_user(request, ROWS_NOT_FOUND, messages.ERROR)
            return None
        return self._show_form(request, name, rows, back=request.get_full_path(), action=name)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = context["original"]
        if row:
            context["action_links"] = [
                (reverse(page_name(self.opts.label_lower, name), args=[row.pk]), form.label)
                for name, form in self.action_forms.items()
                if form.is_available_for(row) and self._is_allowed(request, form)
            ]
        return super().render_change_form(request, context, *args, **kwargs)

    def _is_allowed(self, request: HttpRequest, form: type[ActionForm[M]]) -> bool:
        return bool(getattr(self, f"has_{form.permission}_permission")(request))

    def _show_form(
        self, request: HttpRequest, name: str, rows: Sequence[M], *, back: str, action: str = ""
    ) -> HttpResponse | None:
        """Return the page with the form, or None if it was confirmed and executed."""
        data = request.POST if "confirmed" in request.POST else None
        form = self.action_forms[name](rows, data)
        if form.is_valid() and self._execute(request, form):
            return None
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": form.label,
            "subtitle": "" if action else rows[0],
            "form": form,
            "media": self.media + form.media,
            "rows": [(row.pk, page_link(self.opts.label_lower, row.pk, row)) for row in rows],
            "action": action,
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
            "back": back,
        }
        return TemplateResponse(request, "admin/orderflow/action.html", context)

    def _execute(self, request: HttpRequest, form: ActionForm[M]) -> bool:
        """Call the service; return False and add its error to the form if it raises one."""
        service = partial(form.execute, actor=request.user.get_username())
        try:
            self.call_service(
                request,
                form.rows,
                service,
                success_verb=form.success_verb,
                log_entry=form.log_text(),
            )
        except DomainError as error:
            form.add_error(None, str(error))
            return False
        return True
