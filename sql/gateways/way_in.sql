-- Where what a gateway sends comes in: a schema of its own, which PostgREST serves alone. The domain is of the extension, because the
-- function has it in its signature; finish.sql gives it to mps_owner. The schema is not, as none is (preflight.sql makes it): pg_dump
-- would write CREATE EXTENSION before what comes after this name, the schema sec, and no restore would go through.

-- PostgREST answers a domain of this name as it is.
CREATE DOMAIN mps_gateway."*/*" AS bytea;
COMMENT ON DOMAIN mps_gateway."*/*" IS 'Bytes that PostgREST answers as they are, whatever the request accepts';

CREATE FUNCTION mps_gateway.notify(bytea) RETURNS mps_gateway."*/*"
    LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'notify_wrapper';
COMMENT ON FUNCTION mps_gateway.notify(bytea) IS
    E'Takes what a payment gateway sends, as it came: verified, decrypted, recorded and credited in this one transaction.\n'
    'The argument has no name, so that PostgREST hands over the bytes of the body. The setting request.headers has the headers, by '
    'lower-case names: x-mps-gateway (wechat, alipay) and x-mps-account (the code of the account), which the proxy sets, and those that '
    'the gateway signed. Sets response.status and response.headers. What is refused is recorded and answered with 4xx, and is no error. '
    'What holds it up for more than 3 seconds ends it (SQLSTATE 57014, HTTP 500), so that it comes again.\n'
    'Level: gateway.\n'
    'Results: the body of the answer: nothing or {"code": "FAIL", "message"} for WeChat, success or failure for Alipay.\n'
    'Errors: GATEWAY_ACCOUNT_NOT_FOUND, NOT_ALLOWED, STATUS_CONFLICT (the account was changed meanwhile), READ_ONLY, SCHEMA_OUTDATED.';
