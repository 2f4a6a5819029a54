-- The members.

CREATE FUNCTION sec.install_members() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $install$
BEGIN
    IF to_regclass('app.member_no_seq') IS NULL THEN
        CREATE SEQUENCE app.member_no_seq AS bigint;
        COMMENT ON SEQUENCE app.member_no_seq IS 'Numbers of members (M00000001); may skip, never repeats';
    END IF;
    IF to_regclass('app.member_profiles') IS NULL THEN
        CREATE TABLE app.member_profiles (
            id         uuid        NOT NULL PRIMARY KEY,
            created_at timestamptz NOT NULL,
            member_no  text        NOT NULL UNIQUE,
            status     text        NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended', 'closed')),
            name       text        NOT NULL,
            phone      text,
            email      text
        );
        COMMENT ON TABLE app.member_profiles IS 'Members. id is the id of the user at the identity provider (no foreign key to it).';
    END IF;
END
$install$;
COMMENT ON FUNCTION sec.install_members() IS
    'Makes the table of members and the sequence of their numbers, where they are missing. Internal: sec.install() calls it.';
