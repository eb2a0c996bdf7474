"""`/api/events/`"""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orderflow.api.parameters import refuse_unknown_parameters, whole_parameter
from orderflow.api.problems import BadParameters
from orderflow.feed.queries import event_types, events_after
from orderflow.feed.waiting import LONGEST_WAIT, wait_for

LARGEST_POSITION = 2**63 - 1
PAGE, LARGEST_PAGE = 100, 1000


class PublishedEventSerializer(serializers.Serializer[Any]):
    position = serializers.IntegerField()
    id = serializers.IntegerField(help_text="The message's: histories name it as the cause of what followed.")
    type = serializers.ChoiceField(choices=event_types())
    about = serializers.UUIDField(help_text="The sales order or purchase order.")
    at = serializers.DateTimeField()
    data: Any = serializers.DictField(help_text="What it says. New fields may come; what is there keeps its meaning.")


class PublishedEventsSerializer(serializers.Serializer[Any]):
    results = PublishedEventSerializer(many=True)
    last = serializers.IntegerField(help_text="Where to go on: `after` of the next request.")


def _whole(name: str, description: str, default: int, lowest: int, highest: int) -> OpenApiParameter:
    schema = {"type": "integer", "minimum": lowest, "maximum": highest, "default": default}
    return OpenApiParameter(name, schema, description=description)


class Events(APIView):
    """Everything that happened, in an order without gaps: whoever goes on after the last one they saw misses nothing."""

    needs = {"GET": "feed.view_feedentry"}

    @extend_schema(
        operation_id="events_list",
        responses=PublishedEventsSerializer,
        parameters=[
            _whole("after", "The position of the last event that you have seen.", 0, 0, LARGEST_POSITION),
            OpenApiParameter("type", description="Only these; several: any of them.", enum=event_types(), many=True),
            _whole("limit", "How many at the most.", PAGE, 1, LARGEST_PAGE),
            _whole(
                "wait", "Seconds to wait for an event, if there is none yet. A busy server may answer sooner.", 0, 0, LONGEST_WAIT
            ),
        ],
    )
    def get(self, request: Request) -> Response:
        refuse_unknown_parameters(request, {"after", "type", "limit", "wait"})
        after = whole_parameter(request, "after", default=0, lowest=0, highest=LARGEST_POSITION)
        limit = whole_parameter(request, "limit", default=PAGE, lowest=1, highest=LARGEST_PAGE)
        seconds = whole_parameter(request, "wait", default=0, lowest=0, highest=LONGEST_WAIT)
        types = request.query_params.getlist("type")
        if unknown := sorted({*types} - {*event_types()}):
            raise BadParameters({"type": [f"There is no event {each}." for each in unknown]})
        events = wait_for(lambda: events_after(after, types=types, limit=limit), seconds=seconds)
        last = events[-1].position if events else after
        return Response(PublishedEventsSerializer({"results": events, "last": last}).data)
