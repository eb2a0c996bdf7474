"""What all REST endpoints share. It knows no context."""
