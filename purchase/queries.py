"""What can be asked about purchase."""
