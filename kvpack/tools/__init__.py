"""The only place that touches processes, sockets, archives, file locks and TOML text."""
