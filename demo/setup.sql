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
