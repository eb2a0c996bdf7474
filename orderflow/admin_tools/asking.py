"""Pages of their own that ask for something, a reason or more, and then call a service about the chosen rows."""

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
from orderflow.admin_tools.reading import M, ReadOnlyAdmin
from orderflow.reasons import REASON_LENGTH
from orderflow.refusals import Refused

MOST_AT_ONCE = 500  # rows that are asked about on one page; the page brings their ids, and Django takes 1000 values of a form


class Reason(forms.CharField):
    """Why somebody wants something. Blanks are none."""

    def __init__(self, *, required: bool = True) -> None:
        super().__init__(
            required=required,
            max_length=REASON_LENGTH,
            widget=AdminTextInputWidget,
            help_text="It is kept in the history.",
            error_messages={"required": "Say why, in a few words: it is kept in the history."},
        )


class Question(forms.Form, Generic[M]):
    """What is asked about `rows` before a service is called with the answer.

    `parts` are the forms of its table, if it has one: one row each, or a set of them.
    """

    label: ClassVar[str]  # on the button: "Cancel"
    done: ClassVar[str]  # before the number of rows: "Cancelled"
    logged: ClassVar[str]  # in the log of a row, before the reason: "Cancelled"
    headings: ClassVar[Sequence[str]] = ()
    needs: ClassVar[str] = "act"  # the admin's has_act_permission, has_deliver_permission … says who may
    required_css_class = "required"

    def __init__(self, rows: Sequence[M], data: Any = None) -> None:
        super().__init__(data)
        self.rows = rows
        self.parts: Sequence[forms.BaseForm | BaseFormSet[Any]] = ()

    @classmethod
    def makes_sense_for(cls, row: M) -> bool:
        """Is there a button for it on the page of this row? Whether it can be done only the service says."""
        return True

    def carry_out(self, *, by: str) -> object:
        """Call the service; returns what it returns. May raise what is `Refused`."""
        raise NotImplementedError

    def table(self) -> Iterable[Sequence[object]]:
        """Its rows, under the headings: texts and fields."""
        return ()

    def is_valid(self) -> bool:
        return all([super().is_valid(), *(part.is_valid() for part in self.parts)])

    def has_mistakes(self) -> bool:
        return self.is_bound and not self.is_valid()

    @property
    def media(self) -> forms.Media:
        return sum((part.media for part in self.parts), super().media)

    def log(self) -> str:
        reason = self.cleaned_data.get("reason")
        return f"{self.logged}: {reason}" if reason else f"{self.logged}."


class ReasonQuestion(Question[M]):
    reason = Reason()


class AskingAdmin(ReadOnlyAdmin[M]):
    """Its questions have a page for each row, `…/<id>/<name>/`, and actions may ask them about several."""

    change_form_template = "admin/orderflow/change_form.html"
    questions: Mapping[str, type[Question[M]]] = {}

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                f"<path:object_id>/{name}/",
                self.admin_site.admin_view(partial(self.question_view, name=name)),
                name=page_name(self.opts.label_lower, name).removeprefix("admin:"),
            )
            for name in self.questions
        ]
        return [*own, *super().get_urls()]

    def question_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """The page that asks about one row."""
        if not self._may(request, self.questions[name]):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined,no-any-return]
        page = reverse(page_name(self.opts.label_lower, "change"), args=[row.pk])
        return self._ask(request, name, [row], back=page) or HttpResponseRedirect(page)

    def ask_about(self, request: HttpRequest, name: str, chosen: QuerySet[M]) -> HttpResponse | None:
        """What an action that asks returns. All that were chosen are still in the list, or nothing happens."""
        rows = list(chosen[: MOST_AT_ONCE + 1])
        if len(rows) > MOST_AT_ONCE:
            self.message_user(request, f"Choose at most {MOST_AT_ONCE} at once. Nothing was done.", messages.ERROR)
            return None
        if len(rows) < len(set(request.POST.getlist(ACTION_CHECKBOX_NAME))):
            gone = "Not all that was chosen is in this list any more. Nothing was done: look, and choose again."
            self.message_user(request, gone, messages.ERROR)
            return None
        return self._ask(request, name, rows, back=request.get_full_path(), action=name)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> HttpResponse:
        row = context["original"]
        if row:
            context["questions"] = [
                (reverse(page_name(self.opts.label_lower, name), args=[row.pk]), question.label)
                for name, question in self.questions.items()
                if question.makes_sense_for(row) and self._may(request, question)
            ]
        return super().render_change_form(request, context, *args, **kwargs)

    def _may(self, request: HttpRequest, question: type[Question[M]]) -> bool:
        return bool(getattr(self, f"has_{question.needs}_permission")(request))

    def _ask(self, request: HttpRequest, name: str, rows: Sequence[M], *, back: str, action: str = "") -> HttpResponse | None:
        """The page with the question; None once it was answered, and what was wanted is done."""
        question = self.questions[name](rows, request.POST if "answered" in request.POST else None)
        if question.is_valid() and self._answer(request, question):
            return None
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": question.label,
            "subtitle": "" if action else rows[0],
            "question": question,
            "media": self.media + question.media,
            "chosen": [(row.pk, page_link(self.opts.label_lower, row.pk, row)) for row in rows],
            "action": action,
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
            "back": back,
        }
        return TemplateResponse(request, "admin/orderflow/question.html", context)

    def _answer(self, request: HttpRequest, question: Question[M]) -> bool:
        """A refusal is shown with the question, like any other mistake."""
        service = partial(question.carry_out, by=request.user.get_username())
        try:
            self.do(request, question.rows, service, done=question.done, log=question.log())
        except Refused as refusal:
            question.add_error(None, str(refusal))
            return False
        return True
