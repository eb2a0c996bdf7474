"""The event feed: events with gapless positions, for other systems. Knows no context."""
