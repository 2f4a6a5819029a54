-- Buckets: which of 64 parts of the whole a card belongs to. They look at nothing but their argument.

CREATE FUNCTION app.bucket_of_card(p_card_id uuid)
    RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'bucket_of_card_wrapper';
COMMENT ON FUNCTION app.bucket_of_card IS
    E'The bucket that a card''s id carries.\n'
    'Of a personal card its member''s, (get_byte(sha256(uuid_send(member_id)), 0) & 63) + 1; of an enterprise card its first '
    'admin''s, or any. IMMUTABLE.\n'
    'Level: client.\n'
    'Results: 1 to 64; null for the id of a card that was issued before 0.3.0, and for anything else.';

CREATE FUNCTION app.bucket_of_code(p_qr_plain text)
    RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'bucket_of_code_wrapper';
COMMENT ON FUNCTION app.bucket_of_code IS
    E'The bucket of the card that a pay code names.\n'
    'As bucket_of_card, whether or not there is such a card. IMMUTABLE.\n'
    'Level: client.\n'
    'Results: 1 to 64; null for anything that is no code of a card with a bucket.';

CREATE FUNCTION app.bucket_of_tx(p_tx_no text)
    RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'bucket_of_tx_wrapper';
COMMENT ON FUNCTION app.bucket_of_tx IS
    E'The bucket that a transaction number carries.\n'
    'Only the numbers of many machines carry one. IMMUTABLE.\n'
    'Level: client.\n'
    'Results: 1 to 64; null for the numbers of one machine, which are all that there are yet, and for anything else.';
