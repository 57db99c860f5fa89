"""What can be encoded and decoded: types are checked once, values before they are stored or sent."""
