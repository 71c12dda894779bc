"""Pictures for the lessons: pure functions from data to a Matplotlib figure, one module per topic."""
