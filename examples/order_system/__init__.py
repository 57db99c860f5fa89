"""An order system: one program that runs in one process, or as services over NATS, with the same handlers."""
