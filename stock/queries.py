"""What can be asked about stock."""
