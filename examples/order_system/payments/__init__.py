"""Payments: charges cards. It decides from the request alone, so any replica may be asked, and asked twice."""
