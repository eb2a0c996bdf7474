"""The signal that wakes consumers."""

from django.dispatch import Signal

# Sent after a transaction that published has committed, by the sweep, and after a replay.
# Arguments: consumer (str), countdown (float, seconds until a message is due).
messages_available = Signal()
