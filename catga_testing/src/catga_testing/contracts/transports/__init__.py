"""The parts of `TransportContract`, one file for each kind of promise."""
