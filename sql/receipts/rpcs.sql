-- The RPCs of receipts. As all RPCs (members/rpcs.sql): named arguments, never STRICT, not SECURITY DEFINER.

CREATE FUNCTION app.tx_proof(p_tx_no text)
    RETURNS jsonb
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'tx_proof_wrapper';
COMMENT ON FUNCTION app.tx_proof IS
    E'A receipt for a movement: that it, and the balance after it, stand under a signed head.\n'
    'By whoever may see the card: its owner, everyone bound to the enterprise card, a backend. Once kept, it needs no server any more: '
    'docs/receipts.md says how it is verified, and what it proves. Under 2 kB. There is none before the next audit.seal(), where '
    'mps.seal_key_file is not set, and for movements of before it was set whose month is archived. STABLE.\n'
    'Level: client.\n'
    'Results: one JSON object: kind (mps receipt 1), leaf (what it is about, as text), index, path (base64), head (as text), signature '
    '(base64).\n'
    'Errors: TX_NOT_FOUND, STATUS_CONFLICT (it moved no money; there is no signed head with it yet), ARCHIVED, INVALID_ARGUMENT, '
    'NOT_AUTHENTICATED.';

CREATE FUNCTION app.liability_proof(p_month date, p_card_id uuid DEFAULT NULL, p_card_type text DEFAULT 'personal')
    RETURNS TABLE (card_no text, month date, balance numeric, proof jsonb)
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'liability_proof_wrapper';
COMMENT ON FUNCTION app.liability_proof IS
    E'That what cards held at the end of a month is in the total which a signed head published.\n'
    'By the signed-in user for all its cards, and the enterprise cards that it is bound to; of one card, p_card_id, by whoever may see '
    'it. p_month: any day of a month of UTC that is over. p_card_type: personal, enterprise. A card that had not moved by then is in '
    'no total and has no row. STABLE.\n'
    'Level: client.\n'
    'Results: card_no, month (its first day), balance (at its end, in currency units), proof (one JSON object: kind (mps liability '
    '1), leaf, index, path, head, signature, as in app.tx_proof()).\n'
    'Errors: CARD_NOT_FOUND, STATUS_CONFLICT (the month is not published yet), ARCHIVED, INVALID_ARGUMENT, NOT_AUTHENTICATED.';

CREATE FUNCTION app.head_proof(p_head_no bigint DEFAULT NULL)
    RETURNS jsonb
    LANGUAGE c STABLE
    AS 'MODULE_PATHNAME', 'head_proof_wrapper';
COMMENT ON FUNCTION app.head_proof IS
    E'The newest signed head, and that it goes on from an earlier one.\n'
    'By a signed-in user or a backend. p_head_no: the number of the head in a receipt that was kept. Heads are for everybody: publish '
    'them where you cannot change them any more. STABLE.\n'
    'Level: client.\n'
    'Results: one JSON object: kind (mps heads 1), latest (head, signature), at (the same of p_head_no; null if there is none), path '
    '(base64; null without at), restores (the newest 20 heads that say the database was restored), key (the public key of latest, '
    'base64: to be compared with the one that was published).\n'
    'Errors: STATUS_CONFLICT (there is no head yet), INVALID_ARGUMENT, NOT_AUTHENTICATED.';
