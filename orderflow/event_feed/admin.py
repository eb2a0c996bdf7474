from django.contrib import admin

from orderflow.admin_tools.links import link_column
from orderflow.admin_tools.read_only import ReadOnlyAdmin
from orderflow.event_feed.models import FeedEntry


@admin.register(FeedEntry)
class FeedEntryAdmin(ReadOnlyAdmin[FeedEntry]):
    list_display = ["position", "type", "message_link"]
    list_select_related = ["message"]
    ordering = ["-position"]
    search_fields = ["type"]
    search_ids = ["position", "message__id"]
    fields = ["position", "type", "message_link"]

    message_link = link_column("message", title="message")
