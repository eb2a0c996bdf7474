from collections.abc import Callable

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ActionForm
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from orderflow.admin_tools.links import linked, list_link, payload_with_links, side_by_side, to_the_second
from orderflow.admin_tools.reading import ReadOnlyAdmin, ReadOnlyInline
from orderflow.messaging.dead_letters import discard, replay
from orderflow.messaging.messages import message_types
from orderflow.messaging.models import Consumer, Delivery, DeliveryState, StoredMessage


class TypeFilter(admin.SimpleListFilter):
    """The types that there are in code: asking a table of millions which it holds would read it whole."""

    title = parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[StoredMessage]) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(message_types())]

    def queryset(self, request: HttpRequest, queryset: QuerySet[StoredMessage]) -> QuerySet[StoredMessage]:
        return queryset.filter(type=self.value()) if self.value() else queryset


class DeliveryInline(ReadOnlyInline[Delivery, StoredMessage]):
    model = Delivery
    fields = ["consumer", "state", "attempts", "due", "last_error"]
    select_related = ["message"]

    due = to_the_second("due_at")


@admin.register(StoredMessage)
class StoredMessageAdmin(ReadOnlyAdmin[StoredMessage]):
    list_display = ["id", "type", "about", "cause", "created"]
    list_filter = [TypeFilter]
    search_fields = ["type"]
    search_ids = ["id", "key"]
    ordering = ["-id"]
    fields = ["type", "created", "key", "cause", "see_also", "what_it_says"]
    inlines = [DeliveryInline]

    created = to_the_second("created_at")
    cause = linked("caused_by_id", to="messaging.storedmessage", title="caused by")

    @admin.display(description="key", ordering="key")
    def about(self, message: StoredMessage) -> SafeString:
        return list_link("messaging.storedmessage", message.key, key=message.key)

    @admin.display
    def see_also(self, message: StoredMessage) -> SafeString:
        return side_by_side(
            [
                list_link("messaging.storedmessage", "all messages of this key", key=message.key),
                list_link("messaging.delivery", "what of this key is on its way", key=message.key),
            ]
        )

    @admin.display
    def what_it_says(self, message: StoredMessage) -> SafeString:
        return payload_with_links(message.payload)


class ReasonForm(ActionForm):
    reason = forms.CharField(label="\u00a0Reason:", required=False)  # the service insists on it, and says so


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin[Delivery]):
    list_display = ["message", "consumer", "about", "state", "due", "error"]
    list_filter = ["state", "consumer"]
    list_select_related = ["message"]
    search_fields = ["message__type", "consumer", "last_error"]
    search_ids = ["key", "message__id"]
    ordering = ["-id"]
    fields = ["message", "consumer", "about", "state", "attempts", "due", "last_error", "decision"]
    action_form = ReasonForm
    actions = ["replay", "discard"]

    due = to_the_second("due_at")

    @admin.display(description="key", ordering="key")
    def about(self, delivery: Delivery) -> SafeString:
        return list_link("messaging.delivery", delivery.key, key=delivery.key)

    @admin.display(description="last error", ordering="last_error")
    def error(self, delivery: Delivery) -> str:
        return Truncator(delivery.last_error).chars(60)

    @admin.action(description="Replay dead letters", permissions=["act"])
    def replay(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> None:
        self._decide(request, deliveries, replay, "Replayed")

    @admin.action(description="Discard dead letters", permissions=["act"])
    def discard(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> None:
        self._decide(request, deliveries, discard, "Discarded")

    def _decide(self, request: HttpRequest, deliveries: QuerySet[Delivery], decide: Callable[..., int], done: str) -> None:
        by, reason = request.user.get_username(), request.POST.get("reason", "")
        dead = list(deliveries.filter(state=DeliveryState.DEAD))
        self.carry_out(
            request,
            dead,
            lambda: decide([delivery.pk for delivery in dead], by=by, reason=reason),
            done=done,
            log=f"{done}: {reason}",
        )


@admin.register(Consumer)
class ConsumerAdmin(ReadOnlyAdmin[Consumer]):
    list_display = ["name", "unfinished", "deliveries"]
    search_fields = ["name"]
    fields = ["name", "unfinished", "deliveries"]

    @admin.display
    def deliveries(self, consumer: Consumer) -> SafeString:
        return side_by_side(
            [
                list_link("messaging.delivery", "on their way", consumer=consumer.name),
                list_link("messaging.delivery", "dead letters", consumer=consumer.name, state__exact=DeliveryState.DEAD),
            ]
        )
