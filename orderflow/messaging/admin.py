"""The admin pages of messages, queued messages and consumers."""

from collections.abc import Callable

from django import forms
from django.contrib import admin
from django.contrib.admin import helpers
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from orderflow.admin_tools.links import (
    inline_list,
    link_column,
    list_link,
    payload_with_links,
    time_column,
)
from orderflow.admin_tools.read_only import ReadOnlyAdmin, ReadOnlyInline
from orderflow.messaging.dead_letters import discard, replay
from orderflow.messaging.messages import message_types
from orderflow.messaging.models import Consumer, QueuedMessage, QueuedMessageStatus, StoredMessage

DISCARDABLE = (QueuedMessageStatus.DEAD_LETTER,)
REPLAYABLE = (QueuedMessageStatus.DEAD_LETTER, QueuedMessageStatus.DISCARDED)


class TypeFilter(admin.SimpleListFilter):
    """Offers the types that the code defines: reading them from the table would scan all of it."""

    title = parameter_name = "type"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[StoredMessage]
    ) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(message_types())]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[StoredMessage]
    ) -> QuerySet[StoredMessage]:
        return queryset.filter(type=self.value()) if self.value() else queryset


class QueuedMessageInline(ReadOnlyInline[QueuedMessage, StoredMessage]):
    model = QueuedMessage
    fields = ["consumer", "status", "attempts", "due", "last_error"]
    select_related = ["message"]

    due = time_column("due_at")


@admin.register(StoredMessage)
class StoredMessageAdmin(ReadOnlyAdmin[StoredMessage]):
    list_display = ["id", "type", "key_link", "cause", "created"]
    list_filter = [TypeFilter]
    search_fields = ["type"]
    search_ids = ["id", "key"]
    ordering = ["-id"]
    fields = ["type", "created", "key", "cause", "related", "linked_payload"]
    inlines = [QueuedMessageInline]

    created = time_column("created_at")
    cause = link_column("caused_by_id", model="messaging.storedmessage")

    @admin.display(description="key", ordering="key")
    def key_link(self, message: StoredMessage) -> SafeString:
        return list_link("messaging.storedmessage", message.key, key=message.key)

    @admin.display
    def related(self, message: StoredMessage) -> SafeString:
        key = message.key
        return inline_list(
            [
                list_link("messaging.storedmessage", "Messages with this key", key=key),
                list_link("messaging.queuedmessage", "Queued messages with this key", key=key),
            ]
        )

    @admin.display(description="payload")
    def linked_payload(self, message: StoredMessage) -> SafeString:
        return payload_with_links(message.payload)


class ReasonForm(helpers.ActionForm):
    """Asks for the reason beside the action. The service rejects an empty reason."""

    reason = forms.CharField(label="\u00a0Reason:", required=False)


@admin.register(QueuedMessage)
class QueuedMessageAdmin(ReadOnlyAdmin[QueuedMessage]):
    list_display = ["message", "consumer", "key_link", "status", "due", "short_error"]
    list_filter = ["status", "consumer"]
    list_select_related = ["message"]
    search_fields = ["message__type", "consumer", "last_error"]
    search_ids = ["key", "message__id"]
    ordering = ["-id"]
    fields = [
        "message",
        "consumer",
        "key_link",
        "status",
        "attempts",
        "due",
        "last_error",
        "resolution_log",
    ]
    action_form = ReasonForm
    actions = ["replay", "discard"]

    due = time_column("due_at")

    @admin.display(description="key", ordering="key")
    def key_link(self, queued: QueuedMessage) -> SafeString:
        return list_link("messaging.queuedmessage", queued.key, key=queued.key)

    @admin.display(description="last error", ordering="last_error")
    def short_error(self, queued: QueuedMessage) -> str:
        return Truncator(queued.last_error).chars(60)

    @admin.action(description="Replay", permissions=["act"])
    def replay(self, request: HttpRequest, selected: QuerySet[QueuedMessage]) -> None:
        replayable = list(selected.filter(status__in=REPLAYABLE))
        self._resolve(request, replayable, replay, "Replayed")

    @admin.action(description="Discard", permissions=["act"])
    def discard(self, request: HttpRequest, selected: QuerySet[QueuedMessage]) -> None:
        discardable = list(selected.filter(status__in=DISCARDABLE))
        self._resolve(request, discardable, discard, "Discarded")

    def _resolve(
        self,
        request: HttpRequest,
        queued: list[QueuedMessage],
        service: Callable[..., int],
        success_verb: str,
    ) -> None:
        actor, reason = request.user.get_username(), request.POST.get("reason", "")
        self.run_service(
            request,
            queued,
            lambda: service([each.pk for each in queued], actor=actor, reason=reason),
            success_verb=success_verb,
            log_entry=f"{success_verb}: {reason}",
        )


@admin.register(Consumer)
class ConsumerAdmin(ReadOnlyAdmin[Consumer]):
    list_display = ["name", "unfinished_batches", "queued_messages"]
    search_fields = ["name"]
    fields = ["name", "unfinished_batches", "queued_messages"]

    @admin.display
    def queued_messages(self, consumer: Consumer) -> SafeString:
        dead_letters = {
            "consumer": consumer.name,
            "status__exact": QueuedMessageStatus.DEAD_LETTER,
        }
        return inline_list(
            [
                list_link("messaging.queuedmessage", "Queued", consumer=consumer.name),
                list_link("messaging.queuedmessage", "Dead letters", **dead_letters),
            ]
        )
