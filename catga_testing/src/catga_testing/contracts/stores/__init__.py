"""The parts of the store kits, one folder or file for each port."""
