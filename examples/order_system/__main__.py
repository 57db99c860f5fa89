"""`python -m examples.order_system`."""

import logging
import sys

import structlog

from .cli import main

if __name__ == "__main__":
    # The standard output is for the summary; of what Catga logs, only trouble is worth a look here.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    sys.exit(main())
