"""The event feed: events with gapless positions, for other systems. Imports no context."""
