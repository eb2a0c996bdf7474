"""What all REST endpoints share: bodies, answers, errors, pages, who may what, and the schema. It knows no context."""
