"""What operations adds to the admin pages of the contexts."""

from collections.abc import Iterable
from uuid import UUID

from orderflow.admin_tools.explanations import register_explanation
from orderflow.operations.explanation import explain


def blockers(sales_order_id: UUID) -> Iterable[str]:
    """Return what blocks a sales order; "-" if nothing does."""
    explanation = explain(str(sales_order_id))
    return explanation.reasons if explanation and explanation.reasons else ["-"]


register_explanation("sales.salesorder", blockers)
