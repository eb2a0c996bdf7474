"""The operators' view: sees everything by asking queries, and changes nothing."""
