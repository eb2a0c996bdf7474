"""What every other package stands on. No models, no endpoints, no business decisions."""
