-- A fresh database as a self-hosted Supabase has it: users in auth.users (its roles exist already). Then MPS on top.
CREATE SCHEMA auth;
CREATE TABLE auth.users (
    id                 uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email              text UNIQUE,
    phone              text UNIQUE,
    raw_user_meta_data jsonb,
    created_at         timestamptz NOT NULL DEFAULT now()
);

CREATE EXTENSION mps;
SELECT app.enable_supabase_signup() \g /dev/null

-- A key, made by the server's own user beside its data, with which heads are signed: members get receipts.
COPY (SELECT) TO PROGRAM 'umask 077 && openssl genpkey -algorithm ed25519 -out ../demo-seal.pem 2>&1';
SELECT format('ALTER SYSTEM SET mps.seal_key_file = %L', current_setting('data_directory') || '/../demo-seal.pem') \gexec
SELECT pg_reload_conf() \g /dev/null
