"""Deduplicates commands: the first claim runs the handler, duplicates receive the recorded result."""

from __future__ import annotations

import asyncio
import functools
from typing import Any, ClassVar

import msgspec

from catga_core.clock import Clock
from catga_core.errors import (
    CatgaError,
    DuplicateInProgressError,
    InternalError,
    LeaseLostError,
    Outcome,
    SerializationError,
)
from catga_core.features.idempotency.counters import IdempotencyCounters
from catga_core.features.idempotency.marks import IdempotencyRule
from catga_core.features.idempotency.results import ResultCodec
from catga_core.features.units_of_work.behavior import in_unit_of_work
from catga_core.interfaces.idempotency import Claimed, ClaimOutcome, Completed, IdempotencyStore
from catga_core.interfaces.storage import Storage
from catga_core.log import CLAIM_NOT_RELEASED, COMMAND_REPEATED, RESULT_NOT_RECORDED, logger
from catga_core.messages import MessageType
from catga_core.messages.context import active_context
from catga_core.messages.message_context import MessageContext
from catga_core.messages.results import CatgaResult, Failure, Success
from catga_core.option_checks import is_text
from catga_core.pipeline.behavior import Behavior, Next
from catga_core.pipeline.failures import reported_failure_of
from catga_core.pipeline.stage import Stage
from catga_core.runtime.lease import Lease
from catga_core.runtime.retry import yield_to_winner
from catga_core.runtime.shielded import acquire_or_release, cleanup
from catga_core.runtime.tasks import background_task
from catga_core.runtime.unit_of_work import BaseUnitOfWork, open_unit_of_work, outside_of_units_of_work
from catga_core.validation.returned import WrongResultError

_LOOK_SECONDS = 1.0  # how long one wait lasts: a test's clock may end a lease without a wake-up


class IdempotencySettings(msgspec.Struct, frozen=True):
    """The times of idempotency, in seconds.

    Args:
        ttl: How long a result is kept.
        lease: How long the claim of a dead process lasts; it is renewed while the handler runs.
        wait: How long a duplicate waits for the result of the first command; 0 does not wait.
    """

    ttl: float
    lease: float
    wait: float


class IdempotencyBehavior(Behavior[Any, Any]):
    """Claims a command's key, runs the rest of the pipeline, and records its success; a failure is not recorded.

    With a storage, the rest runs in one of its units of work. If the results are kept in the same storage, a result is
    recorded in the same transaction, so that a crash between the effect and the record cannot repeat the effect.
    Otherwise it is recorded after the commit.

    Args:
        described: The command's type.
        rule: How a duplicate is recognized.
        store: Where results are kept.
        codec: Encodes results.
        settings: The times.
        clock: The container's clock.
        counters: Counts the duplicates.
        storage: Where the handler runs in a unit of work; `None` for no unit of work.
        together: Whether `store` belongs to `storage`.
    """

    stage: ClassVar[Stage] = Stage.IDEMPOTENCY

    def __init__(
        self,
        described: MessageType,
        rule: IdempotencyRule,
        store: IdempotencyStore,
        codec: ResultCodec,
        settings: IdempotencySettings,
        clock: Clock,
        counters: IdempotencyCounters,
        storage: Storage | None = None,
        *,
        together: bool = False,
    ) -> None:
        self._name = described.cls.__name__
        self._wire_name = described.name
        self._rule = rule
        self._store = store
        self._codec = codec
        self._settings = settings
        self._ttl = settings.ttl if rule.ttl is None else rule.ttl
        self._clock = clock
        self._counters = counters
        self._storage = storage
        self._together = together
        self._recording: set[asyncio.Task[None]] = set()

    async def handle(self, message: Any, next: Next[Any, Any]) -> CatgaResult[Any]:
        """Return the result of the rest of the pipeline, the recorded result, or `DUPLICATE_IN_PROGRESS`."""
        context = active_context.get()
        key = self._key(message, context)
        fingerprint = self._codec.fingerprint(message) if self._rule.compare else ""
        outcome, began = await self._claim(key, context)
        if isinstance(outcome, Completed):
            recorded = self._codec.decode(outcome.result, fingerprint)
            if recorded.is_success:
                self._counters.repeated_commands += 1
                logger().info(
                    COMMAND_REPEATED,
                    message_type=self._wire_name,
                    message_id=None if context is None else context.message_id,
                )
            return recorded
        if not isinstance(outcome, Claimed):
            return Failure(self._in_progress(key, outcome.expires_at))
        return await self._run(outcome, began, fingerprint, message, next)

    def _key(self, message: Any, context: MessageContext | None) -> str:
        if self._rule.key is not None:
            try:
                key: object = self._rule.key(message)
            except Exception as error:
                # The exception's own text may quote a field; it is kept as the cause, and does not travel.
                reported_failure_of(error, f"the key function of {self._name}")
                text = (
                    f"The key function of {self._name} raised {type(error).__name__}. "
                    "Fix the function given to @idempotent(key=...)."
                )
                raise InternalError(text) from error
            if not (isinstance(key, str) and key and is_text(key)):
                text = (
                    f"The key of {self._name} must be a non-empty str that can be encoded; got {_shown(key)}. "
                    "Fix the function given to @idempotent(key=...)."
                )
                raise InternalError(text)
        else:
            if context is None:
                text = f"{self._name} has no message id, and no key function to replace it. Use @idempotent(key=...)."
                raise InternalError(text)
            key = context.message_id
        return f"{self._wire_name}:{key}"

    async def _claim(self, key: str, context: MessageContext | None) -> tuple[ClaimOutcome, float]:
        """Return the outcome, and the clock's time from before the call: a lease counts from then."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._max_wait(context)
        while True:
            asked_at = self._clock.monotonic()
            outcome = await acquire_or_release(
                self._store.claim(key, lease=self._settings.lease), self._release
            )
            began = loop.time()
            if isinstance(outcome, (Claimed, Completed)) or began >= ends_at:
                return outcome, asked_at
            found = await self._store.wait(key, timeout=min(ends_at - began, _LOOK_SECONDS))
            if found is not None:
                return found, asked_at
            await yield_to_winner(began)

    def _max_wait(self, context: MessageContext | None) -> float:
        wait = self._settings.wait
        if context is None or context.deadline is None:
            return wait
        return min(wait, context.deadline - self._clock.time())

    async def _run(
        self, claim: Claimed, began: float, fingerprint: str, message: Any, next: Next[Any, Any]
    ) -> CatgaResult[Any]:
        async def renew(held: Claimed) -> Claimed:
            return await self._store.renew(held, lease=self._settings.lease)

        lease = Lease(
            claim,
            renew,
            seconds=self._settings.lease,
            began=began,
            clock=self._clock,
            subject=f"the idempotency claim of {self._name}",
            cancel=True,
            # Completed in the same transaction, a late completion is refused by the store; and a storage with a single
            # writer cannot renew a lease while the handler writes.
            strict=not self._together,
        )
        kept = False
        surrounding = open_unit_of_work()
        try:
            async with lease:
                result = await self._do(lease, fingerprint, message, next, surrounding)
                kept = isinstance(result, Success)
                if kept and surrounding is not None:
                    # The effect is rolled back with it: a retry must not wait for the lease to end.
                    surrounding.after_rollback(functools.partial(self._rolled_back, lease))
                return result
        except LeaseLostError as lost:
            return Failure(lost)
        except CatgaError as error:
            # After an unknown outcome the lease decides: releasing the claim might repeat the effect.
            kept = error.outcome is Outcome.UNKNOWN
            raise
        finally:
            if not kept:
                await cleanup(self._release(lease.held))

    async def _do(
        self,
        lease: Lease[Claimed],
        fingerprint: str,
        message: Any,
        next: Next[Any, Any],
        surrounding: BaseUnitOfWork | None,
    ) -> CatgaResult[Any]:
        storage = self._storage
        record: bytes | None = None

        async def work() -> CatgaResult[Any]:
            nonlocal record
            result, record = await self._handle(lease, fingerprint, message, next)
            if self._together and record is not None:
                lease.end()
                await self._store.complete(lease.held, record, ttl=self._ttl)
            return result

        result = await (work() if storage is None else in_unit_of_work(storage, work))
        if not self._together and record is not None:
            if storage is not None and surrounding is not None and surrounding.storage is storage:
                # Not committed yet: a result recorded now would count although the effect may still be rolled back.
                surrounding.after_commit(functools.partial(self._record_later, lease, record))
                return result
            try:
                await self._store.complete(lease.held, record, ttl=self._ttl)
            except LeaseLostError:
                raise
            except CatgaError as error:
                raise self._unrecorded(error) from error
            lease.end()
        return result

    async def _handle(
        self, lease: Lease[Claimed], fingerprint: str, message: Any, next: Next[Any, Any]
    ) -> tuple[CatgaResult[Any], bytes | None]:
        """Return the result, and the bytes to record if it is a success."""
        result = await next(message)
        if lease.lost is not None:
            # Another process may run the command by now: the effect here must not count as well.
            return Failure(lease.lost), None
        if not isinstance(result, Success):
            if isinstance(result.error, WrongResultError):
                return Failure(self._unrecordable(result.error)), None
            return result, None
        try:
            return result, self._codec.encode(result.value, fingerprint)
        except CatgaError as error:
            return Failure(self._unrecordable(error)), None

    def _record_later(self, lease: Lease[Claimed], record: bytes) -> None:
        async def complete() -> None:
            try:
                await self._store.complete(lease.held, record, ttl=self._ttl)
            except CatgaError as error:
                logger().error(RESULT_NOT_RECORDED, message_type=self._wire_name, error=error.code)

        recording = background_task(complete(), context=outside_of_units_of_work())
        self._recording.add(recording)
        recording.add_done_callback(self._recording.discard)

    async def _rolled_back(self, lease: Lease[Claimed], error: BaseException) -> None:
        if not (isinstance(error, CatgaError) and error.outcome is Outcome.UNKNOWN):
            await self._release(lease.held)

    async def _release(self, outcome: ClaimOutcome) -> None:
        if not isinstance(outcome, Claimed):
            return
        try:
            await self._store.release(outcome)
        except Exception as error:  # noqa: BLE001 - the message's own outcome counts; the lease ends by itself
            code = error.code if isinstance(error, CatgaError) else ""
            logger().warning(
                CLAIM_NOT_RELEASED, message_type=self._wire_name, error=type(error).__name__, code=code
            )

    def _in_progress(self, key: str, expires_at: float) -> CatgaError:
        left = max(expires_at - self._clock.time(), 0.0)
        return DuplicateInProgressError(self._name, key, lease_expires_at=expires_at, seconds_left=left)

    def _unrecordable(self, error: CatgaError) -> CatgaError:
        if self._storage is not None:
            effect, outcome = "its effect was rolled back", Outcome.ROLLED_BACK
        else:
            effect, outcome = "its effect stays, and the same key would run it again", Outcome.UNRECORDED
        text = f"The result of {self._name} cannot be recorded, and {effect}: {error.message}"
        return SerializationError(text, outcome=outcome)

    def _unrecorded(self, error: CatgaError) -> CatgaError:
        text = (
            f"{self._name} succeeded, but its result could not be recorded, so the same key may run it again: "
            f"{error.message}"
        )
        outcome = Outcome.UNKNOWN if error.outcome is Outcome.UNKNOWN else Outcome.UNRECORDED
        return CatgaError(text, code=error.code, retryable=False, details={"outcome": str(outcome)})


def _shown(key: object) -> str:
    # Made of the command's fields, which neither an answer nor a log line may quote.
    if not isinstance(key, str):
        return f"a value of type {type(key).__name__}"
    return "one with a lone surrogate" if key else "an empty one"
