"""Lists are handed out page by page, by a cursor: what is added meanwhile neither doubles a row nor hides one."""

from rest_framework.pagination import CursorPagination


class NewestFirst(CursorPagination):
    ordering: str | tuple[str, ...] = "-pk"
    page_size = 100
    page_size_query_param = "limit"
    max_page_size = 1000


class BySku(NewestFirst):
    ordering = "sku"
