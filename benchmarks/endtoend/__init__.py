"""The parts of `end_to_end.py`; each measures one claim in processes of its own."""
