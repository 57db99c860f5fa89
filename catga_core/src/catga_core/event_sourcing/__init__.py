"""Event sourcing: what happened is kept as events, and everything else is worked out from them."""
