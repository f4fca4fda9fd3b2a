"""Who a client is: SASL, its credentials, delegation tokens."""

from __future__ import annotations

from dohle.kafka.declaration import (
    Bytes,
    Int8,
    Int16,
    Int32,
    Int64,
    Request,
    Response,
    String,
    Struct,
    since,
)


class SaslHandshakeRequest(Request, key=17, versions=(0, 1)):
    """Chooses the SASL mechanism."""

    mechanism: String


class SaslHandshakeResponse(Response, key=17, versions=(0, 1)):
    error_code: Int16
    mechanisms: list[String]


class SaslAuthenticateRequest(Request, key=36, versions=(0, 2), flexible=2):
    """Brings one message of the mechanism."""

    auth_bytes: Bytes


class SaslAuthenticateResponse(Response, key=36, versions=(0, 2), flexible=2):
    error_code: Int16
    error_message: String | None
    auth_bytes: Bytes
    session_lifetime_ms: Int64 = since(1, default=0)


class DescribeUserScramCredentialsRequest(Request, key=50, versions=(0, 0), flexible=0):
    """Describes SCRAM credentials."""

    users: list[User] | None

    class User(Struct):
        name: String


class DescribeUserScramCredentialsResponse(Response, key=50, versions=(0, 0), flexible=0):
    throttle_time_ms: Int32 = 0
    error_code: Int16
    error_message: String | None
    results: list[Result]

    class Result(Struct):
        user: String
        error_code: Int16
        error_message: String | None
        credential_infos: list[CredentialInfo]

        class CredentialInfo(Struct):
            mechanism: Int8
            iterations: Int32


class AlterUserScramCredentialsRequest(Request, key=51, versions=(0, 0), flexible=0):
    """Changes SCRAM credentials."""

    deletions: list[Deletion]
    upsertions: list[Upsertion]

    class Deletion(Struct):
        name: String
        mechanism: Int8

    class Upsertion(Struct):
        name: String
        mechanism: Int8
        iterations: Int32
        salt: Bytes
        salted_password: Bytes


class AlterUserScramCredentialsResponse(Response, key=51, versions=(0, 0), flexible=0):
    throttle_time_ms: Int32 = 0
    results: list[Result]

    class Result(Struct):
        user: String
        error_code: Int16
        error_message: String | None


class CreateDelegationTokenRequest(Request, key=38, versions=(1, 3), flexible=2):
    """Creates a delegation token."""

    owner_principal_type: String | None = since(3, default="")
    owner_principal_name: String | None = since(3, default="")
    renewers: list[Renewer]
    max_lifetime_ms: Int64

    class Renewer(Struct):
        principal_type: String
        principal_name: String


class CreateDelegationTokenResponse(Response, key=38, versions=(1, 3), flexible=2):
    error_code: Int16
    principal_type: String
    principal_name: String
    token_requester_principal_type: String = since(3, default="")
    token_requester_principal_name: String = since(3, default="")
    issue_timestamp_ms: Int64
    expiry_timestamp_ms: Int64
    max_timestamp_ms: Int64
    token_id: String
    hmac: Bytes
    throttle_time_ms: Int32 = 0


class RenewDelegationTokenRequest(Request, key=39, versions=(1, 2), flexible=2):
    """Prolongs a delegation token."""

    hmac: Bytes
    renew_period_ms: Int64


class RenewDelegationTokenResponse(Response, key=39, versions=(1, 2), flexible=2):
    error_code: Int16
    expiry_timestamp_ms: Int64
    throttle_time_ms: Int32 = 0


class ExpireDelegationTokenRequest(Request, key=40, versions=(1, 2), flexible=2):
    """Ends a delegation token."""

    hmac: Bytes
    expiry_time_period_ms: Int64


class ExpireDelegationTokenResponse(Response, key=40, versions=(1, 2), flexible=2):
    error_code: Int16
    expiry_timestamp_ms: Int64
    throttle_time_ms: Int32 = 0


class DescribeDelegationTokenRequest(Request, key=41, versions=(1, 3), flexible=2):
    """Describes delegation tokens."""

    owners: list[Owner] | None

    class Owner(Struct):
        principal_type: String
        principal_name: String


class DescribeDelegationTokenResponse(Response, key=41, versions=(1, 3), flexible=2):
    error_code: Int16
    tokens: list[Token]
    throttle_time_ms: Int32 = 0

    class Token(Struct):
        principal_type: String
        principal_name: String
        token_requester_principal_type: String = since(3, default="")
        token_requester_principal_name: String = since(3, default="")
        issue_timestamp: Int64
        expiry_timestamp: Int64
        max_timestamp: Int64
        token_id: String
        hmac: Bytes
        renewers: list[Renewer]

        class Renewer(Struct):
            principal_type: String
            principal_name: String
