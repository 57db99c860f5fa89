"""The engine below the stores: connections, threads, group commit, schema and failures."""
