"""What lies on the shelf, and to whom it is promised. It does not know customers, nor why anything is bought."""
