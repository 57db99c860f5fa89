"""Schedules: commands that are enqueued at recurring times, once for each tick across replicas."""
