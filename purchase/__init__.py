"""Orders to suppliers, and what they deliver. It does not know what for anything is bought."""
