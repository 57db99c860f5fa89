"""The engine below the stores: connections, lanes, scripts, records and failures."""
