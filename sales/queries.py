"""What can be asked about sales."""
