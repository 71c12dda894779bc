"""Parts of `precision_vs_peers.py`; what `job` and the `make_*` modules import, the peers' own Python must have."""
