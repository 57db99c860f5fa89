"""The application: builder, options, lifecycle."""
