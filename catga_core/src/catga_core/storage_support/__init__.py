"""What several stores share: record codecs and checks of appends.

For authors of stores; an application does not need it.
"""
