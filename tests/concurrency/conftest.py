"""What these tests begin with, and what they count."""

from orderflow.messaging.messages import Message, type_name
from orderflow.messaging.models import StoredMessage
from stock.services import Adjustment, adjust_stock
from tests.conftest import lines


def put_on_the_shelf(**quantities: int) -> None:
    """`put_on_the_shelf(chair=2)`: two more of the product with the SKU chair."""
    found = [Adjustment(product_id=each.product_id, quantity=each.quantity, reason="found") for each in lines(**quantities)]
    adjust_stock(found, by="tests")


def announced(message: type[Message]) -> int:
    """How often a message of this type was published."""
    return StoredMessage.objects.filter(type=type_name(message)).count()
