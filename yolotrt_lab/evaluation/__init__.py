"""How good a detector is, and how closely one engine follows another."""
