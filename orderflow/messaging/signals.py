"""The signal that wakes consumers."""

from django.dispatch import Signal

# Sent after the commit of a transaction that published, and by the sweep.
# Arguments: consumer (str), countdown (seconds until there is something to take, float).
messages_committed = Signal()
