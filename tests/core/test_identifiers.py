from __future__ import annotations

import os
import sys
import threading

import pytest

from catga_core.identifiers import new_id
from tests.core.support import run_program


def test_an_id_is_32_lower_case_hexadecimal_digits():
    made = new_id()

    assert len(made) == 32
    assert made == f"{int(made, 16):032x}"


def test_ids_are_unique_over_threads():
    made: list[list[str]] = []
    # Threads change at every chance, so that several meet at the end of a block.
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work() -> None:
        made.append([new_id() for _ in range(50_000)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)

    assert len({each for several in made for each in several}) == 400_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_goes_on_with_ids_of_its_own():
    program = """
        import os
        from catga_core.identifiers import new_id

        first = new_id()
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.write(writing, new_id().encode())
            os._exit(0)
        child = os.read(reading, 32).decode()
        print(first, new_id(), child)
    """

    first, parent, child = run_program(program).split()

    assert first[:20] == parent[:20] != child[:20]


def test_two_processes_have_ids_of_their_own():
    program = "from catga_core.identifiers import new_id; print(new_id()[:20])"

    assert run_program(program) != run_program(program)
    assert sys.executable
