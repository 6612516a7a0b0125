"""ApiKeyService."""

import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from octohooks.v1.api_key_pb2 import ApiKey, ApiKeyRole
from octohooks.v1.api_key_service_pb2 import (
    CreateApiKeyRequest,
    CreateApiKeyResponse,
    ListApiKeysRequest,
    ListApiKeysResponse,
    RevokeApiKeyRequest,
    RevokeApiKeyResponse,
    RotateApiKeyRequest,
    RotateApiKeyResponse,
)
from octohooks.v1.api_key_service_pb2_grpc import ApiKeyServiceServicer
from sqlalchemy.ext.asyncio import AsyncConnection

from octohooks_server.api.audit import AuditLog, fields_set
from octohooks_server.api.authentication import (
    API_KEY_PREFIX,
    Authenticator,
    display_prefix,
    hash_key,
    new_key,
)
from octohooks_server.api.caller import Caller, current_caller
from octohooks_server.api.checks import Checks
from octohooks_server.api.dependencies import Dependencies
from octohooks_server.api.gate import Context
from octohooks_server.api.idempotency import once
from octohooks_server.errors import NotFound, PermissionDenied
from octohooks_server.rules.ids import API_KEY
from octohooks_server.store import api_keys, applications, environments

_OUTPUT_ONLY = ("id", "environment", "display_prefix", "last_used_time", "create_time")
_NO_OVERLAP = timedelta(0)
_MAX_OVERLAP = timedelta(days=7)
_MAX_LIMIT = 100_000
_LIMITS = ("max_requests_per_second", "max_watches")

R = TypeVar("R", CreateApiKeyResponse, RotateApiKeyResponse)


class ApiKeyServicer(ApiKeyServiceServicer):
    """Manages the API keys of an environment: the caller's, or for the operator any."""

    def __init__(
        self,
        dependencies: Dependencies,
        authenticator: Authenticator,
        wall: Callable[[], datetime] | None = None,
        *,
        default_limits: Mapping[str, int],
    ) -> None:
        """`wall` is the clock that the authenticator goes by; `dependencies.clock` unless given.
        `default_limits` are those of keys without limits of their own, by the names of the fields.
        """
        self._database = dependencies.database
        self._tokens = dependencies.tokens
        self._ids = dependencies.ids
        self._clock = wall or dependencies.clock
        self._random_bytes = dependencies.random_bytes
        self._default_limits = default_limits
        self._authenticator = authenticator
        self._audit = AuditLog(dependencies)

    async def CreateApiKey(
        self, request: CreateApiKeyRequest, context: Context
    ) -> CreateApiKeyResponse:
        caller = current_caller()
        now = self._clock()
        checks = Checks()
        _check_environment_reference(checks, caller, request.environment)
        checks.output_only("api_key", request.api_key, _OUTPUT_ONLY)
        checks.text("api_key.name", request.api_key.name, most=256)
        wanted = _wanted(checks, request.api_key)
        self._limit(checks, caller, wanted)
        expires_at = checks.time("api_key.expire_time", request.api_key, "expire_time")
        if expires_at is not None and expires_at <= now:
            checks.problem("api_key.expire_time", "The time must lie in the future.")
        checks.done()

        async with self._database.write() as conn:
            environment_id = await _environment_of(conn, caller, request.environment)

            async def make() -> CreateApiKeyResponse:
                if wanted.application:
                    wanted.application = await applications.get_id(
                        conn, environment_id=environment_id, reference=wanted.application
                    )
                response = await self._make(
                    conn,
                    CreateApiKeyResponse,
                    environment_id=environment_id,
                    wanted=wanted,
                    expires_at=expires_at,
                    now=now,
                )
                await self._audit.record(
                    conn,
                    "api_key",
                    response.api_key.id,
                    environment_id=environment_id,
                    application_id=wanted.application,
                    changed=fields_set(request.api_key),
                )
                return response

            return await once(conn, request, make, CreateApiKeyResponse, now=now)

    async def ListApiKeys(
        self, request: ListApiKeysRequest, context: Context
    ) -> ListApiKeysResponse:
        caller = current_caller()
        checks = Checks()
        _check_environment_reference(checks, caller, request.environment)
        limit = checks.page_size(request.page_size)
        checks.done()
        async with self._database.read() as conn:
            environment_id = await _environment_of(conn, caller, request.environment)
            before = self._tokens.open(str, request, environment_id)
            page = await api_keys.list_page(
                conn, environment_id=environment_id, before=before, limit=limit
            )
        return ListApiKeysResponse(
            api_keys=page.items,
            next_page_token=self._tokens.seal(page.next_after, request, environment_id),
        )

    async def RotateApiKey(
        self, request: RotateApiKeyRequest, context: Context
    ) -> RotateApiKeyResponse:
        caller = current_caller()
        checks = Checks()
        checks.reference("api_key", request.api_key)
        overlap = checks.duration(
            "overlap",
            request.overlap,
            least=_NO_OVERLAP,
            most=_MAX_OVERLAP,
            range_text="0 to 7 days",
        )
        checks.done()
        assert overlap is not None
        now = self._clock()

        with self._authenticator.changing():
            async with self._database.write() as conn:

                async def make() -> RotateApiKeyResponse:
                    old = await api_keys.get(
                        conn,
                        id=request.api_key,
                        environment_id=caller.environment_id,
                        for_update=True,
                    )
                    self._require_no_more(caller, old)
                    response = await self._make(
                        conn,
                        RotateApiKeyResponse,
                        environment_id=old.environment,
                        wanted=old,
                        expires_at=None,
                        now=now,
                    )
                    await api_keys.set_expiry(conn, id=old.id, expires_at=now + overlap)
                    for key in (old, response.api_key):
                        await self._audit.record(
                            conn,
                            "api_key",
                            key.id,
                            environment_id=old.environment,
                            application_id=old.application,
                            changed=["expire_time"] if key is old else fields_set(key),
                        )
                    return response

                response = await once(conn, request, make, RotateApiKeyResponse, now=now)
        return response

    async def RevokeApiKey(
        self, request: RevokeApiKeyRequest, context: Context
    ) -> RevokeApiKeyResponse:
        caller = current_caller()
        checks = Checks()
        checks.reference("api_key", request.api_key)
        checks.done()
        with self._authenticator.changing():
            async with self._database.write() as conn:
                key = await api_keys.get(
                    conn,
                    id=request.api_key,
                    environment_id=caller.environment_id,
                    for_update=True,
                )
                await api_keys.remove(
                    conn, id=request.api_key, environment_id=caller.environment_id
                )
                await self._audit.record(
                    conn,
                    "api_key",
                    key.id,
                    environment_id=key.environment,
                    application_id=key.application,
                )
        return RevokeApiKeyResponse()

    def _limit(self, checks: Checks, caller: Caller, wanted: ApiKey) -> None:
        """Checks the limits of a key that is to be made by a caller, who may give no more."""
        for name in _LIMITS:
            limit, most = getattr(wanted, name), self._most(caller, name)
            if limit > _MAX_LIMIT:
                checks.problem(f"api_key.{name}", f"A limit is at most {_MAX_LIMIT:,}.")
            elif most and limit > most:
                checks.problem(
                    f"api_key.{name}", f"The key that makes it may do no more than {most:,}."
                )
            elif limit == 0:
                # Without one it could do more than the key that makes it.
                setattr(wanted, name, getattr(caller, name))

    def _require_no_more(self, caller: Caller, key: ApiKey) -> None:
        """PermissionDenied when a key, of which the caller is to get another, may do more."""
        for name in _LIMITS:
            most = self._most(caller, name)
            limit = getattr(key, name) or self._default_limits[name] or sys.maxsize
            if most and limit > most:
                raise PermissionDenied(
                    f"The API key may do no more than {most:,} by `{name}`, and that one may."
                )

    def _most(self, caller: Caller, name: str) -> int:
        """The limit of the caller's key, its own or the operator's default; 0 where it has none."""
        if caller.is_operator:
            return 0
        own: int = getattr(caller, name)
        return own or self._default_limits[name]

    async def _make(
        self,
        conn: AsyncConnection,
        answer: Callable[..., R],
        *,
        environment_id: str,
        wanted: ApiKey,
        expires_at: datetime | None,
        now: datetime,
    ) -> R:
        """Makes a key as it is wanted, and the one answer that shows it."""
        key = new_key(API_KEY_PREFIX, self._random_bytes)
        made: ApiKey = await api_keys.create(
            conn,
            id=self._ids.new(API_KEY),
            environment_id=environment_id,
            api_key=wanted,
            key_hash=hash_key(key),
            display_prefix=display_prefix(key),
            expires_at=expires_at,
            now=now,
        )
        return answer(api_key=made, key=key)


def _wanted(checks: Checks, asked: ApiKey) -> ApiKey:
    """The name, role, application and limits of a key that is asked for."""
    wanted = ApiKey(
        name=asked.name,
        role=asked.role or ApiKeyRole.API_KEY_ROLE_FULL,
        application=asked.application,
        max_requests_per_second=asked.max_requests_per_second,
        max_watches=asked.max_watches,
    )
    of_one_application = wanted.role == ApiKeyRole.API_KEY_ROLE_APPLICATION
    checks.reference("api_key.application", wanted.application, required=of_one_application)
    if wanted.application and not of_one_application:
        checks.problem(
            "api_key.application", "Only a key with the role `application` is confined to one."
        )
    return wanted


def _check_environment_reference(checks: Checks, caller: Caller, reference: str) -> None:
    checks.reference("environment", reference, required=caller.is_operator)


async def _environment_of(conn: AsyncConnection, caller: Caller, reference: str) -> str:
    """The ID of the environment that the call is about; NotFound unless the caller may know it."""
    id = reference or caller.environment_id or ""
    if caller.environment_id not in (None, id):
        raise NotFound("environment", id)
    return (await environments.get(conn, id)).id
