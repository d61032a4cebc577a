"""The one-way road of a study, its plan, and the demo."""
