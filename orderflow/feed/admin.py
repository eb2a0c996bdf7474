from django.contrib import admin

from orderflow.admin_tools.links import linked
from orderflow.admin_tools.reading import ReadOnlyAdmin
from orderflow.feed.models import FeedEntry


@admin.register(FeedEntry)
class FeedEntryAdmin(ReadOnlyAdmin[FeedEntry]):
    list_display = ["position", "type", "said"]
    list_select_related = ["message"]
    ordering = ["-position"]
    search_fields = ["type"]
    search_ids = ["position", "message__id"]
    fields = ["position", "type", "said"]

    said = linked("message")
