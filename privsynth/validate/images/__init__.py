"""Of pictures: how far, how varied, how well covered. Exact figures on real pictures stay inside."""
