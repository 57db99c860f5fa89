"""The port of memberships: which processes of a group are alive."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from catga_core.interfaces.port import port


@port("memberships", kept=True, kit="catga_testing.contracts:MembershipContract")
@runtime_checkable
class MembershipStore(Protocol):
    """Keeps who belongs to a group, each member for the length of its lease.

    The storage's clock alone decides who is alive, so clocks of different processes are never compared. Call it outside of units
    of work.
    """

    async def announce(self, group: str, member: str, /, *, lease: float) -> list[str]:
        """Announce a member, or renew its lease, counted from now.

        Args:
            group: The group.
            member: The member, unique in the group.
            lease: Seconds after which the member counts as dead unless it announces itself again.

        Returns:
            Every living member of the group, in the order of their names; the caller is one of them.

        Raises:
            ValueError: The group or the member is empty.
        """
        ...

    async def members(self, group: str, /) -> list[str]:
        """Return every living member of a group, in the order of their names."""
        ...

    async def leave(self, group: str, member: str, /) -> bool:
        """Remove a member at once.

        Returns:
            Whether it was alive until now.
        """
        ...


def check_member(group: str, member: str) -> None:
    """Check the names of a group and a member.

    Args:
        group: The group.
        member: The member.

    Raises:
        ValueError: One of them is empty.
    """
    if not group or not member:
        msg = f"group and member must not be empty; got group={group!r}, member={member!r}. Pass a name for each."
        raise ValueError(msg)
