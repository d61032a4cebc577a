"""Pictures from paid statistics, and their generators to come."""
