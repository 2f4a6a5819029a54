-- The functions of payment gateways.

CREATE FUNCTION app.set_gateway_account(p_code text, p_provider text, p_config jsonb) RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_gateway_account_wrapper';
COMMENT ON FUNCTION app.set_gateway_account IS
    E'Sets an account at a payment gateway: whose notices are taken, and whose bank they pay.\n'
    'The same code again replaces the configuration; the provider stays. p_code: 1 to 64 ASCII letters, digits and - _ . p_provider: '
    'wechat, alipay. p_config: wechat {"mchid", "appids"}, of a service provider {"sp_mchid", "sub_mchids", "sp_appids"} (the last may be '
    'left out); alipay {"app_id", "seller_ids"}. Of both, where wanted: "merchant" (the code of the merchant whose bank receives, where it '
    'is not the platform''s), "fee_rate" (what the gateway keeps, 0 to 1 with at most 6 decimals), "item_days" (for how many days '
    'a difference of its bills may stay open before app.health() names it, 0 to 365, by itself 3), "active" (false turns the account off). '
    'What is left out is so no longer. For a superuser.\n'
    'Results: true if anything changed, false if all was so already.\n'
    'Errors: INVALID_ARGUMENT, MERCHANT_NOT_FOUND, STATUS_CONFLICT (the code is of the other provider), NOT_ALLOWED.';

CREATE FUNCTION app.set_gateway_key(p_account text, p_kind text, p_key_id text, p_key text, p_valid_from timestamptz DEFAULT NULL,
                                    p_valid_until timestamptz DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_gateway_key_wrapper';
COMMENT ON FUNCTION app.set_gateway_key IS
    E'Sets a key that notices of an account are verified or decrypted with.\n'
    'The same id again replaces; several live at once. p_kind: wechat_apiv3_key (32 characters), wechat_public_key (PEM: a certificate, '
    'whose serial number p_key_id is, or a public key with its PUB_KEY_ID_...), alipay_public_key (as Alipay''s page shows it, PEM, or a '
    'certificate, whose serial number p_key_id is). A certificate is valid no longer than it says. NULL: since ever, for ever. '
    'A secret is sealed under the key of mps.master_key_file, where that is set. '
    'A statement can stand in the server''s log: app.set_gateway_key_from_file() keeps the key out of it. For a superuser.\n'
    'Results: true if anything changed, false if all was so already; a secret that is sealed is always sealed anew.\n'
    'Errors: GATEWAY_ACCOUNT_NOT_FOUND, INVALID_ARGUMENT, STATUS_CONFLICT (the master key cannot be used), NOT_ALLOWED.';

CREATE FUNCTION app.set_gateway_key_from_file(p_account text, p_kind text, p_key_id text, p_path text,
                                              p_valid_from timestamptz DEFAULT NULL, p_valid_until timestamptz DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE
    AS 'MODULE_PATHNAME', 'set_gateway_key_from_file_wrapper';
COMMENT ON FUNCTION app.set_gateway_key_from_file IS
    E'As app.set_gateway_key(), of a key that stands in a file on the server.\n'
    'p_path: from the root on. The file of a secret belongs to the server''s user, and nobody else may read it. For a superuser.\n'
    'Results: as app.set_gateway_key().\n'
    'Errors: GATEWAY_ACCOUNT_NOT_FOUND, INVALID_ARGUMENT, STATUS_CONFLICT (the master key cannot be used), NOT_ALLOWED.';
