-- The functions of callbacks.

CREATE FUNCTION app.gateway_notify(p_account text, p_headers jsonb, p_body bytea)
    RETURNS TABLE (status integer, body text, outcome text, reason text, tx_no text)
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'gateway_notify_wrapper';
COMMENT ON FUNCTION app.gateway_notify IS
    E'Takes a callback of a payment gateway that a backend''s own web server was sent: verified, decrypted, recorded, and credited.\n'
    'By a backend. All in this one transaction: answer the gateway with status and body once it is committed. p_headers: those of the '
    'request, an object of texts, names in any case. p_body: its bytes as they came, at most 65,536. What is refused is recorded and '
    'answered, and is no error. What holds it up for more than 3 seconds ends it (SQLSTATE 57014): answer 503, so that it comes again.\n'
    'Level: backend.\n'
    'Results: status (HTTP), body (what to answer), outcome (credited; replayed: it was credited or kept before; suspense: a row of '
    'app.suspense_payments; conflict: the trade number is another''s; failed: the recharge; noted: nothing changes; refused), reason '
    '(one word, NULL for what needs none), tx_no (the recharge, where it is known).\n'
    'Errors: GATEWAY_ACCOUNT_NOT_FOUND, INVALID_ARGUMENT, NOT_ALLOWED, STATUS_CONFLICT (the account was changed meanwhile).';

CREATE FUNCTION app.reverify_event(p_id bigint)
    RETURNS TABLE (id bigint, received_at timestamptz, account text, provider text, key_id text, outcome text)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'reverify_event_wrapper';
COMMENT ON FUNCTION app.reverify_event IS
    E'Proves again that a gateway has signed a callback, from what is kept of it.\n'
    'By a backend. With every public key that the account has, also one that has run out since.\n'
    'Level: backend.\n'
    'Results: id, received_at, account, provider (wechat, alipay), key_id (of the key that proves it), outcome (what was done).\n'
    'Errors: SIGNATURE_INVALID (what is kept is not signed by any key of now: the detail says why), TX_NOT_FOUND (no such event here), '
    'GATEWAY_ACCOUNT_NOT_FOUND, INVALID_ARGUMENT, NOT_ALLOWED.';
