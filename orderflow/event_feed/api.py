"""`/api/v1/events/`"""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orderflow.api.parameters import integer_parameter, reject_unknown_parameters
from orderflow.api.problems import InvalidParameters
from orderflow.event_feed.long_poll import MAX_WAIT_SECONDS, poll_until
from orderflow.event_feed.queries import event_types, events_after

MAX_POSITION = 2**63 - 1
DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 100, 1000


class FeedEventSerializer(serializers.Serializer[Any]):
    position = serializers.IntegerField()
    id = serializers.IntegerField(
        help_text="Id of the message; histories name it as the cause of a change."
    )
    type = serializers.ChoiceField(choices=event_types())
    subject = serializers.UUIDField(help_text="Id of the sales order or purchase order.")
    created_at = serializers.DateTimeField()
    data: Any = serializers.DictField(
        help_text="The payload. Fields may be added; existing fields keep their meaning."
    )


class EventFeedPageSerializer(serializers.Serializer[Any]):
    results = FeedEventSerializer(many=True)
    last_position = serializers.IntegerField(help_text="Use it as `after` of the next request.")


def _integer(
    name: str, description: str, default: int, minimum: int, maximum: int
) -> OpenApiParameter:
    schema = {"type": "integer", "minimum": minimum, "maximum": maximum, "default": default}
    return OpenApiParameter(name, schema, description=description)


class Events(APIView):
    """List the published events after a position, without gaps.

    Only events are listed. Commands and changes that publish no event, such as stock adjustments,
    are not part of the feed.
    """

    required_permissions = {"GET": "feed.view_feedentry"}

    @extend_schema(
        operation_id="events_list",
        responses=EventFeedPageSerializer,
        parameters=[
            _integer("after", "Position of the last event received.", 0, 0, MAX_POSITION),
            OpenApiParameter(
                "type",
                description="May be repeated: any of these types.",
                enum=event_types(),
                many=True,
            ),
            _integer("limit", "Maximum number of results.", DEFAULT_PAGE_SIZE, 1, MAX_PAGE_SIZE),
            _integer(
                "wait",
                "If there is no event, wait for one up to this number of seconds. A web process "
                "that already holds the maximum of waiting requests returns after 0.1 s.",
                0,
                0,
                MAX_WAIT_SECONDS,
            ),
        ],
    )
    def get(self, request: Request) -> Response:
        reject_unknown_parameters(request, {"after", "type", "limit", "wait"})
        after = integer_parameter(request, "after", default=0, minimum=0, maximum=MAX_POSITION)
        limit = integer_parameter(
            request, "limit", default=DEFAULT_PAGE_SIZE, minimum=1, maximum=MAX_PAGE_SIZE
        )
        seconds = integer_parameter(
            request, "wait", default=0, minimum=0, maximum=MAX_WAIT_SECONDS
        )
        types = request.query_params.getlist("type")
        if unknown := sorted({*types} - {*event_types()}):
            raise InvalidParameters({"type": [f"Unknown event types: {', '.join(unknown)}."]})
        events = poll_until(lambda: events_after(after, types=types, limit=limit), seconds=seconds)
        last_position = events[-1].position if events else after
        page = {"results": events, "last_position": last_position}
        return Response(EventFeedPageSerializer(page).data)
